"""Who a request is from, over real connections: headers that smuggle, certificates good and forged, keys that are revoked."""

from __future__ import annotations

import json
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio import to_thread
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actors.clock import SystemClock
from admission.apikeys import digest_of, hint_of, make_key
from admission.identity import ADMIN
from apiserver import kubeconfig_read
from apiserver.authenticating import Logins, admin_pair
from apiserver.cli import main
from apiserver.client_certificates import authority_file, issue
from apiserver.config import StartError
from apiserver.kubeconfig import ClientPair
from apiserver.sections import Authentication
from apiserver.tls import private_pem
from registry.builtin.apikey import name_of
from tests.actors.world import Lines
from tests.apiserver.served import TOKEN, Served, served
from tests.apiserver.world import NAMESPACES, World

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
KEYS = "/apis/skep.dev/v1/apikeys"
KEY = make_key(random.Random(1).choice)
ADMIN_HEADER = ("Authorization", f"Bearer {TOKEN}")
KEY_HEADER = ("X-API-Key", KEY)


class Clock(SystemClock):
    """The machine's clock, with a wall clock that a test puts forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@dataclass(frozen=True, slots=True)
class House:
    """A served world with all kinds of logins. `folder` has the authority of its clients."""

    world: World
    served: Served
    folder: Path
    clock: Clock

    def client(self, pair: ClientPair | None = None, **more: Any) -> httpx.AsyncClient:
        """A client that shows nothing, or a certificate."""
        context = self.served.credentials.context
        if pair is not None:
            context = ssl.create_default_context(cadata=context.get_ca_certs(binary_form=True)[0])
            with tempfile.NamedTemporaryFile() as file:
                file.write(pair.certificate + pair.key)
                file.flush()
                context.load_cert_chain(file.name)
        return httpx.AsyncClient(base_url=self.served.credentials.server, verify=context, trust_env=False, **more)

    async def key(self, key: str = KEY, **fields: Any) -> str:
        """Makes a key; the path of its object."""
        name = name_of(digest_of(key))
        await self.world.make(KEYS, name, spec={"user": "ann", "digest": digest_of(key), "hint": hint_of(key), **fields})
        return f"{KEYS}/{name}"

    def last(self) -> tuple[str, str]:
        """Who made the last request, and by what."""
        return self.served.requests[-1][0], self.served.shown[-1]


@asynccontextmanager
async def house(world: World, folder: Path, **settings: Any) -> AsyncIterator[House]:
    clock = Clock()
    chosen = Authentication(recheck_seconds=3600.0, **settings)
    logins = Logins(chosen, TOKEN, clock, Lines())
    logins.follow(world.store)
    client_ca = authority_file(folder, chosen, NOW)
    async with served(world, folder, chain=logins.chain, client_ca=client_ca) as running, anyio.create_task_group() as tasks:

        class Deaf:
            """No last uses are written."""

        tasks.start_soon(logins.run, Deaf(), running.app.check_watches)
        yield House(world, running, folder, clock)
        tasks.cancel_scope.cancel()


GUESS = make_key(random.Random(9).choice)

WHO_ASKS: list[tuple[list[tuple[str, str]], int, str, str]] = [
    ([("X-API-Key", GUESS)], 401, "", hint_of(GUESS)),
    ([ADMIN_HEADER], 200, "admin", ""),
    ([("authorization", f"bearer {TOKEN}")], 200, "admin", ""),
    ([KEY_HEADER], 200, "ann", hint_of(KEY)),
    ([("Authorization", f"Bearer {KEY}")], 200, "ann", hint_of(KEY)),
    ([ADMIN_HEADER, ADMIN_HEADER], 401, "", ""),
    ([ADMIN_HEADER, ("Authorization", "Bearer x")], 401, "", ""),
    ([("Authorization", "Bearer x"), ADMIN_HEADER], 401, "", ""),
    ([ADMIN_HEADER, KEY_HEADER], 401, "", hint_of(KEY)),
    ([KEY_HEADER, KEY_HEADER], 401, "", ""),
    ([KEY_HEADER, ("X-API-Key", "")], 401, "", ""),
    ([KEY_HEADER, ("Authorization", "")], 401, "", hint_of(KEY)),
    ([("X-API-Key", TOKEN)], 401, "", ""),
    ([("X_API_Key", KEY)], 401, "", ""),
    ([("Proxy-Authorization", f"Bearer {TOKEN}")], 401, "", ""),
    ([("Cookie", f"authorization=Bearer {TOKEN}")], 401, "", ""),
    ([("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")], 401, "", ""),
    ([("X-Forwarded-User", "admin"), ("X-Client-Cert", "admin"), ("Ssl-Client-S-Dn", "CN=admin")], 401, "", ""),
    ([KEY_HEADER, ("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")], 200, "ann", hint_of(KEY)),
]
"""Headers, the code of the answer, and what the access log says of who it was, and by what."""


async def test_one_header_says_who_asks_and_no_other_ever_does(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path) as made, made.client() as client:
        await made.key()
        for headers, *expected in WHO_ASKS:
            answer = await client.get(NAMESPACES, headers=headers)
            assert [answer.status_code, *made.last()] == expected, headers


async def test_guesses_are_slowed_by_address_and_a_good_credential_from_there_is_answered(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path, failures=3, failures_per_second=0.001) as made, made.client() as client:
        answers = []
        for number in range(5):
            forwarded = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
            answers.append(await client.get(NAMESPACES, headers={"X-API-Key": make_key(random.Random(number).choice), **forwarded}))
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        status = answers[-1].json()
        assert status["reason"] == "TooManyRequests"
        assert 900 < int(answers[-1].headers["retry-after"]) == status["details"]["retryAfterSeconds"] <= 1000
        assert (await client.get(NAMESPACES, headers=[ADMIN_HEADER])).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize("anonymous", ["off", "health", "on"])
async def test_what_nobody_may_ask_for(world: World, tmp_path: Path, anonymous: str) -> None:
    async with house(world, tmp_path, anonymous=anonymous) as made, made.client() as client:
        answers = {path: await client.get(path) for path in ("/readyz", "/version", "/apis", "/metrics", f"{NAMESPACES}/shop")}
        codes = [answer.status_code for answer in answers.values()]
        assert codes == {"off": [401] * 5, "health": [200, 200, 401, 401, 401], "on": [200, 200, 403, 403, 403]}[anonymous]
        if anonymous == "on":
            assert answers["/apis"].json()["message"] == 'forbidden: User "system:anonymous" cannot get path "/apis"'
            assert made.last() == ("system:anonymous", "")
        impersonating = await client.get("/version", headers={"Impersonate-User": "admin"})
        assert impersonating.status_code == (401 if anonymous == "off" else 403)


async def test_a_key_that_somebody_puts_elsewhere_is_not_answered(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path) as made, made.client(headers=[ADMIN_HEADER]) as client:
        body = {"metadata": {"name": "a"}, "spec": {"user": "ann", "digest": KEY, "hint": KEY}, KEY: 1}
        for answer in (
            await client.get(f"{KEYS}/{KEY}"),
            await client.get(f"/apis/{KEY}"),
            await client.get(NAMESPACES, params={"fieldSelector": KEY}),
            await client.post(KEYS, json=body),
            await client.post(KEYS, json=body, headers={"Accept": "application/yaml"}),
            await client.post(KEYS, json=body, params={"fieldValidation": "Warn", "dryRun": KEY}),
            await client.post(f"{NAMESPACES}", json={"metadata": {"name": "new"}, KEY: 1}, params={"fieldValidation": "Warn"}),
        ):
            assert KEY[14:] not in answer.text + repr(answer.headers.raw), answer.text
            assert answer.status_code >= 400 or "warning" in answer.headers


async def test_a_watch_ends_when_its_key_is_revoked_and_others_go_on(world: World, tmp_path: Path) -> None:
    async with (
        house(world, tmp_path) as made,
        made.client(headers=[KEY_HEADER]) as ann,
        made.client(headers=[ADMIN_HEADER]) as admin,
    ):
        path = await made.key()
        async with (
            ann.stream("GET", NAMESPACES, params={"watch": "1"}) as watch,
            admin.stream("GET", NAMESPACES + "?watch=1") as other,
        ):
            lines, others = watch.aiter_lines(), other.aiter_lines()
            assert json.loads(await anext(lines))["type"] == "ADDED"
            await world.do("delete", path)
            assert [json.loads(line)["type"] async for line in lines] == ["ADDED"]
            assert json.loads(await anext(others))["type"] == "ADDED"
            assert made.served.app.watchers == 1
        assert (await ann.get(NAMESPACES)).status_code == 401


# Certificates


async def test_a_certificate_says_who_asks_by_its_names_and_an_admin_can_have_one(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path) as made:
        pair = issue(tmp_path, "carl", ("team-a", "team-b"), DAY, NOW)
        async with made.client(pair) as client:
            assert (await client.get(NAMESPACES)).status_code == 200
            who, by = made.last()
            assert who == "carl"
            assert by.startswith("X509SHA256=")
            assert (await client.get(NAMESPACES, headers={"Impersonate-User": "ann"})).status_code == 403
            assert (await client.get(NAMESPACES, headers=[ADMIN_HEADER])).status_code == 200
            assert made.last() == ("admin", "")
            assert (await client.get(NAMESPACES, headers={"Authorization": "Bearer wrong"})).status_code == 401
        admin = admin_pair(tmp_path, Authentication(admin_credential="certificate"), NOW)
        async with made.client(admin) as client:
            assert (await client.get(NAMESPACES, headers={"Impersonate-User": "ann"})).status_code == 200
            assert made.last()[0] == "admin as ann"


def forged(kind: str, folder: Path) -> ClientPair:
    """A certificate of an administrator that is not good, in one way."""
    other = folder / "other"
    other.mkdir(exist_ok=True)
    if kind == "another authority":
        return issue(other, "admin", ("system:masters",), DAY, NOW)
    if kind == "expired":
        return issue(folder, "admin", ("system:masters",), timedelta(hours=1), NOW - DAY)
    if kind == "not yet":
        return issue(folder, "admin", ("system:masters",), 10 * DAY, NOW + DAY)
    ours = x509.load_pem_x509_certificate((folder / "client-ca.crt").read_bytes())
    signer = load_pem_private_key((folder / "client-ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"), x509.NameAttribute(NameOID.COMMON_NAME, "admin")]
    if kind == "two names":
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, "carl"))
    if kind == "no name":
        names.pop()
    if kind == "a line break in its name":
        names[-1] = x509.NameAttribute(NameOID.COMMON_NAME, "admin\nx")
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name(names) if kind == "signed by itself" else ours.subject
    made = x509.CertificateBuilder(issuer, x509.Name(names), key.public_key(), 7, NOW - DAY, NOW + DAY)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "for servers" else ExtendedKeyUsageOID.CLIENT_AUTH
    if kind != "for anything":
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    stranger = ec.generate_private_key(ec.SECP256R1())
    signed_by = {"signed by itself": key, "the name of our authority": stranger}.get(kind, signer)
    return ClientPair(made.sign(signed_by, hashes.SHA256()).public_bytes(Encoding.PEM), private_pem(key))


async def test_a_forged_certificate_ends_the_handshake_whatever_else_is_shown(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path, anonymous="on") as made:
        for kind in ("another authority", "expired", "not yet", "signed by itself", "the name of our authority", "for servers"):
            async with made.client(forged(kind, tmp_path)) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get("/readyz", headers=[ADMIN_HEADER])
            assert not made.served.requests, kind
        async with made.client() as client:
            assert (await client.get("/readyz")).status_code == 200


async def test_a_certificate_that_names_nobody_in_particular_is_refused(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path, anonymous="on") as made:
        for kind in ("two names", "no name", "a line break in its name", "for anything"):
            async with made.client(forged(kind, tmp_path)) as client:
                assert (await client.get("/readyz")).status_code == 401, kind
                assert (await client.get(NAMESPACES, headers=[ADMIN_HEADER])).status_code == 200


async def test_a_certificate_that_ends_while_its_connection_lives_is_refused_from_then_on(world: World, tmp_path: Path) -> None:
    async with house(world, tmp_path) as made, made.client(issue(tmp_path, "carl", (), DAY, NOW)) as client:
        async with client.stream("GET", NAMESPACES, params={"watch": "1"}) as watch:
            assert (await client.get(NAMESPACES)).status_code == 200
            made.clock.ahead = DAY.total_seconds() + 1
            assert (await client.get(NAMESPACES)).status_code == 401
            await made.key()  # something about credentials has changed: open watches are looked at
            assert [line async for line in watch.aiter_lines()]
        assert (await client.get(NAMESPACES, headers=[ADMIN_HEADER])).status_code == 200


async def test_where_clients_show_no_certificates_none_is_looked_at(world: World, tmp_path: Path) -> None:
    pair = issue(tmp_path, "carl", (), DAY, NOW)
    async with house(world, tmp_path, client_certificates=False) as made, made.client(pair) as client:
        assert (await client.get(NAMESPACES)).status_code == 401
        assert (await client.get("/readyz")).status_code == 200


def test_the_certificate_of_the_admin_is_kept_while_it_is_good_and_is_not_made_by_another_authority(tmp_path: Path) -> None:
    chosen = Authentication(admin_credential="certificate")
    first = admin_pair(tmp_path, chosen, NOW)
    assert first == admin_pair(tmp_path, chosen, NOW + timedelta(days=334))
    assert first != admin_pair(tmp_path, chosen, NOW + timedelta(days=336))
    assert admin_pair(tmp_path, Authentication(), NOW) is None
    assert ADMIN.groups[0] == "system:masters"
    for wrong in ({"client_ca": tmp_path / "client-ca.crt"}, {"client_certificates": False}):
        with pytest.raises(StartError, match="no authority of its own"):
            admin_pair(tmp_path, Authentication(admin_credential="certificate", **wrong), NOW)
    with pytest.raises(StartError, match="cannot be in a certificate"):
        issue(tmp_path, "x" * 65, (), DAY, NOW)


# Commands


@contextmanager
def folder_of(made: House) -> Iterator[list[str]]:
    """Flags for commands against it, and an empty folder to work in."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield ["--kubeconfig", str(made.served.kubeconfig)]


