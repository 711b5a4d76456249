"""Calls of webhooks that are slow, broken, lying, hostile, or not who they say; and what that costs others."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from admission.signing import Refused, Verifier
from apiserver.config import StartError
from apiserver.outbound import Networks
from apiserver.sections import Webhooks as Settings
from apiserver.webhook_metrics import webhook_families
from apiserver.webhooks import SECRET_TYPE, server_secrets, ways
from registry.errors import ApiError, InternalError
from tests.apiserver.hooks import LOCAL, Asking, Hook, answered, asking, bundle, client_certificate, hook, http, patch
from tests.apiserver.world import CONFIGMAPS, WIDGETS

pytestmark = pytest.mark.anyio
Document = dict[str, Any]
YES: Document = {"allowed": True}
ASKED = 'failed calling webhook "a.hooks.example": '


async def make(asking: Asking, name: str = "w") -> None:
    await asking.world.do("create", WIDGETS, {"metadata": {"name": name}, "spec": {"size": 1}})


async def failure(asking: Asking, name: str = "w") -> str:
    """Why a webhook could not be asked, as whoever writes is told."""
    with pytest.raises(InternalError) as error:
        await make(asking, name)
    said = f"Internal error occurred: {ASKED}"
    assert error.value.message.startswith(said)
    assert error.value.details is not None
    assert error.value.details["causes"][0]["message"] == error.value.message.removeprefix("Internal error occurred: ")
    return error.value.message.removeprefix(said)


def raw(answer: Document | None = None, **response: Any) -> Any:
    """Answers with an AdmissionReview of which something is not as it must be."""

    def reply(request: Document) -> bytes:
        said = {"uid": request["uid"], "allowed": True, **response}
        right = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": said}
        return http(msgspec.json.encode({**right, **(answer or {})}))

    return reply


PATCH = b64encode(b"[]").decode()
META = "https://169.254.169.254/latest/meta-data"
INVALID = [
    (lambda _: http(b"no json"), "it cannot be read as an AdmissionReview: JSON is malformed"),
    (lambda _: http(b"[" * 50_000), "it cannot be read"),
    (lambda _: http(b'{"response":{"uid":"\xff"}}'), "it cannot be read"),
    (lambda _: http(b"{}"), "webhook response was absent"),
    (raw(uid="other"), 'expected response.uid="'),
    (raw({"apiVersion": "admission.k8s.io/v1beta1"}), "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"),
    (raw({"kind": "Pod"}), "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"),
    (raw(patch=PATCH), "webhook returned response.patch but not response.patchType"),
    (raw(patchType="JSONPatch"), "webhook returned response.patchType but not"),
    (raw(patch=PATCH, patchType="x"), "webhook returned invalid response.patchType"),
    (raw(patch="%", patchType="JSONPatch"), "response.patch is not base64"),
    (raw(allowed="yes"), "it cannot be read"),
    (lambda _: http(b"x" * 2**17), "it has more than 65536 bytes"),
]
BROKEN = [
    (lambda _: http(b"", "500 Oops"), "it answered with status 500"),
    (lambda _: http(b"", "302 Found", f"location: {META}"), "it answered with status 302; redirects are not followed"),
    (lambda _: http(b"", "307 Here", "location: https://127.0.0.1:1/"), "it answered with status 307; redirects are not followed"),
    (lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "failed to call webhook: Post "),
    (lambda _: b"220 smtp.example ESMTP\r\n\r\n", "failed to call webhook: Post "),
    (lambda _: b"", "Server disconnected without sending a response"),
]
LIES = [*((reply, f"received invalid webhook response: {said}") for reply, said in INVALID), *BROKEN]


async def test_an_answer_that_is_none_refuses_or_passes_over_as_the_failure_policy_says() -> None:
    at = [0]
    settings = Settings(allow=("127.0.0.1",), answer_bytes=65536, breaker_failures=1000)

    def lie(request: Document) -> Any:
        return LIES[at[0]][0](request)

    async with asking(settings) as asked, hook(lie) as liar:
        await asked.mutating("a", liar.entry())
        for at[0], (_, said) in enumerate(LIES):
            assert said in await failure(asked)
        await asked.world.do("delete", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/a")
        await asked.mutating("a", liar.entry(failurePolicy="Ignore"))
        for at[0] in range(len(LIES)):
            await make(asked, f"w{at[0]}")
        assert len(asked.told.lines) == len(LIES)


async def test_a_validating_webhook_may_not_patch() -> None:
    async with asking() as asked, hook(lambda _: patch({"op": "add", "path": "/spec/notes", "value": "x"})) as eager:
        await asked.validating("a", eager.entry())
        assert await failure(asked) == "received invalid webhook response: validating webhook may not return response.patch"


async def test_a_webhook_that_takes_too_long_is_not_waited_for() -> None:
    async def sleep(_: Document) -> Document:
        await anyio.sleep_forever()
        return YES

    settings = Settings(allow=("127.0.0.1",), total_seconds=0.05)
    async with asking(settings) as asked, hook(sleep) as slow, hook(lambda _: YES) as next_:
        await asked.mutating("a", slow.entry(failurePolicy="Ignore"), next_.entry("b"))
        with pytest.raises(InternalError, match=r"took more than 0\.05 seconds together"):
            await make(asked)
        assert "context deadline exceeded: no answer within 0.0" in asked.told.lines[0][1]["why"]
        assert not next_.asked


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.200", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("192.0.0.192", False),
        ("198.18.0.1", False),
        ("fec0::1", False),
        ("64:ff9b:1::a00:1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),  # Teredo, of 127.0.0.1
        ("64:ff9b::5db8:d822", True),
        ("not an address", False),
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_not_connected_to(address: str, allowed: bool) -> None:
    assert Networks(()).permit(address) is allowed


def test_an_allowed_network_holds_what_leads_into_it() -> None:
    networks = Networks(["10.1.0.0/16", "fd00::/8"])
    assert [networks.permit(address) for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "10.2.0.1", "::1")] == [
        True, True, True, False, False,
    ]  # fmt: skip


async def test_without_a_setting_not_even_this_machine_is_called_and_the_refusal_says_what_to_do() -> None:
    async with asking(Settings()) as asked, hook(lambda _: YES) as here:
        await asked.validating("a", here.entry())
        said = await failure(asked)
        assert "127.0.0.1 is at 127.0.0.1, which is no public address" in said
        assert said.endswith("add its network to the server's setting webhooks.allow")
        assert here.connections == 0


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2", "127.0.0.1"]]
    looked: list[str] = []

    async def rebinding(host: str, port: int, limiter: object) -> Sequence[str]:
        del port, limiter
        looked.append(host)
        return answers[len(looked) - 1]

    def once(request: Document) -> bytes:
        return answered(request, YES).replace(b"OK\r\n", b"OK\r\nconnection: close\r\n")

    async with asking(LOCAL, resolve=rebinding) as asked, hook(once) as outside:  # noqa: SIM117  the second has the port of the first
        async with hook(once, host="127.0.0.2", port=outside.port) as inside:
            url = f"https://hook.example:{outside.port}/"
            await asked.validating("a", outside.entry(clientConfig={"url": url, "caBundle": bundle()}))
            await make(asked)
            assert (looked, len(outside.asked)) == (["hook.example"], 1)
            assert "hook.example is at 127.0.0.2, which is no public address" in await failure(asked)
            await make(asked, "other")
            assert (len(looked), len(outside.asked), inside.connections) == (3, 2, 0)


async def test_an_address_that_does_not_answer_gives_way_to_the_next() -> None:
    async def two(*_: object) -> Sequence[str]:
        return ["127.0.0.3", "127.0.0.1"]

    async with asking(Settings(allow=("127.0.0.0/8",)), resolve=two) as asked, hook(lambda _: YES) as here:
        await asked.validating("a", here.entry())
        await make(asked)
        assert len(here.asked) == 1


async def test_a_host_that_is_not_there_is_told_so() -> None:
    async def nowhere(*_: object) -> Sequence[str]:
        raise OSError("Name or service not known")

    async with asking(LOCAL, resolve=nowhere) as asked, hook(lambda _: YES) as here:
        await asked.validating("a", here.entry(clientConfig={"url": "https://nowhere.example/"}))
        assert "Name or service not known" in await failure(asked)


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with asking() as asked, hook(lambda _: YES) as here:
        await asked.validating("a", here.entry())
        await make(asked)
        assert here.connections == 1


async def test_connections_are_kept_and_one_that_was_closed_meanwhile_is_no_failure() -> None:
    replies: list[Any] = [YES, YES, b"", YES]
    async with asking(Settings(allow=("127.0.0.1",), breaker_failures=1)) as asked, hook(lambda _: replies.pop(0)) as here:
        await asked.validating("a", here.entry())
        for name in ("a", "b", "c"):
            await make(asked, name)
        assert here.connections == 2
        assert len({request["uid"] for request in here.asked}) == 4
        assert asked.webhooks.views()[0].results == {"answered": 3}


async def test_a_certificate_that_the_bundle_does_not_know_is_refused_and_a_broken_bundle_as_well() -> None:
    async with asking() as asked, hook(lambda _: YES) as here:
        config = here.entry()["clientConfig"]
        for changes, said in (
            ({"caBundle": None}, "CERTIFICATE_VERIFY_FAILED"),
            ({"caBundle": b64encode(b"none").decode()}, "unable to load root certificates"),
            ({"url": config["url"].replace("127.0.0.1", "127.0.0.2")}, "webhooks.allow"),
        ):
            name = f"b{len(asked.told.lines)}{abs(hash(said))}"
            await asked.validating(name, here.entry(clientConfig=config | changes))
            assert said in await failure(asked)
            await asked.world.do("delete", f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}")
        assert here.asked == []


async def test_a_webhook_may_ask_for_the_servers_certificate(tmp_path: Path) -> None:
    cert, key = client_certificate(tmp_path)
    settings = Settings(allow=("127.0.0.1",), client_cert=cert, client_key=key)
    async with hook(lambda _: YES, client_ca=cert) as strict:
        async with asking(settings) as asked:
            await asked.validating("a", strict.entry())
            await make(asked)
        async with asking() as asked:
            await asked.validating("a", strict.entry())
            await failure(asked)
        assert len(strict.asked) == 1


async def test_a_service_is_where_the_settings_say_and_has_its_own_name() -> None:
    async with hook(lambda _: YES) as here:
        entry = here.entry(clientConfig={"service": {"name": "kopf", "namespace": "hooks", "path": "/x"}, "caBundle": bundle()})
        async with asking(Settings(services=(f"kopf.hooks=127.0.0.1:{here.port}",))) as asked:
            await asked.validating("a", entry)
            await make(asked)
            assert here.headers[0]["host"] == "kopf.hooks.svc"
        async with asking(Settings(services=("other.hooks=127.0.0.1",))) as asked:
            await asked.validating("a", entry)
            assert 'say where it is in the server\'s settings, webhooks.services = ["kopf.hooks=HOST:PORT"]' in await failure(asked)


async def test_a_slow_webhook_holds_up_its_own_writes_alone_and_only_so_many() -> None:
    release = anyio.Event()

    async def slow(_: Document) -> Document:
        await release.wait()
        return YES

    failed: list[str] = []
    async with (
        asking(Settings(allow=("127.0.0.1",), concurrency=2, queue=1)) as asked,
        hook(slow) as hung,
        hook(lambda _: YES) as quick,
    ):
        await asked.validating("a", hung.entry())
        maps = [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}]
        await asked.validating("b", quick.entry("b", rules=maps))

        async def one(name: str) -> None:
            try:
                await make(asked, name)
            except ApiError as error:
                failed.append(error.message)

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, f"w{number}")
            while len(failed) < 3 or len(hung.asked) < 2:
                await checkpoint()
            view = asked.webhooks.views()[0]
            assert (view.running, view.waiting) == (2, 1)
            assert failed[0].endswith("it was not called: 3 calls of it are under way or wait already")
            for number in range(20):
                await asked.world.make(CONFIGMAPS, f"c{number}")
            release.set()
        assert len(asked.world.stored("widgets.reference.example.com")) == 3
        assert asked.webhooks.views()[0].results == {"answered": 3, "busy": 3}
        assert asked.webhooks.views()[0].state == "closed"


async def test_a_webhook_that_fails_again_and_again_is_left_alone_and_then_tried_once() -> None:
    broken: list[bytes] = [http(b"", "503 Away")]
    settings = Settings(allow=("127.0.0.1",), breaker_failures=3, breaker_seconds=10)
    async with asking(settings) as asked, hook(lambda request: broken[0] if broken else answered(request, YES)) as ill:
        await asked.validating("a", ill.entry())
        for _ in range(3):
            assert "it answered with status 503" in await failure(asked)
        said = await failure(asked)
        assert "it was not called, since it failed 3 times in a row" in said
        assert "open for 10 s more" in said
        assert "it answered with status 503" in said
        assert (len(ill.asked), asked.webhooks.views()[0].state) == (3, "open")
        asked.clock[0] = 11.0
        assert "it answered with status 503" in await failure(asked)
        assert "was not called" in await failure(asked)
        asked.clock[0] = 22.0
        broken.clear()
        assert asked.webhooks.views()[0].state == "half-open"
        await make(asked)
        assert (len(ill.asked), asked.webhooks.views()[0].state) == (5, "closed")
        assert [event for event, _ in asked.told.lines] == [
            "a webhook fails and is left alone for a while",
            "a webhook fails and is left alone for a while",
            "a webhook answers again",
        ]
        families = {family.name: family for family in webhook_families(asked.webhooks.views())}
        counted = {sample.labels["result"]: sample.value for sample in families["skep_webhook_calls"].samples}
        assert counted == {"answered": 1, "failed": 4, "open": 2}


async def test_another_address_begins_anew_and_a_configuration_that_is_gone_leaves_nothing() -> None:
    async with asking(Settings(allow=("127.0.0.1",), breaker_failures=1)) as asked, hook(lambda _: YES) as well:
        await asked.validating("a", well.entry(clientConfig={"url": "https://127.0.0.1:1/"}))
        await failure(asked)
        assert asked.webhooks.views()[0].state == "open"
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/a"
        await asked.world.merge(path, {"webhooks": [well.entry()]})
        await make(asked)
        assert asked.webhooks.views()[0].state == "closed"
        await asked.world.do("delete", path)
        assert asked.webhooks.views() == []
        await make(asked, "other")
        assert len(well.asked) == 1


def signed(hooked: Hook, at: int = -1) -> tuple[dict[str, str], bytes]:
    return hooked.headers[at], hooked.bodies[at]


async def test_requests_are_signed_with_the_servers_secrets(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).write_text(f"{name}-secret-of-the-server\n")
    settings = Settings(allow=("127.0.0.1",), signing_secret=tmp_path / "new", signing_secret_previous=tmp_path / "old")
    async with asking(settings) as asked, hook(lambda _: YES) as here:
        await asked.validating("a", here.entry())
        await make(asked)
        headers, body = signed(here)
        for name in ("new", "old"):
            verifier = Verifier([f"{name}-secret-of-the-server".encode()])
            assert verifier.verify(headers, body, 1_700_000_000.0) == headers["webhook-id"]
            with pytest.raises(Refused, match="received before"):
                verifier.verify(headers, body, 1_700_000_001.0)
        with pytest.raises(Refused, match="is not that of this body"):
            Verifier([b"another-secret-altogether"]).verify(headers, body, 1_700_000_000.0)


async def test_a_secret_signs_for_the_configurations_that_name_it_if_it_is_meant_for_that() -> None:
    def data(**secrets: str) -> Document:
        return {key: b64encode(value.encode()).decode() for key, value in secrets.items()}

    async with asking() as asked, hook(lambda _: YES) as here:
        annotations = {"skep.dev/signing-secret": "shop/signing"}
        await asked.validating("a", here.entry(), annotations=annotations)
        secrets = "/api/v1/namespaces/shop/secrets"
        assert f'secret "shop/signing", to sign its requests with, is not there or not of the type {SECRET_TYPE}' in await failure(
            asked
        )
        await asked.world.make(secrets, "signing", type="Opaque", data=data(secret="a-secret-of-others"))
        assert "not of the type" in await failure(asked)
        await asked.world.do("delete", f"{secrets}/signing")
        await asked.world.make(secrets, "signing", type=SECRET_TYPE, data=data(secret="short"))
        said = await failure(asked)
        assert "16 bytes or more" in said
        assert "short" not in said
        assert here.asked == []
        await asked.world.merge(f"{secrets}/signing", {"data": data(secret="the-first-secret!")})
        await make(asked, "one")
        assert Verifier([b"the-first-secret!"]).verify(*signed(here), 1_700_000_000.0)
        await asked.world.merge(f"{secrets}/signing", {"data": data(secret="the-second-secret", previous="the-first-secret!")})
        await make(asked, "two")
        assert Verifier([b"the-first-secret!"]).verify(*signed(here), 1_700_000_000.0)
        assert Verifier([b"the-second-secret"]).verify(*signed(here), 1_700_000_000.0)


def test_settings_that_do_not_hold_are_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    for settings, said in (
        (Settings(allow=("10.0.0.1/8",)), "webhooks.allow: 10.0.0.1/8 has host bits set"),
        (Settings(services=("a=b",)), "webhooks.services: 'a=b' is not NAME.NAMESPACE=HOST"),
        (Settings(services=("a.b=c:70000",)), "webhooks.services"),
        (Settings(client_cert=tmp_path / "no", client_key=tmp_path / "no"), "webhooks.client_cert"),
        (Settings(client_cert=tmp_path / "short", client_key=tmp_path / "short"), "no certificate and its key"),
    ):
        with pytest.raises(StartError, match=said):
            ways(settings)
    for settings, said in (
        (Settings(signing_secret=tmp_path / "short"), "fewer than 16 bytes"),
        (Settings(signing_secret=tmp_path / "none"), "webhooks.signing_secret: .*none: No such file"),
    ):
        with pytest.raises(StartError, match=said):
            server_secrets(settings)
