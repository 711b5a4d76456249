"""What of which requests goes into the audit log: a `Policy` in the form of `audit.k8s.io/v1`, as TOML or YAML.

The first rule that matches a request says its level; a request that none matches is not told. A rule matches when everything that
it names does; what it leaves out is any. Whatever is wrong with a policy is found when it is read, all of it at once.

Who asks is who has authenticated, also when they act as somebody else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any

from apiserver.config import ConfigError
from registry.documents import Malformed, parse_yaml

Document = Mapping[str, Any]


class Level(IntEnum):
    """How much is told: nothing; who did what; what they sent, too; and what was answered, too."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3

    @property
    def wire(self) -> str:
        """As the policy and the log write it."""
        return WIRE[self]


WIRE = {Level.NONE: "None", Level.METADATA: "Metadata", Level.REQUEST: "Request", Level.REQUEST_RESPONSE: "RequestResponse"}
LEVELS = {text: level for level, text in WIRE.items()}
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
HEAD = ("apiVersion", "kind", "metadata", "omitManagedFields")
LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")
RULE = ("level", "resources", "omitManagedFields", *LISTS)
RESOURCE = ("group", "resources", "resourceNames")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as a policy looks at it. `path` is empty for one that is about a resource."""

    user: str = ""
    groups: Sequence[str] = ()
    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one group: their plurals, `pods/status`, `pods/*`, `*/scale` or `*`; and names of objects. Empty: any."""

    group: str = ""
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def match(self, asked: Asked) -> bool:
        """Whether the request is about one of them."""
        if asked.group != self.group or (self.names and asked.name not in self.names):
            return False
        whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        return not self.resources or any(
            each in ("*", whole) or each == f"{asked.resource}/*" or (asked.subresource and each == f"*/{asked.subresource}")
            for each in self.resources
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests, and how much of them."""

    level: Level
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    resources: tuple[Resources, ...] = ()
    namespaces: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    omit: frozenset[str] = frozenset()

    def match(self, asked: Asked) -> bool:
        """Whether the request is one of them."""
        if self.users and asked.user not in self.users:
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.groups and self.groups.isdisjoint(asked.groups):
            return False
        if self.resources or self.namespaces:
            if asked.path or (self.namespaces and asked.namespace not in self.namespaces):
                return False
            return not self.resources or any(each.match(asked) for each in self.resources)
        return not self.paths or (bool(asked.path) and any(_on(asked.path, each) for each in self.paths))


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, in their order."""

    rules: tuple[Rule, ...]

    def judge(self, asked: Asked) -> tuple[Level, frozenset[str]]:
        """How much of a request is told, and at which stages nothing."""
        for rule in self.rules:
            if rule.match(asked):
                return rule.level, rule.omit
        return Level.NONE, frozenset()


def _on(path: str, pattern: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def load(path: Path) -> Policy:
    """The policy in a file (`.toml`; all others are YAML or JSON). Raises ConfigError with everything that is wrong."""
    try:
        raw = path.read_bytes()
        document = tomllib.loads(raw.decode()) if path.suffix == ".toml" else parse_yaml(raw).document
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"], "audit.policy names the file of the policy") from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    except Malformed as error:
        raise ConfigError([f"{path}: not YAML: {error.message}"]) from None
    policy, problems = read(document)
    if problems:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return policy


def read(document: Document) -> tuple[Policy, list[str]]:
    """The policy that a document says, and everything that is wrong with it."""
    problems = list(_unknown(document, (*HEAD, "rules", "omitStages"), ""))
    if document.get("kind", "Policy") != "Policy":
        problems.append(f"kind: {document['kind']!r} is none; it is Policy")
    if document.get("apiVersion", "audit.k8s.io/v1") != "audit.k8s.io/v1":
        problems.append(f"apiVersion: {document['apiVersion']!r} is not read here; it is audit.k8s.io/v1")
    omit = frozenset(_texts(document, "omitStages", "", problems))
    problems += _stage_problems(omit, "omitStages")
    given = document.get("rules")
    if not isinstance(given, list) or not given:
        problems.append("rules: a policy has a list of rules; without any nothing would be told")
        return Policy(()), problems
    return Policy(tuple(_rule(each, f"rules[{at}]", omit, problems) for at, each in enumerate(given))), problems


def _rule(given: Any, where: str, omit: frozenset[str], problems: list[str]) -> Rule:
    if not isinstance(given, dict):
        problems.append(f"{where}: a rule is a table of level, users, userGroups, verbs, ...")
        return Rule(Level.NONE)
    problems += _unknown(given, RULE, f"{where}.")
    level = given.get("level")
    if not isinstance(level, str) or level not in LEVELS:
        said = "is missing" if level is None else f"{level!r} is none"
        problems.append(f"{where}.level: {said}; there are {', '.join(LEVELS)}")
    lists = {name: _texts(given, name, f"{where}.", problems) for name in LISTS}
    problems += _stage_problems(lists["omitStages"], f"{where}.omitStages")
    resources = given.get("resources", [])
    if not isinstance(resources, list):
        problems.append(f"{where}.resources: is a list of group and resources")
        resources = []
    if lists["nonResourceURLs"] and (resources or lists["namespaces"]):
        problems.append(f"{where}: nonResourceURLs go with neither resources nor namespaces; make two rules")
    for at, path in enumerate(lists["nonResourceURLs"]):
        if path != "*" and (not path.startswith("/") or "*" in path[:-1]):
            problems.append(f"{where}.nonResourceURLs[{at}]: {path!r} is neither a path, nor one that ends with *, nor * alone")
    return Rule(
        LEVELS.get(level, Level.NONE) if isinstance(level, str) else Level.NONE,
        frozenset(lists["users"]),
        frozenset(lists["userGroups"]),
        frozenset(lists["verbs"]),
        tuple(_resources(each, f"{where}.resources[{at}]", problems) for at, each in enumerate(resources)),
        frozenset(lists["namespaces"]),
        lists["nonResourceURLs"],
        omit | frozenset(lists["omitStages"]),
    )


def _resources(given: Any, where: str, problems: list[str]) -> Resources:
    if not isinstance(given, dict):
        problems.append(f"{where}: is a table of group, resources and resourceNames")
        return Resources()
    problems += _unknown(given, RESOURCE, f"{where}.")
    group = given.get("group", "")
    if not isinstance(group, str):
        problems.append(f"{where}.group: is a text; empty for the core group")
    named, names = (_texts(given, key, f"{where}.", problems) for key in ("resources", "resourceNames"))
    if names and not named:
        problems.append(f"{where}.resourceNames: say of which resources")
    for at, each in enumerate(named):
        if "." in each:
            problems.append(
                f"{where}.resources[{at}]: {each!r}: the group has a field of its own: group = {each.partition('.')[2]!r}"
            )
    return Resources(str(group), named, names)


def _texts(given: Document, name: str, where: str, problems: list[str]) -> tuple[str, ...]:
    value = given.get(name, [])
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    problems.append(f"{where}{name}: is a list of texts")
    return ()


def _stage_problems(stages: Sequence[str] | frozenset[str], where: str) -> Iterator[str]:
    for each in stages:
        if each not in STAGES:
            yield f"{where}: {each!r} is no stage; there are {', '.join(STAGES)}"


def _unknown(given: Document, known: Sequence[str], where: str) -> Iterator[str]:
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, 1, 0.6)
            yield f"{where}{key}: there is no such key" + (
                f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            )
