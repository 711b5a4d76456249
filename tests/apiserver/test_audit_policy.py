"""Which requests a policy asks for, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apiserver.audit_opening import policy_of
from apiserver.audit_policy import Asked, Level, load, read
from apiserver.config import ConfigError
from apiserver.sections import Audit

POD = Asked("ann", ("dev", "system:authenticated"), "update", "", "pods", "", "shop", "a")
STATUS = Asked("ann", (), "patch", "uptime.example", "probes", "status", "shop", "home")
PAGE = Asked("ann", (), "get", path="/healthz/ping")
NOBODY = Asked(verb="get", path="/api/v1/pods")


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        ({}, POD, True),
        ({}, NOBODY, True),
        ({"users": ["bob", "ann"]}, POD, True),
        ({"users": ["bob"]}, POD, False),
        ({"users": ["ann"]}, NOBODY, False),
        ({"userGroups": ["ops", "dev"]}, POD, True),
        ({"userGroups": ["ops"]}, POD, False),
        ({"verbs": ["update"]}, POD, True),
        ({"verbs": ["get"]}, POD, False),
        ({"users": ["ann"], "verbs": ["get"]}, POD, False),
        ({"namespaces": ["shop"]}, POD, True),
        ({"namespaces": [""]}, POD, False),
        ({"namespaces": ["shop"]}, PAGE, False),
        ({"resources": [{"group": ""}]}, POD, True),
        ({"resources": [{"group": ""}]}, STATUS, False),
        ({"resources": [{"group": ""}]}, PAGE, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, POD, True),
        ({"resources": [{"resources": ["pods"]}]}, POD, True),
        ({"resources": [{"group": "", "resources": ["nodes"]}, {"group": "", "resources": ["*"]}]}, POD, True),
        ({"resources": [{"group": "uptime.example", "resources": ["probes"]}]}, STATUS, False),
        ({"resources": [{"group": "uptime.example", "resources": ["probes/status"]}]}, STATUS, True),
        ({"resources": [{"group": "uptime.example", "resources": ["probes/*"]}]}, STATUS, True),
        ({"resources": [{"group": "uptime.example", "resources": ["*/status"]}]}, STATUS, True),
        ({"resources": [{"group": "uptime.example", "resources": ["*/scale"]}]}, STATUS, False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, POD, True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["b"]}]}, POD, False),
        ({"nonResourceURLs": ["/healthz*"]}, PAGE, True),
        ({"nonResourceURLs": ["/healthz"]}, PAGE, False),
        ({"nonResourceURLs": ["*"]}, PAGE, True),
        ({"nonResourceURLs": ["*"]}, POD, False),
    ],
)
def test_a_rule_matches_when_everything_that_it_names_does(rule: dict[str, Any], asked: Asked, *, matches: bool) -> None:
    policy, problems = read({"rules": [{"level": "Request", **rule}]})
    assert problems == []
    assert policy.judge(asked)[0] is (Level.REQUEST if matches else Level.NONE)


def test_the_first_rule_that_matches_counts() -> None:
    rules = [
        {"level": "None", "users": ["ann"], "verbs": ["get"]},
        {"level": "RequestResponse", "users": ["ann"], "omitStages": ["ResponseStarted"]},
        {"level": "Metadata"},
    ]
    policy, problems = read({"rules": rules, "omitStages": ["RequestReceived"]})
    assert problems == []
    assert policy.judge(POD) == (Level.REQUEST_RESPONSE, frozenset({"RequestReceived", "ResponseStarted"}))
    assert policy.judge(PAGE)[0] is Level.NONE
    assert policy.judge(Asked("bob", verb="get", path="/"))[0] is Level.METADATA


def test_everything_that_is_wrong_is_told_at_once_each_with_its_place() -> None:
    _, problems = read(
        {
            "kind": "Policies",
            "apiVersion": "audit.k8s.io/v2",
            "rule": [],
            "omitStages": ["Started"],
            "rules": [
                "Metadata",
                {"level": "Metdata", "user": ["ann"], "verbs": "get"},
                {"resources": [{"resources": ["probes.uptime.example"], "names": ["a"]}, "pods"]},
                {"level": "Metadata", "nonResourceURLs": ["/a*b", "x"], "namespaces": ["shop"]},
                {"level": "Metadata", "resources": [{"group": 3, "resourceNames": ["a"]}]},
            ],
        }
    )
    assert problems == [
        "rule: there is no such key; did you mean 'rules'?",
        "kind: 'Policies' is none; it is Policy",
        "apiVersion: 'audit.k8s.io/v2' is not read here; it is audit.k8s.io/v1",
        "omitStages: 'Started' is no stage; there are RequestReceived, ResponseStarted, ResponseComplete, Panic",
        "rules[0]: a rule is a table of level, users, userGroups, verbs, ...",
        "rules[1].user: there is no such key; did you mean 'users'?",
        "rules[1].level: 'Metdata' is none; there are None, Metadata, Request, RequestResponse",
        "rules[1].verbs: is a list of texts",
        "rules[2].level: is missing; there are None, Metadata, Request, RequestResponse",
        "rules[2].resources[0].names: there is no such key; there are group, resources, resourceNames",
        "rules[2].resources[0].resources[0]: 'probes.uptime.example': the group has a field of its own: group = 'uptime.example'",
        "rules[2].resources[1]: is a table of group, resources and resourceNames",
        "rules[3]: nonResourceURLs go with neither resources nor namespaces; make two rules",
        "rules[3].nonResourceURLs[0]: '/a*b' is neither a path, nor one that ends with *, nor * alone",
        "rules[3].nonResourceURLs[1]: 'x' is neither a path, nor one that ends with *, nor * alone",
        "rules[4].resources[0].group: is a text; empty for the core group",
        "rules[4].resources[0].resourceNames: say of which resources",
    ]


def test_a_policy_is_toml_or_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[rules]]\nlevel = "Metadata"\n[[rules.resources]]\nresources = ["pods"]\n')
    (tmp_path / "a.yaml").write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  resources:\n  - resources: [pods]\n"
    )
    assert load(tmp_path / "a.toml") == load(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.toml", "rules = [", "not TOML: "),
        ("a.yaml", "rules: [", "not YAML: "),
        ("a.yaml", "- a", "not YAML: "),
        ("a.yaml", "{}", "a policy has a list of rules"),
        ("none.yaml", None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_by_name(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / name)
    assert caught.value.problems[0].startswith(f"{tmp_path / name}: ")
    assert why in caught.value.problems[0]


def test_a_place_to_write_to_without_a_policy_is_a_mistake(tmp_path: Path) -> None:
    assert policy_of(Audit()) is None
    for settings in (Audit(file=tmp_path / "a"), Audit(stdout=True)):
        with pytest.raises(ConfigError, match=r"audit\.policy is not"):
            policy_of(settings)
