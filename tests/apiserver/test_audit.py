"""The audit log of a real application: what is told of a request, from where it came to what came of it, and what never is."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import anyio
import pytest

from admission.identity import ADMIN, Identity, authenticated
from admission.review import Review
from admission.tokens import TokenTable
from apiserver.asgi import App
from apiserver.audit import AuditedManager, Auditor
from apiserver.audit_policy import read
from apiserver.audit_secrets import LONGEST, Body, Secrets
from apiserver.client import ManagerDoor
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.health import Health, ping
from apiserver.pages import Pages
from apiserver.serve import version_info
from registry.declarations import Place
from registry.errors import Cause
from registry.plugin import Plugin
from registry.resource import Format, Meta, Resource, Spec, Struct, replace
from tests.apiserver.world import CONFIGMAPS, NOW, TRINKETS, Trinket, World, opened, trinkets

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
ANN = authenticated(Identity("ann", uid="7", groups=("dev",), extra=(("team", ("a",)),)))
ADMIN_TOKEN, ANN_TOKEN = "admin-token-of-the-test", "ann-token-of-the-test"
SAFES = "/apis/safes.example/v1/namespaces/shop/safes"
SECRETS = "/api/v1/namespaces/shop/secrets"
PASSWORD = "correct-horse"


class Door(Struct):
    label: str = ""
    code: Annotated[str | None, Format("password")] = None


class SafeSpec(Spec):
    password: Annotated[str, Format("password")]
    hint: Annotated[str, Meta(max_length=20)] = ""
    doors: list[Door] | None = None
    pins: Annotated[dict[str, str] | None, Meta(extra_json_schema={"x-skep-secret": True})] = None


class Safe(Resource[SafeSpec, None]):
    """Safe is a kind with secrets in it."""


def plugins() -> tuple[Plugin, Plugin]:
    safes = Plugin("safes")
    safes.kind(Safe, group="safes.example", version="v1", plural="safes")

    @safes.validates(Safe)
    def strong(review: Review[Safe]) -> list[Cause]:
        weak = len(review.new.spec.password) < 4
        return [Cause("Weak", f"Invalid value: {review.new.spec.password}", "spec.password")] if weak else []

    def polish(review: Review[Trinket]) -> Trinket:
        review.note("shine", "it was dull")
        return replace(review.new, spec=replace(review.new.spec, note="polished"))

    def heavy(review: Review[Trinket]) -> None:
        if review.new.spec.size == 13:
            raise RuntimeError("the insides")

    return trinkets([polish], [heavy]), safes


@dataclass
class Told:
    """An audit writer whose lines are read by the test."""

    events: list[Document] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    broken: list[Exception] = field(default_factory=list)

    def put(self, render: Callable[[], bytes], size: int) -> None:
        assert size > 0
        try:
            line = render().decode()
        except ZeroDivisionError as error:
            self.broken.append(error)
            return
        assert line.count("\n") == 1
        self.lines.append(line)
        self.events.append(json.loads(line))

    @property
    def last(self) -> Document:
        return self.events[-1]


@dataclass
class Answered:
    """What came back."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def audit_ids(self) -> list[str]:
        return [value.decode() for name, value in self.headers if name == b"audit-id"]