async def skep(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = await to_thread.run_sync(main, words)
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_keys_are_made_shown_rotated_and_revoked_by_commands(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(world, tmp_path) as made, made.client() as client:

        async def status(key: str) -> int:
            return (await client.get(NAMESPACES, headers={"X-API-Key": key.strip()})).status_code

        with folder_of(made) as flags:
            code, key, said = await skep(capsys, "key", "create", "ann", "--group", "team", "--description", "CI", *flags)
            assert (code, await status(key)) == (0, 200)
            assert "the only time" in said
            assert key.strip()[14:] not in said
            _, shown, _ = await skep(capsys, "key", "list", *flags)
            assert [key[:14] in shown, key.strip() in shown, "ann" in shown, "CI" in shown] == [True, False, True, True]
            code, new, said = await skep(capsys, "key", "rotate", key[:14], "--grace", "1h", *flags)
            assert (code, await status(key), await status(new)) == (0, 200, 200)
            assert f"{key[:14]}... holds for 1h more at most" in said
            made.clock.ahead = 3_601.0
            assert (await status(key), await status(new)) == (401, 200)
            made.clock.ahead = 0.0
            code, said, _ = await skep(capsys, "key", "revoke", new.strip(), *flags)
            assert (code, said, await status(new)) == (0, f"{new[:14]}... of ann is revoked\n", 401)
            code, name, said = await skep(capsys, "key", "create", "bob", "--test", "-o", "name", "--out", "bob.key", *flags)
            kept = Path("bob.key")
            assert (code, kept.stat().st_mode & 0o777, await status(kept.read_text())) == (0, 0o600, 200)
            _, rotated, _ = await skep(
                capsys, "key", "rotate", name.strip().rpartition("/")[2], "--grace", "0s", "-o", "json", *flags
            )
            document = json.loads(rotated)
            assert document["key"].startswith("skep_test_")
            assert (await status(kept.read_text()), await status(document["key"])) == (401, 200)
            _, listed, _ = await skep(capsys, "key", "list", "-o", "name", *flags)
            assert f"apikey.skep.dev/{document['metadata']['name']}\n" in listed


WRONG = (
    (("create", "ann", "-o", "name"), "error: with -o name the key would be shown nowhere"),
    (("create", "ann", "--expires", "soon"), "error: --expires 'soon' must be a duration"),
    (("create", "system:anonymous"), "spec.user: Invalid value"),
    (("revoke", "skep_live_none"), "error: no key begins with skep_live_none..."),
    (("revoke", KEY), f"error: there is no key {KEY[:14]}..."),
    (("rotate", "key-0"), "error: there is no key 'key-0'"),
)


async def test_what_is_asked_wrongly_is_one_line_that_shows_no_key(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(world, tmp_path) as made:
        with folder_of(made) as flags:
            for words, wanted in WRONG:
                code, out, errors = await skep(capsys, "key", *words, *flags)
                assert (code in (1, 2), out, KEY[14:] in errors) == (True, "", False)
                assert wanted in errors
        assert not world.stored("apikeys.skep.dev")


async def test_a_certificate_of_the_command_is_a_kubeconfig_that_works(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house(world, tmp_path) as made:
        with folder_of(made):
            words = ("certificate", "create", "dora", "--group", "team", "--data-dir", str(tmp_path))
            code, said, _ = await skep(capsys, *words)
            path = Path("dora.kubeconfig")
            assert (code, path.stat().st_mode & 0o777) == (0, 0o600)
            assert said.startswith("export KUBECONFIG=")
            found = kubeconfig_read.read(path)
            assert (await skep(capsys, *words))[0] == 2
        async with httpx.AsyncClient(base_url=found.server, verify=found.context, trust_env=False) as client:
            assert (await client.get(NAMESPACES)).status_code == 200
        assert made.last()[0] == "dora"
