"""A real manager on a real store in memory, with the reference kinds and a Trinket whose handlers and owner a test chooses."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from admission.authentication import is_public
from admission.granting import GrantGuard
from admission.identity import ADMIN, AUTHENTICATED, MASTERS, Identity, TokenReviewer, authenticated
from admission.key_rules import KeyRules
from admission.review import Admitter, Attributes, Decision, Review
from admission.reviews import NO_TOKENS, Reviews
from admission.ttl_rules import TtlRules
from apiserver.admitting import Admission
from apiserver.answering import review_answers
from apiserver.bootstrapping import bring
from apiserver.bound import bound
from apiserver.calls import Answer, Call
from apiserver.definitions_guard import DeclaredGuard
from apiserver.manager import Manager
from apiserver.options import parse_query
from apiserver.patching import MERGE_PATCH
from apiserver.policing import Policies
from apiserver.roles import authorization
from apiserver.stored import in_version
from apiserver.target import Target, resolve, segments
from apiserver.wiring import actors_of, chains
from registry.builtin import KINDS
from registry.builtin.actor import ACTOR
from registry.builtin.apikey import API_KEY
from registry.catalog import Catalog, Registry
from registry.errors import ApiError
from registry.plugin import Plugin, build
from registry.resource import Resource, Spec, Status
from storage.opening import open_store
from storage.sql import Options, SqlStore
from storage.store import Record
from tests.plugins.reference import plugin as reference

Document = dict[str, Any]

WIDGETS = "/apis/reference.example.com/v1/namespaces/shop/widgets"
GADGETS = "/apis/reference.example.com/v1/gadgets"
TRINKETS = "/apis/trinkets.example/v1/namespaces/shop/trinkets"
CONFIGMAPS = "/api/v1/namespaces/shop/configmaps"
NAMESPACES = "/api/v1/namespaces"

OWNER = authenticated(Identity("system:serviceaccount:kube-system:skep-actor-polish"))
SOMEBODY = authenticated(Identity("somebody"))
PLAIN = Options()
NOW = 1_700_000_000.0


class TrinketSpec(Spec):
    size: int = 1
    steps: list[str] | None = None
    note: str | None = None


class TrinketStatus(Status):
    shine: int | None = None


class Trinket(Resource[TrinketSpec, TrinketStatus]):
    """Trinket is a kind with handlers and with an actor that owns its status."""


class LabelSpec(Spec):
    text: str = ""


class Orphan(Resource[LabelSpec, TrinketStatus]):
    """Orphan is a kind whose status nobody owns."""


Mutator = Callable[[Review[Trinket]], Any]
Validator = Callable[[Review[Trinket]], Any]


def refusal(act: Callable[[], object]) -> ApiError | None:
    """How something was refused; None if it was not. Anything else that is raised is raised."""
    try:
        act()
    except ApiError as error:
        return error
    return None


def trinkets(mutators: Sequence[Mutator] = (), validators: Sequence[Validator] = ()) -> Plugin:
    """A plugin with the kinds Trinket, which the actor `polish` owns, and Orphan."""
    plugin = Plugin("trinkets")
    plugin.kind(Trinket, group="trinkets.example", version="v1", plural="trinkets")
    plugin.kind(Orphan, group="trinkets.example", version="v1", plural="orphans")
    for mutator in mutators:
        plugin.mutates(Trinket)(mutator)
    for validator in validators:
        plugin.validates(Trinket)(validator)

    @plugin.actor(Trinket, name="polish")
    async def polish(trinket: Trinket, client: object) -> None:
        del trinket, client

    return plugin


@dataclass(frozen=True, slots=True)
class Told:
    """A log that is read by the test."""

    errors: list[tuple[str, Document]] = field(default_factory=list)

    def error(self, event: str, **values: Any) -> None:
        self.errors.append((event, values))


@dataclass(frozen=True, slots=True)
class World:
    """The parts, and calls by path."""

    store: SqlStore
    manager: Manager
    log: Told

    @property
    def registry(self) -> Registry:
        """All kinds that there are at this moment."""
        return self.manager.registry

    def target(self, path: str) -> Target:
        """What a path addresses."""
        return resolve(self.registry, segments(path.encode()))

    def call(
        self,
        verb: str,
        path: str,
        body: Document | bytes = b"",
        *,
        query: str = "",
        content_type: str = "",
        who: Identity = ADMIN,
    ) -> Call:
        """A request as the socket hands it over."""
        return Call(who, verb, self.target(path), parse_query(query.encode()), body, content_type)

    async def do(self, verb: str, path: str, body: Document | bytes = b"", **more: Any) -> Answer:
        """Carries out a request."""
        return await self.manager.handle(self.call(verb, path, body, **more))

    async def get(self, path: str) -> Document:
        """The object at a path."""
        return self.document(path, await self.do("get", path))

    async def make(self, path: str, name: str, *, metadata: Document | None = None, **fields: Any) -> Document:
        """Creates an object; its answer."""
        body = {"metadata": {"name": name, **(metadata or {})}, **fields}
        return self.document(path, await self.do("create", path, body))

    async def put(self, path: str, body: Document, **more: Any) -> Document:
        """Replaces an object; its answer."""
        return self.document(path, await self.do("update", path, body, **more))

    async def merge(self, path: str, body: Document, **more: Any) -> Document:
        """Changes an object by a merge patch; its answer."""
        return self.document(path, await self.do("patch", path, body, content_type=MERGE_PATCH, **more))

    def document(self, path: str, answer: Answer) -> Document:
        """The object of an answer, in the version of the path."""
        assert answer.record is not None
        return in_version(self.target(path).version, answer.record)

    def stored(self, resource: str) -> Sequence[Record]:
        """All objects of a resource, as they are stored."""
        return self.store.list(resource).records


class OpenAuthorizer:
    """Whoever is authenticated may do all but be somebody else, and everybody may ask for what is public."""

    def decide(self, attributes: Attributes) -> Decision:
        groups = attributes.identity.groups
        if attributes.verb == "impersonate":
            return Decision(MASTERS in groups)
        return Decision(AUTHENTICATED in groups or is_public(attributes.path))


@asynccontextmanager
async def opened(
    *plugins: Plugin,
    options: Options = PLAIN,
    seed: int = 0,
    admitters: Sequence[Admitter] = (),
    roles: bool = False,
    make: Callable[..., Manager] = Manager,
    tokens: TokenReviewer = NO_TOKENS,
) -> AsyncIterator[World]:
    """A world with the namespaces `default` and `shop`; without plugins, with those of the reference and of `trinkets`.

    `roles`: rights are given by roles; otherwise whoever is authenticated may do all but what belongs to an owner.
    `make` makes its manager.
    """
    registry = build(plugins or (reference, trinkets()), (*KINDS, ACTOR, API_KEY))
    log = Told()
    async with open_store("sqlite://", options) as store:
        catalog = Catalog(registry)
        who = authorization(catalog, store, None if roles else OpenAuthorizer())
        guards = [GrantGuard(who.rbac, who.decide)] if roles else []
        asked = (KeyRules(who), TtlRules(who), *admitters, DeclaredGuard(), Policies(catalog, store, who), *guards)
        handlers = Admission(chains(registry, log), asked)  # type: ignore[arg-type]
        catalog.report_conversions(
            lambda error: log.error("an object cannot be converted", why=error.message, exc_info=error.__cause__)
        )
        answers = review_answers(catalog, Reviews(who, tokens, lambda: NOW))
        chance = random.Random(seed)
        manager = make(catalog, store, who, handlers, now=lambda: NOW, chance=chance, subresources=answers)
        world = World(store, manager, log)
        for name in ("default", "shop"):
            await world.make(NAMESPACES, name)
        if roles:
            await world.make(NAMESPACES, "kube-system")
            await bring(manager, ADMIN, bound(registry, actors_of(registry)))
        yield world
