"""Every path, every verb, everybody: who is let in where, and that whoever is not learns nothing.

The requests are made of the registry (`tests.apiserver.asking_all`), so that a kind that comes later is asked for too. Who may do
what is said twice: once in roles, for the server, and once here in plain Python, by `Who.may`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from admission.authentication import Anonymous, AuthenticatorChain
from admission.identity import ADMIN, NOBODY, Identity, authenticated
from admission.service_tokens import Bound, Reference
from admission.tokens import TokenTable
from apiserver import openid
from apiserver.asgi import App
from apiserver.flow import Flow
from apiserver.sections import Flow as Bounds
from registry.catalog import Registry
from registry.kinds import EXTERNAL
from tests.apiserver.asking_all import (
    GONE,
    INSIDE,
    NO_GROUP,
    NO_VERSION,
    NOTHINGS,
    NOWHERE,
    OUTSIDE,
    THERE,
    Place,
    Request,
    ask,
    pages,
    places,
    requests,
    told,
)
from tests.apiserver.served import Access, application
from tests.apiserver.test_roles import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES, rule
from tests.apiserver.tokens import ISSUER, till_in
from tests.apiserver.world import CONFIGMAPS, NAMESPACES, NOW, OWNER, TRINKETS, WIDGETS, World, opened

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
May = Callable[[Request], bool]

READING = ("get", "list", "watch")
HEALTH = ("/healthz", "/livez", "/readyz")
UNBOUNDED = Bounds(per_second=1e6, burst=10**7, anonymous_per_second=1e6, anonymous_burst=10**7, refusal_seconds=0.0)
SELF_REVIEWS = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
}
UNKNOWN = ("/nothing/at/all", "/api/v1//configmaps", "/apis/%FF/v1/things", "/openapi/v3/apis/nothing/v1", "/readyz/nothing")
"""Paths that are not there, also such as look like resources and are none."""


def everybodys(request: Request) -> bool:
    """What whoever is authenticated may do: discover what there is, and ask about themselves."""
    if request.place is None:
        path = request.path
        documents = ("/api", "/apis", "/openapi", "/version", "/version/", *HEALTH)
        return request.verb == "get" and (path in documents or path.startswith(("/api/", "/apis/", "/openapi/")))
    about = (request.place.group, request.place.plural)
    return request.verb == "create" and about in SELF_REVIEWS and not request.subresource


def nothing(request: Request) -> bool:
    """What is allowed to nobody."""
    return False


def of_an_actor(request: Request) -> bool:
    """What the actor may do that owns the trinkets, observes nothing else and writes nothing else."""
    place = request.place
    if place is None:
        return False
    match place.group, place.plural, request.subresource:
        case "trinkets.example", "trinkets", "":
            return request.verb in (*READING, "patch")
        case "trinkets.example", "trinkets", "status":
            return request.verb in ("get", "update", "patch")
        case "", "events", "":
            return request.verb in ("create", "patch")
    lease = (place.group, place.plural, request.subresource, request.namespace) == (
        "coordination.k8s.io",
        "leases",
        "",
        "kube-system",
    )
    assert not lease, "no request is about the namespace of the lease"
    return False


@dataclass(frozen=True)
class Who:
    """Somebody, the roles that they are given, and what these mean. `rules` hold everywhere, or `inside` one namespace alone."""

    name: str
    may: May
    rules: tuple[Document, ...] = ()
    inside: bool = False
    identity: Identity = NOBODY

    @property
    def user(self) -> Identity:
        return authenticated(Identity(self.name)) if self.identity is NOBODY else self.identity


def somebody(registry: Registry) -> list[Who]:
    """Everybody whose credential holds."""
    plurals = {kind.plural for kind in registry.kinds}
    writing = rule("create update patch delete deletecollection options", "*", "*")
    every_path = {"verbs": ["get"], "nonResourceURLs": ["*"]}
    few_paths = {"verbs": ["*"], "nonResourceURLs": ["/metrics", "/nothing/*"]}
    return [
        Who("without", nothing),
        Who("inside", lambda r: r.namespace == INSIDE, (rule("*", "*", "*"),), inside=True),
        Who("reader", lambda r: r.verb in READING, (rule("get list watch", "*", "*"), every_path)),
        Who("writer", lambda r: r.place is not None and r.verb not in READING, (writing,)),
        Who("whole", lambda r: r.plural in plurals and not r.subresource, (rule("*", " ".join(plurals), "*"),)),
        Who("below", lambda r: r.subresource in ("status", "scale"), (rule("*", "*/status */scale", "*"),)),
        Who("named", lambda r: r.name == THERE, (rule("*", "*", "*", names=THERE),)),
        Who("group", lambda r: r.place is not None and r.place.group == "", (rule("*", "*"),)),
        Who("pages", lambda r: r.path in ("/metrics", "/nothing/at/all"), (few_paths,)),
        Who("actor", of_an_actor, identity=OWNER),
        Who("admin", lambda r: True, identity=ADMIN),
    ]


def allowed(who: Who, request: Request, owners: dict[tuple[str, str], tuple[str, str]]) -> bool:
    """Whether somebody is to be let in. `owners` has of every resource who writes its status, and who makes its objects."""
    if not everybodys(request) and not who.may(request):
        return False
    if request.place is None:
        return True
    owner, maker = owners.get((request.place.group, request.place.plural), (EXTERNAL, ""))
    if request.subresource == "status" and request.verb in ("update", "patch"):
        return owner in (EXTERNAL, who.user.username)
    if not request.subresource and request.verb in ("create", "delete", "deletecollection"):
        return maker in ("", who.user.username)
    return True


@dataclass(frozen=True)
class House:
    """A world with everybody in it, and an application for each setting of anonymous requests."""

    world: World
    apps: dict[Anonymous, App]
    everybody: list[Who]
    expired: str
    owners: dict[tuple[str, str], tuple[str, str]]

    @property
    def app(self) -> App:
        return self.apps["health"]

    def requests(self) -> list[Request]:
        """All that can be asked."""
        return [request for place in places(self.world.registry) for request in requests(place)] + self.pages()

    def pages(self) -> list[Request]:
        """Requests for everything that is no resource."""
        registry = self.world.registry
        served = [f"/apis/{group}" for group in registry.groups if group]
        served += [f"/apis/{group}/{version}" for group, versions in registry.groups.items() if group for version in versions]
        openapi = [f"/openapi/v3{path}" for path in served]
        own = ["/", "/api", "/apis", "/api/v1", "/api/v9", "/version", "/version/", "/metrics", openid.KEYS, openid.CONFIGURATION]
        health = [*HEALTH, *(f"{path}/ping" for path in HEALTH)]
        return list(pages([*own, *served, *openapi, "/openapi/v2", "/openapi/v3", *health, *UNKNOWN]))


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + token.encode())]


def secret(who: Who) -> str:
    return f"the-token-of-{who.name}"


async def furnish(world: World, everybody: list[Who]) -> None:
    """Makes some objects to ask for, and gives everybody their roles."""
    for path in (CONFIGMAPS, CONFIGMAPS.replace(INSIDE, OUTSIDE), f"{NAMESPACES}/{INSIDE}/serviceaccounts"):
        await world.make(path, THERE)
    for path in (WIDGETS, TRINKETS):
        await world.make(path, THERE, spec={"size": 1})
    await world.make(NAMESPACES, THERE)
    for who in everybody:
        if who.rules:
            roles, bindings = (ROLES, BINDINGS) if who.inside else (CLUSTER_ROLES, CLUSTER_BINDINGS)
            await world.make(roles, who.name, rules=list(who.rules))
            ref = {"kind": "Role" if who.inside else "ClusterRole", "name": who.name}
            await world.make(bindings, who.name, roleRef=ref, subjects=[{"kind": "User", "name": who.name}])


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    async with opened(roles=True) as world:
        everybody = somebody(world.registry)
        await furnish(world, everybody)
        till = till_in(world)
        account = await world.get(f"{NAMESPACES}/{INSIDE}/serviceaccounts/{THERE}")
        till.now[0] = NOW - 7200
        expired = till.tokens.issue(Bound(INSIDE, Reference(THERE, account["metadata"]["uid"])), [ISSUER], 3600).token
        till.now[0] = NOW
        table = TokenTable([(secret(who), who.user) for who in everybody])
        more = openid.documents(ISSUER, ISSUER, till.keys)
        settings: tuple[Anonymous, ...] = ("off", "health", "on")
        apps = {
            anonymous: application(
                world,
                AuthenticatorChain([table, till.tokens], anonymous=anonymous),
                Access(),
                more=more,
                flow=Flow(UNBOUNDED, time.monotonic),
            )
            for anonymous in settings
        }
        named = ((version.group, kind) for kind in world.registry.kinds for version in kind.versions)
        owners = {(group, kind.plural): (kind.owner, kind.maker) for group, kind in named}
        yield House(world, apps, everybody, expired, owners)


def told_of(wrong: list[str]) -> str:
    return f"{len(wrong)}:\n" + "\n".join(wrong[:40])


async def test_everybody_is_let_in_exactly_where_they_may() -> None:
    async with house() as home:
        wrong, every, revision = [], home.requests(), home.world.store.revision
        seen: Counter[tuple[str, bool]] = Counter()
        for who in home.everybody:
            shown = bearer(secret(who))
            for request in every:
                reply = await ask(home.app, request, shown)
                may = allowed(who, request, home.owners)
                seen[who.name, may] += 1
                if reply.denied is may or (reply.denied and (reply.status != 403 or reply.read)):
                    wrong.append(f"{who.name} {may=}: {request[:5]} {reply.status} {reply.read=} {reply.body[:300]!r}")
                if reply.status >= 500:
                    wrong.append(f"{who.name}: {request[:5]} {reply.status} {reply.body[:300]!r}")
        assert not wrong, told_of(wrong)
        assert home.world.store.revision == revision, "what was allowed was a dry run"
        assert all(seen[who.name, True] > 50 and (who.name == "admin" or seen[who.name, False] > 50) for who in home.everybody)


def absent_twins(request: Request, place: Place) -> Iterator[tuple[Request, str, str]]:
    """The same request for what is not there: no such object, namespace, kind, version, group. With it the name that there is not,
    and what there is in its place."""
    if request.name == THERE:
        yield replaced(request, THERE, GONE), GONE, THERE
    if request.namespace == OUTSIDE:
        yield replaced(request, f"namespaces/{OUTSIDE}", f"namespaces/{NOWHERE}"), NOWHERE, OUTSIDE
    yield replaced(request, f"/{place.plural}", f"/{NOTHINGS}"), NOTHINGS, place.plural
    yield replaced(request, f"{place.base}/", place._replace(version=NO_VERSION).base + "/"), "", ""
    if place.group:
        yield replaced(request, f"/{place.group}/", f"/{NO_GROUP}/"), NO_GROUP, place.group


def replaced(request: Request, there: str, absent: str) -> Request:
    return request._replace(path=request.path.replace(there, absent), query=request.query.replace(there, absent))


async def test_whoever_may_not_learns_nothing_of_what_is_there() -> None:
    async with house() as home:
        [inside] = (bearer(secret(who)) for who in home.everybody if who.name == "inside")
        wrong, compared = [], 0
        for name, app, shown in (("inside", home.app, inside), ("anonymous", home.apps["on"], [])):
            for place in places(home.world.registry):
                for request in requests(place) if place.known and not place.of_namespaces else ():
                    if name == "inside" and request.namespace == INSIDE:
                        continue  # what is in their own namespace they may know
                    reply = await ask(app, request, shown)
                    for twin, absent, there in absent_twins(request, place) if reply.denied else ():
                        other = await ask(app, twin, [*shown, (b"accept", b"application/nothing")])
                        compared += 1
                        if told(other, absent, there) != told(reply):
                            wrong.append(f"{name}: {request[:5]}: {told(reply)}, but {twin.path}: {told(other)}")
        assert not wrong, told_of(wrong)
        assert compared > 10_000


async def test_whoever_shows_nothing_or_what_does_not_hold_is_told_so_whatever_they_ask_for() -> None:
    async with house() as home:
        wrong, unauthorized = [], set()
        shown: dict[str, tuple[Anonymous, list[tuple[bytes, bytes]]]] = {
            "nothing": ("off", []),
            "nothing, where health may be seen": ("health", []),
            "nothing, where all may be asked for": ("on", []),
            "a token of nobody": ("on", bearer("guessed")),
            "a token that is over": ("on", bearer(home.expired)),
            "a header that says who it is": ("off", [(b"x-remote-user", b"admin"), (b"impersonate-user", b"admin")]),
        }
        for what, (anonymous, headers) in shown.items():
            for request in {(request.method, request.path): request for request in home.requests()}.values():
                public = request.verb == "get" and request.path in (*HEALTH, "/version", "/version/")
                visible = request.place is None and request.path.startswith((*HEALTH, "/version"))
                expected = {401} if "token" in what or anonymous == "off" else {403}
                if anonymous == "health":
                    expected = {403} if visible else {401}
                if public and not headers and anonymous != "off":
                    expected = {200}
                reply = await ask(home.apps[anonymous], request, headers)
                if reply.status == 401 and request.method != "HEAD":
                    unauthorized.add(told(reply))
                if reply.status not in expected or (reply.read and reply.status != 200):
                    wrong.append(f"{what}: {request[:5]} {reply.status} instead of {expected}, {reply.read=}: {reply.body[:200]!r}")
        assert not wrong, told_of(wrong)
        assert len(unauthorized) == 1, "every 401 is the same"
