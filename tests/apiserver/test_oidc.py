"""Tokens of an OpenID Connect issuer: a real one, which comes and goes; and everything that could be made up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from msgspec.structs import replace as changed

from admission.identity import Credentials, Identity
from admission.jwt import PublicKey
from admission.oidc import OidcTokens, Trust, identity_of
from apiserver import oidc_keys
from apiserver.config import ConfigError, StartError
from apiserver.oidc_keys import AGAIN, DiscoveredKeys, Refused, _discovered, read_key
from apiserver.sections import Oidc, Tokens
from apiserver.trusting import check_issuer, trust_of
from registry.errors import Unauthorized
from tests.actors.world import Lines
from tests.apiserver.served import certificate
from tests.apiserver.tokens import encoded
from tests.issuer import CLIENT, Issuer, issuing

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
ISSUER = "https://login.example"
DOWN = "the keys of the OpenID Connect issuer cannot be had"
TRUST = Trust(ISSUER, (CLIENT,), groups_claim="groups", groups_prefix="oidc:", username_prefix="oidc:")


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with run() as made:
        yield made


def run(port: int = 0) -> Any:
    shown = certificate()
    return issuing(str(shown.cert_file), str(shown.key_file), (shown.ca_pem or b"").decode(), port)


@dataclass
class Here:
    """A server's side of it, with a clock that a test moves."""

    tokens: OidcTokens
    keys: DiscoveredKeys
    log: Lines
    moved: list[float] = field(default_factory=lambda: [0.0])

    async def who(self, token: str) -> Identity | None:
        return await self.tokens.authenticate(Credentials({b"authorization": b"Bearer " + token.encode()}))

    async def refused(self, token: str) -> str:
        with pytest.raises(Unauthorized) as why:
            await self.who(token)
        return why.value.why