class Api:
    """An application, called as uvicorn calls it."""

    def __init__(self, world: World, app: App, told: Told) -> None:
        self.world, self.app, self.told = world, app, told

    async def ask(
        self,
        method: str,
        path: str,
        body: Document | bytes = b"",
        *,
        token: str = ANN_TOKEN,
        headers: Mapping[str, str] = {},
        query: str = "",
        send: Callable[[MutableMapping[str, Any]], Any] | None = None,
    ) -> Answered:
        answered = Answered()
        raw = body if isinstance(body, bytes) else json.dumps(body, indent=1).encode()
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", "user-agent": "test/1", **headers}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
            "client": ("10.1.2.3", 4711),
        }
        given = [{"type": "http.request", "body": raw}]

        async def receive() -> MutableMapping[str, Any]:
            if given:
                return given.pop()
            await anyio.sleep_forever()
            raise AssertionError

        async def take(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered.status, answered.headers = message["status"], list(message["headers"])
            answered.body += message.get("body", b"")
            if send is not None:
                send(message)

        await self.app(scope, receive, take)
        return answered


@asynccontextmanager
async def audited(*rules: Document, log: bool = True) -> AsyncIterator[Api]:
    """An application with this policy; without rules, everything is told as `Metadata` at its end."""
    policy, problems = read({"rules": list(rules) or [{"level": "Metadata", "omitStages": ["RequestReceived"]}]})
    assert problems == []
    lines = Told()
    auditor = Auditor(policy, lines, now=lambda: NOW, chance=random.Random(5)) if log else None  # type: ignore[arg-type]
    make = {} if auditor is None else {"make": partial(AuditedManager, auditor)}
    async with opened(*plugins(), **make) as world:
        health = Health({"readyz": {"ping": ping}}, lambda *_: None)
        pages = Pages(
            Discovery(world.manager.catalog),
            OpenAPIDocuments(world.manager.catalog),
            health,
            version_info(),
            lambda _: (b"", "text/plain"),
        )
        app = App(
            world.manager,
            world.store,
            pages,
            TokenTable([(ADMIN_TOKEN, ADMIN), (ANN_TOKEN, ANN)]),
            access=Silent(),
            log=world.log,
            now=lambda: NOW,
            chance=random.Random(1),
            body_limit=2**20,
            auditor=auditor,
        )
        lines.events.clear()
        lines.lines.clear()
        yield Api(world, app, lines)


class Silent:
    """No access log."""

    def record(self, *_: Any) -> None: ...


def trinket(**spec: Any) -> Document:
    return {"apiVersion": "trinkets.example/v1", "kind": "Trinket", "metadata": {"name": "t"}, "spec": spec}


def safe(**spec: Any) -> Document:
    return {"apiVersion": "safes.example/v1", "kind": "Safe", "metadata": {"name": "s"}, "spec": spec}


async def test_a_create_is_told_with_who_what_where_why_and_what_was_made_of_it() -> None:
    async with audited() as api:
        answered = await api.ask("POST", TRINKETS, trinket(size=2), query="dryRun=All", headers={"audit-id": "mine-1"})
        assert answered.status == 201
        assert answered.audit_ids == ["mine-1"]
        [event] = api.told.events
        uid = json.loads(answered.body)["metadata"]["uid"]
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "mine-1",
        "stage": "ResponseComplete",
        "requestURI": f"{TRINKETS}?dryRun=All",
        "verb": "create",
        "user": {"username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"team": ["a"]}},
        "sourceIPs": ["10.1.2.3"],
        "userAgent": "test/1",
        "objectRef": {
            "resource": "trinkets",
            "namespace": "shop",
            "name": "t",
            "uid": uid,
            "apiGroup": "trinkets.example",
            "apiVersion": "v1",
        },
        "requestReceivedTimestamp": "2023-11-14T22:13:20.000000Z",
        "stageTimestamp": "2023-11-14T22:13:20.000000Z",
        "responseStatus": {"metadata": {}, "code": 201},
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "",
            "mutation.admission.skep.dev/0": '{"by":"trinkets.polish","patch":[{"op":"add","path":"/spec/note"}]}',
            "trinkets.polish/shine": "it was dull",
        },
    }


async def test_each_stage_that_is_asked_for_is_a_line() -> None:
    async with audited({"level": "Metadata"}) as api:
        await api.ask("POST", TRINKETS, trinket())
        assert [event["stage"] for event in api.told.events] == ["RequestReceived", "ResponseComplete"]
        assert "responseStatus" not in api.told.events[0]
        assert len({event["auditID"] for event in api.told.events}) == 1


async def test_a_watch_is_told_when_it_begins_and_when_it_ends() -> None:
    async with audited({"level": "RequestResponse"}) as api:
        await api.ask("GET", TRINKETS, query="watch=true&timeoutSeconds=1", send=lambda message: api.app.end_watches())
        assert [(event["stage"], event["verb"]) for event in api.told.events] == [
            ("RequestReceived", "watch"),
            ("ResponseStarted", "watch"),
            ("ResponseComplete", "watch"),
        ]
        assert "responseObject" not in api.told.last


async def test_a_level_says_whether_bodies_are_told() -> None:
    rules = [
        {"level": "None", "verbs": ["get"]},
        {"level": "Request", "verbs": ["create"], "omitStages": ["RequestReceived"]},
        {"level": "RequestResponse", "omitStages": ["RequestReceived"]},
    ]
    async with audited(*rules) as api:
        await api.ask("POST", TRINKETS, trinket(size=2))
        assert api.told.last["requestObject"] == trinket(size=2)
        assert "responseObject" not in api.told.last
        yaml = b"apiVersion: trinkets.example/v1\nkind: Trinket\nspec: {size: 3}\n"
        headers = {"content-type": "application/apply-patch+yaml"}
        answered = await api.ask("PATCH", f"{TRINKETS}/t", yaml, query="fieldManager=me&force=true", headers=headers)
        assert api.told.last["requestObject"]["spec"] == {"size": 3}
        assert api.told.last["responseObject"] == json.loads(answered.body)
        count = len(api.told.events)
        answered = await api.ask("GET", f"{TRINKETS}/t")
        assert len(api.told.events) == count
        assert answered.audit_ids != []


async def test_who_acts_as_somebody_else_is_told_with_both_names() -> None:
    rules = [{"level": "None", "users": ["ann"]}, {"level": "Metadata", "users": ["admin"]}]
    async with audited(*rules) as api:
        await api.ask("GET", TRINKETS, token=ADMIN_TOKEN, headers={"impersonate-user": "ann"})
        assert api.told.last["user"]["username"] == "admin"
        assert api.told.last["impersonatedUser"]["username"] == "ann"
        count = len(api.told.events)
        await api.ask("GET", TRINKETS, headers={"impersonate-user": "admin"})
        assert len(api.told.events) == count, "rules are about who has authenticated"


@pytest.mark.parametrize(
    ("method", "path", "token", "code", "reason"),
    [
        ("GET", TRINKETS, "nobody's", 401, "Unauthorized"),
        ("GET", "/apis/trinkets.example/v9/trinkets", ANN_TOKEN, 404, "NotFound"),
        ("GET", f"{TRINKETS}/none", ANN_TOKEN, 404, "NotFound"),
        ("PUT", f"{TRINKETS}/t/status", ANN_TOKEN, 403, "Forbidden"),
        ("BREW", TRINKETS, ANN_TOKEN, 405, "MethodNotAllowed"),
    ],
)
async def test_a_refusal_is_told_wherever_it_comes_from(method: str, path: str, token: str, code: int, reason: str) -> None:
    async with audited() as api:
        answered = await api.ask(method, path, b"{}", token=token)
        assert answered.status == code
        assert len(answered.audit_ids) == 1
        [event] = api.told.events
        assert (event["responseStatus"]["code"], event["responseStatus"]["reason"]) == (code, reason)
        assert event["user"] == {} if code == 401 else event["user"]["username"] == "ann"
        if code == 403:
            assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
            assert "written by its owner alone" in event["annotations"]["authorization.k8s.io/reason"]


async def test_pages_and_their_paths_are_told_too() -> None:
    async with audited({"level": "Metadata", "nonResourceURLs": ["/version"], "omitStages": ["RequestReceived"]}) as api:
        await api.ask("GET", "/readyz")
        await api.ask("GET", "/version", token="")
        assert [(event["requestURI"], event["verb"], event["responseStatus"]["code"]) for event in api.told.events] == [
            ("/version", "get", 200)
        ]