@asynccontextmanager
async def trusting(issuer: Issuer, **trust: Any) -> AsyncIterator[Here]:
    """Trusts an issuer for the body."""
    log, moved = Lines(), [0.0]
    context = ssl.create_default_context(cadata=issuer.ca)
    keys = DiscoveredKeys(issuer.url, context, log, lambda: 1_000.0 + moved[0], refresh=600.0, stale=3_600.0)
    tokens = OidcTokens(replace(TRUST, issuer=issuer.url, **trust), keys, lambda: time.time() + moved[0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keys.run)
        yield Here(tokens, keys, log, moved)
        tasks.cancel_scope.cancel()


async def login(issuer: Issuer, user: str, **claims: Any) -> str:
    return await anyio.to_thread.run_sync(lambda: issuer.token(user, **claims))


async def test_who_logs_in_at_the_issuer_is_known_here_by_name_and_groups(issuer: Issuer) -> None:
    token = await login(issuer, "ann", email="ann@example.com", groups=["staff", "system:masters"])
    async with trusting(issuer) as here:
        ann = Identity("oidc:ann", groups=("oidc:staff", "oidc:system:masters", "system:authenticated"))
        assert await here.who(token) == ann
        assert await here.who(token) == ann
        here.moved[0] = 3_700.0
        assert await here.refused(token) == "the token has expired"
    async with trusting(issuer, username_claim="email", username_prefix="", groups_prefix="") as here:
        assert await here.who(token) == Identity("ann@example.com", groups=("staff", "system:authenticated"))
        assert "another audience" in await here.refused(await login(issuer, "ann", audience="wiki", email="x@example.com"))
        assert "no user name" in await here.refused(await login(issuer, "bob"))
    async with trusting(replace(issuer, url=issuer.url + "/")) as here:
        assert await here.who(token) is None  # another issuer's, as far as anybody here knows


async def test_keys_go_on_for_a_while_when_the_issuer_is_gone_and_its_new_ones_are_found_when_it_is_back() -> None:
    with run() as first:
        old = await login(first, "ann")
        port = int(first.url.rpartition(":")[2])
        context = trusting(first)
        here = await context.__aenter__()
        assert await here.who(old)
    here.moved[0] = 700.0  # older than the keys are kept without asking
    for _ in range(3):
        assert await here.who(old)
    await told(here, DOWN)
    assert await here.who(old)
    here.moved[0] = 3_601.0  # longer than anybody believes them
    assert "cannot be asked" in await here.refused(old)
    with run(port) as second:
        new = await login(second, "ann")
        assert "cannot be asked" in await here.refused(new)  # it is not asked again so soon
        here.moved[0] += oidc_keys.LONGEST_PAUSE
        here.tokens._now = time.time
        assert await here.who(new)
        assert await here.refused(old) == "the token's signature does not hold"
    await context.__aexit__(None, None, None)


async def test_a_key_that_the_issuer_changes_is_found_though_no_token_names_it() -> None:
    with run() as first:
        port = int(first.url.rpartition(":")[2])
        old = await login(first, "ann")
        context = trusting(first)
        here = await context.__aenter__()
        assert await here.who(old)
    with run(port) as second:
        new = await login(second, "ann")
        assert await here.refused(new) == "the token's signature does not hold"
        here.moved[0] = AGAIN
        assert await here.who(new)
        assert await here.refused(old) == "the token's signature does not hold"
    await context.__aexit__(None, None, None)


async def test_an_issuer_that_is_down_at_the_start_is_asked_again() -> None:
    with run() as known:
        token = await login(known, "ann")
        port = int(known.url.rpartition(":")[2])
    async with trusting(known) as here:
        assert "cannot be asked" in await here.refused(token)
        assert here.log.of(DOWN)
        with run(port) as again:
            here.moved[0] = AGAIN
            assert await here.who(await login(again, "ann"))


async def test_an_issuer_with_a_certificate_that_nobody_vouches_for_is_not_believed(issuer: Issuer) -> None:
    keys = DiscoveredKeys(issuer.url, ssl.create_default_context(), log := Lines(), lambda: 0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keys.run)
        assert await keys.find("", "RS256") is None
        tasks.cancel_scope.cancel()
    assert "CERTIFICATE_VERIFY_FAILED" in log.of(DOWN)[0]["error"]


async def told(here: Here, what: str) -> None:
    """Returns when the log says it."""
    while not here.log.of(what):
        await anyio.sleep(0.01)


# Tokens that are made up


@dataclass
class Fixed:
    """Keys of an issuer that never answers twice."""

    keys: dict[str, PublicKey]

    async def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        return self.keys.get(key_id)

    async def renewed(self, key: PublicKey, algorithm: str) -> PublicKey | None:
        return None

    def holds(self, key: PublicKey) -> bool:
        return any(key is each for each in self.keys.values())


RSA, EC, ED = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": CLIENT, "sub": "ann", "exp": NOW + 60, "iat": NOW}


def issued(claims: dict[str, Any], kid: str = "rsa", key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    return jose.encode({"alg": algorithm, "kid": kid, **header}, claims, key, algorithms=[algorithm])


def tokens(**trust: Any) -> tuple[OidcTokens, Fixed]:
    keys = Fixed({"rsa": RSA, "ec": EC, "ed": ED})
    return OidcTokens(replace(TRUST, **trust), keys, lambda: NOW), keys


async def outcome(token: str, made: OidcTokens | None = None) -> str:
    """The user name; why it is refused; or that it is nobody's."""
    made = made or tokens()[0]
    try:
        found = await made.authenticate(Credentials({b"authorization": b"Bearer " + token.encode()}))
    except Unauthorized as error:
        return error.why
    return "nobody's" if found is None else found.username


async def test_only_allowed_algorithms_with_the_key_that_fits_them() -> None:
    assert await outcome(issued(CLAIMS)) == "oidc:ann"
    assert await outcome(issued(CLAIMS, "ec", EC, "ES256")) == "oidc:ann"
    assert "not allowed" in await outcome(issued(CLAIMS, "ed", ED, "Ed25519"))
    assert await outcome(issued(CLAIMS, "ed", ED, "Ed25519"), tokens(algorithms=("Ed25519",))[0]) == "oidc:ann"
    assert "not allowed" in await outcome(issued(CLAIMS, algorithm="RS512"))
    for kid, key, algorithm in (("ec", RSA, "RS256"), ("rsa", EC, "ES256"), ("ed", EC, "ES256"), ("ed", RSA, "RS256")):
        assert await outcome(issued(CLAIMS, kid, key, algorithm)) == "the token's signature does not hold"
    assert "none that" in await outcome(issued(CLAIMS, "other"))
    for secret in (RSA.as_pem(private=False), RSA.as_der(private=False), RSA.as_pem(private=False).strip()):
        for algorithm in ("HS256", "none", "RS256"):
            signed = f"{encoded({'alg': algorithm, 'kid': 'rsa'})}.{encoded(CLAIMS)}"
            mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
            assert await outcome(f"{signed}.{encoded(mac)}") != "oidc:ann"
    embedded = {"jwk": EC.as_dict(private=False)}
    assert "none that" in await outcome(issued(CLAIMS, "mine", EC, "ES256", **embedded))
    for forbidden in (("none",), ("HS256",), ("RS256", "hs512"), ()):
        with pytest.raises(ValueError, match=r"oidc\.algorithms"):
            tokens(algorithms=forbidden)
    with pytest.raises(ValueError, match=r"oidc\.audiences"):
        tokens(audiences=())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"iss": "https://evil.example"}, "nobody's"),
        ({"iss": ISSUER + "/"}, "nobody's"),
        ({"iss": [ISSUER]}, "nobody's"),
        ({"aud": "other"}, "another audience"),
        ({"aud": []}, "another audience"),
        ({"aud": ["other", CLIENT]}, "oidc:ann"),
        ({"aud": {"a": CLIENT}}, "cannot be read"),
        ({"exp": NOW - 11}, "expired"),
        ({"exp": NOW - 9}, "oidc:ann"),
        ({"exp": None}, "cannot be read"),
        ({"exp": str(NOW + 60)}, "cannot be read"),
        ({"exp": True}, "cannot be read"),
        ({"nbf": NOW + 11}, "not valid yet"),
        ({"nbf": NOW + 9}, "oidc:ann"),
        ({"iat": NOW + 3600}, "not valid yet"),
        ({"sub": ""}, "no user name"),
        ({"sub": None}, "no user name"),
        ({"sub": ["ann"]}, "no user name"),
        ({"sub": "a" * 2000}, "no user name"),
        ({"groups": {"a": 1}}, "neither a text nor a list"),
        ({"groups": ["a", 1]}, "neither a text nor a list"),
        ({"groups": ["a"] * 1001}, "at most 1000"),
        ({"groups": None}, "oidc:ann"),
    ],
)
async def test_claims_are_kept_to(change: dict[str, Any], says: str) -> None:
    assert says in await outcome(issued({**CLAIMS, **change}))


async def test_a_known_token_ends_with_its_time_and_with_its_key() -> None:
    made, keys = tokens()
    token = issued(CLAIMS)
    assert await outcome(token, made) == "oidc:ann"
    made._now = lambda: NOW + 71
    assert "expired" in await outcome(token, made)
    made._now = lambda: NOW
    del keys.keys["rsa"]
    assert "none that" in await outcome(token, made)


def test_no_issuer_makes_anybody_a_part_of_the_system() -> None:
    plain = Trust(ISSUER, (CLIENT,), groups_claim="groups")
    for name in ("system:masters", "system:admin", "system:serviceaccount:kube-system:skep-actor-x"):
        with pytest.raises(Unauthorized, match="Unauthorized"):
            identity_of({**CLAIMS, "sub": name}, plain)
    groups = ["system:masters", "a", "", "a", "system:authenticated"]
    assert identity_of({**CLAIMS, "groups": groups}, plain).groups == ("a", "system:authenticated")
    with pytest.raises(Unauthorized):
        identity_of(CLAIMS, replace(plain, required=(("hd", "example.com"),)))
    assert identity_of({**CLAIMS, "hd": "example.com"}, replace(plain, required=(("hd", "example.com"),))).username == "ann"
    mail = replace(plain, username_claim="email")
    assert identity_of({**CLAIMS, "email": "a@b"}, mail).username == "a@b"
    with pytest.raises(Unauthorized):
        identity_of({**CLAIMS, "email": "a@b", "email_verified": False}, mail)


# What an issuer could answer


def answering(**pages: httpx.Response) -> httpx.AsyncClient:
    """A client to whom the configuration and the keys are answered so."""
    configuration = httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
    shown = {"/.well-known/openid-configuration": pages.get("configuration", configuration), "/keys": pages.get("keys")}

    def answer(request: httpx.Request) -> httpx.Response:
        found = shown.get(request.url.path) or httpx.Response(404)
        return httpx.Response(found.status_code, headers=found.headers, stream=httpx.ByteStream(found.content))

    transport = httpx.MockTransport(answer)
    return httpx.AsyncClient(transport=transport, follow_redirects=False)


def published(*keys: object) -> httpx.Response:
    return httpx.Response(200, json={"keys": list(keys)})