async def test_what_nobody_expected_is_a_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    async with audited() as api:
        answered = await api.ask("POST", TRINKETS, trinket(size=13))
        assert answered.status == 500
        assert api.told.last["stage"] == "ResponseComplete", "a handler that fails is expected"
        monkeypatch.setattr(api.world.manager, "_verbs", {})
        answered = await api.ask("POST", TRINKETS, trinket())
        assert answered.status == 500
        assert (api.told.last["stage"], api.told.last["responseStatus"]["code"]) == ("Panic", 500)
        assert "the insides" not in "".join(api.told.lines)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, 'a"b', "ä"])
async def test_a_name_that_a_request_cannot_have_is_replaced(given: str) -> None:
    async with audited() as api:
        answered = await api.ask("GET", TRINKETS, headers={"audit-id": given})
        assert answered.audit_ids == [api.told.last["auditID"]]
        assert answered.audit_ids[0] != given


async def test_without_an_audit_log_nothing_is_told_and_no_request_has_a_name() -> None:
    async with audited(log=False) as api:
        assert (await api.ask("GET", TRINKETS, headers={"audit-id": "mine"})).audit_ids == []


async def test_actors_of_the_server_are_told_as_everybody_is() -> None:
    async with audited({"level": "RequestResponse"}) as api:
        door = ManagerDoor(api.world.manager, ANN)
        await door.create(Trinket, "shop", {"metadata": {"name": "t"}, "spec": {"size": 4}})
        first, last = api.told.events
        assert (first["stage"], last["stage"], last["responseStatus"]["code"]) == ("RequestReceived", "ResponseComplete", 201)
        assert (last["requestURI"], last["verb"], last["userAgent"]) == (TRINKETS, "create", "skep (in process)")
        assert last["requestObject"]["spec"] == {"size": 4}
        assert last["responseObject"]["spec"] == {"size": 4, "note": "polished"}
        assert "mutation.admission.skep.dev/0" in last["annotations"]
        assert await door.get(Trinket, Place("shop", "t"))
        with pytest.raises(Exception, match="already exists"):
            await door.create(Trinket, "shop", {"metadata": {"name": "t"}, "spec": {"size": 4}})
        assert api.told.last["responseStatus"]["reason"] == "AlreadyExists"


# What is never told

ALL = {"level": "RequestResponse"}


async def test_no_line_has_the_credential_of_the_request_nor_one_of_its_address() -> None:
    async with audited(ALL) as api:
        await api.ask("GET", TRINKETS, query="token=abcdef123&labelSelector=a")
        await api.ask("GET", TRINKETS, token="a-wrong-token", headers={"cookie": "abcdef123", "x-api-key": "abcdef123"})
        for line in api.told.lines:
            assert not [secret for secret in (ANN_TOKEN, "a-wrong-token", "abcdef123", "Bearer") if secret in line]


async def test_bodies_and_messages_of_secrets_are_never_told() -> None:
    async with audited(ALL) as api:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": PASSWORD}}
        assert (await api.ask("POST", SECRETS, body)).status == 201
        assert api.told.last["annotations"]["audit.skep.dev/left-out-request"] == "it may hold credentials"
        assert api.told.last["annotations"]["audit.skep.dev/left-out-response"] == "it may hold credentials"
        await api.ask("GET", SECRETS)
        await api.ask("GET", f"{SECRETS}/s", headers={"accept": "application/yaml"})
        patch = {"stringData": {"password": PASSWORD}, "type": PASSWORD}
        refused = await api.ask("PATCH", f"{SECRETS}/s", patch, headers={"content-type": "application/merge-patch+json"})
        assert (refused.status, PASSWORD.encode() in refused.body) == (422, True)
        assert api.told.last["responseStatus"] == {"metadata": {}, "code": 422, "status": "Failure", "reason": "Invalid"}
        encoded = "Y29ycmVjdC1ob3JzZQ"
        assert not [line for line in api.told.lines if PASSWORD in line or encoded in line]