GOOD = {**RSA.as_dict(private=False), "kid": "rsa"}


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ({"configuration": httpx.Response(302, headers={"location": "https://evil.example/"})}, "is answered with 302"),
        ({"configuration": httpx.Response(200, json={"issuer": "https://evil.example", "jwks_uri": ISSUER})}, "another issuer"),
        ({"configuration": httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": "http://login.example/keys"})}, "no https"),
        ({"configuration": httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": 1})}, "no https"),
        ({"configuration": httpx.Response(200, json=[])}, "no JSON object"),
        ({"configuration": httpx.Response(200, content=b"x" * (oidc_keys.LARGEST + 1))}, "more than"),
        ({"keys": httpx.Response(302, headers={"location": "https://evil.example/"})}, "is answered with 302"),
        ({"keys": httpx.Response(200, content=b" " * (oidc_keys.LARGEST + 1))}, "more than"),
        ({"keys": httpx.Response(200, json={"keys": {}})}, "no list"),
        ({"keys": published(*[GOOD] * 101)}, "more than 100"),
        ({"keys": published()}, "no key that can be used"),
        ({"keys": published(OctKey.generate_key(256).as_dict())}, "no key that can be used"),
    ],
)
async def test_an_issuer_that_does_not_answer_as_one_is_refused(pages: dict[str, httpx.Response], says: str) -> None:
    async with answering(**pages) as http:
        with pytest.raises(Refused, match=says):
            await _discovered(http, ISSUER)


async def test_of_published_keys_those_are_taken_that_tokens_may_be_checked_by() -> None:
    good = [GOOD, EC.as_dict(private=False), ED.as_dict(private=False)]
    bad: list[object] = [
        {**GOOD, "use": "enc"},
        {**GOOD, "n": "AQAB"},
        {**GOOD, "n": encoded(b"\xff" * 128)},
        {**GOOD, "n": encoded(b"\xff" * 4096)},
        {**GOOD, "e": encoded(b"\xff" * 200)},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {**EC.as_dict(private=False), "crv": "secp256k1"},
        OKPKey.generate_key("X25519").as_dict(private=False),
        {"kty": "oct", "k": "c2VjcmV0"},
        "text",
        None,
    ]
    assert [read_key(each) for each in bad] == [None] * len(bad)
    async with answering(keys=published(*good, *bad)) as http:
        assert len(await _discovered(http, ISSUER)) == 3


TEXT = st.text(alphabet="AQBxyz09-_+/=", max_size=12)
VALUES = (
    st.none() | st.integers() | TEXT | st.lists(TEXT, max_size=2) | st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "sig"])
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "key_ops", "d"]), VALUES) | VALUES)
def test_no_published_key_breaks_anything(said: object) -> None:
    assert read_key(said) is None


async def test_one_question_is_asked_for_many_tokens_and_not_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, now, gate = [], [0.0], asyncio.Event()

    async def discovered(http: httpx.AsyncClient, issuer: str) -> tuple[PublicKey, ...]:
        asked.append(issuer)
        await gate.wait()
        return (ECKey.import_key({**EC.as_dict(private=False), "kid": "ec"}),)

    monkeypatch.setattr(oidc_keys, "_discovered", discovered)
    keys = DiscoveredKeys(ISSUER, ssl.create_default_context(), Lines(), lambda: now[0])
    found: list[PublicKey | None] = []

    async def find(kid: str) -> None:
        found.append(await keys.find(kid, "ES256"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keys.run)
        async with anyio.create_task_group() as finding:
            for _ in range(50):
                finding.start_soon(find, "ec")
            await anyio.wait_all_tasks_blocked()
            gate.set()
        assert len(asked) == 1
        assert None not in found
        for number in range(100):  # whoever makes up names
            assert await keys.find(f"made-up-{number}", "ES256") is None
        assert len(asked) == 1
        now[0] = AGAIN
        assert await keys.find("made-up", "ES256") is None
        assert len(asked) == 2
        assert await keys.find("ec", "ES256") is found[0]
        tasks.cancel_scope.cancel()


# Settings


def test_settings_that_cannot_be_meant_are_refused_all_at_once(tmp_path: Path) -> None:
    good = Oidc(issuer=ISSUER, audiences=("skep",))
    assert trust_of(good, Tokens()).username_prefix == f"{ISSUER}#"
    assert trust_of(changed(good, username_prefix="-"), Tokens()).username_prefix == ""
    assert trust_of(changed(good, username_claim="email"), Tokens()).username_prefix == ""
    with pytest.raises(ConfigError) as refused:
        check_issuer(changed(good, issuer="http://x", audiences=(), algorithms=("HS256",), required_claims=("a",)), Tokens())
    assert len(refused.value.problems) == 4
    with pytest.raises(ConfigError, match="nobody could tell"):
        check_issuer(good, Tokens(issuer=ISSUER))
    with pytest.raises(StartError, match=r"cannot read oidc\.ca"):
        check_issuer(changed(good, ca=tmp_path / "missing"), Tokens())
    (tmp_path / "no.pem").write_text("x")
    with pytest.raises(StartError, match="cannot be used"):
        check_issuer(changed(good, ca=tmp_path / "no.pem"), Tokens())