async def test_a_secret_that_was_sent_to_a_wrong_path_and_a_key_in_a_path_are_not_told() -> None:
    key, jwt = f"skep_live_{'k' * 38}", "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwcyJ9.c2lnbmF0dXJl"
    async with audited(ALL) as api:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": PASSWORD}}
        assert (await api.ask("POST", CONFIGMAPS, body)).status == 400
        assert api.told.last["annotations"]["audit.skep.dev/left-out-request"] == "it may hold credentials"
        await api.ask("GET", f"{CONFIGMAPS}/{key}")
        assert api.told.last["objectRef"]["name"] == "skep_live_kkkk***"
        await api.ask("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"key": key, "token": jwt}})
        assert api.told.last["requestObject"]["data"] == {"key": "skep_live_kkkk***", "token": "***"}
        for line in api.told.lines:
            assert not [secret for secret in (PASSWORD, key, jwt) if secret in line]


async def test_fields_that_a_model_marks_are_masked_wherever_the_object_is() -> None:
    async with audited(ALL) as api:
        spec = {"password": PASSWORD, "hint": "h", "doors": [{"label": "front", "code": PASSWORD}], "pins": {"a": PASSWORD}}
        body = safe(**spec)
        body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
        assert (await api.ask("POST", SAFES, body)).status == 201
        masked = {"password": "***", "hint": "h", "doors": [{"label": "front", "code": "***"}], "pins": "***"}
        assert api.told.last["requestObject"]["spec"] == api.told.last["responseObject"]["spec"] == masked
        await api.ask("GET", SAFES)
        assert api.told.last["responseObject"]["items"][0]["spec"] == masked
        await api.ask("GET", SAFES, headers={"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert api.told.last["annotations"]["audit.skep.dev/left-out-response"] == "it is not known where its secrets are"
        for media, patch in (
            ("merge-patch", {"spec": {"password": PASSWORD}}),
            ("json-patch", [{"op": "replace", "path": "/spec", "value": spec}]),
        ):
            await api.ask("PATCH", f"{SAFES}/s", json.dumps(patch).encode(), headers={"content-type": f"application/{media}+json"})
        assert api.told.events[-1]["requestObject"] == [{"op": "replace", "path": "/spec", "value": "***"}]
        assert api.told.events[-3]["requestObject"] == {"spec": {"password": "***"}}
        assert not [line for line in api.told.lines if PASSWORD in line]
        refused = await api.ask("POST", SAFES, safe(password="abc"))
        assert b"Invalid value: abc" in refused.body
        assert "abc" not in api.told.lines[-1]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (Body(b"x" * (LONGEST + 1)), "no more than"),
        (Body(b"{"), "not JSON or YAML"),
        (Body(b"\xff\xfe", "application/yaml"), "not JSON or YAML"),
        (Body(b"k8s\x00", "application/vnd.kubernetes.protobuf"), "not JSON or YAML"),
        (Body(b"[" * 5_000), "not JSON or YAML"),
    ],
)
def test_a_body_that_cannot_be_told_is_left_out_and_it_is_said_why(body: Body, why: str) -> None:
    value, said = Secrets().told(body, None)
    assert value is None
    assert why in said


async def test_a_body_that_is_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiserver.audit.LONGEST", 100)
    async with audited(ALL) as api:
        await api.ask("POST", TRINKETS, trinket(note="x" * 200))
        assert "no more than 100 are told" in api.told.last["annotations"]["audit.skep.dev/left-out-response"]


async def test_an_event_that_cannot_be_made_costs_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with audited() as api:
        monkeypatch.setattr("apiserver.audit._user", lambda _: 1 / 0)
        assert (await api.ask("POST", TRINKETS, trinket())).status == 201
        assert [type(error) for error in api.told.broken] == [ZeroDivisionError]


async def test_half_a_surrogate_pair_in_an_address_is_a_line_all_the_same() -> None:
    async with audited() as api:
        await api.ask("GET", "/none\udcff".encode(errors="surrogateescape").decode("latin-1"))
        assert api.told.last["responseStatus"]["code"] == 404
