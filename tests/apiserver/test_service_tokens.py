"""Tokens of service accounts: asked for, shown, forged, and dead with what they are bound to."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from admission import jwt
from admission.admission_review import question
from admission.identity import Credentials, Identity
from admission.review import Review
from admission.token_keys import KeyRing, new_key, ring, rotated, text_of
from admission.token_review import TokenReviews
from admission.tokens import TokenTable
from registry.builtin import SERVICE_ACCOUNT
from registry.errors import ApiError, BadRequest, Cause, ConflictError, Forbidden, Invalid, MethodNotAllowed, NotFound, Unauthorized
from tests.apiserver.tokens import ACCOUNTS, ISSUER, Till, encoded, parts, till
from tests.apiserver.world import NOW

pytestmark = pytest.mark.anyio

SECRETS = "/api/v1/namespaces/shop/secrets"
ME = "system:serviceaccount:shop:till"


@pytest.fixture
async def shop() -> AsyncIterator[Till]:
    async with till() as made:
        yield made


async def test_a_token_stands_for_its_account_and_says_so_in_the_claims_of_kubernetes(shop: Till) -> None:
    uid = await shop.account()
    answer = await shop.ask()
    assert answer.code == 201
    assert answer.document is not None
    token = answer.document["status"].pop("token")
    assert answer.document == {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": "till", "namespace": "shop", "uid": uid, "creationTimestamp": "2023-11-14T22:13:20Z"},
        "spec": {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None},
        "status": {"expirationTimestamp": "2023-11-14T23:13:20Z"},
    }
    header, claims = parts(token)
    assert header == {"alg": "ES256", "kid": shop.keys.ring.names[0]}
    jti = claims["jti"]
    assert claims == {
        "iss": ISSUER,
        "sub": ME,
        "aud": [ISSUER],
        "exp": NOW + 3600,
        "iat": NOW,
        "nbf": NOW,
        "jti": jti,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "till", "uid": uid}},
    }
    groups = ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    who = Identity(ME, uid, groups, (("authentication.kubernetes.io/credential-id", (f"JTI={jti}",)),))
    assert await shop.who(token) == who
    assert await shop.who(token) == who  # remembered
    assert await shop.tokens.review(token, []) == (who, (ISSUER,))


REFUSED: list[tuple[dict[str, Any], dict[str, Any], type[ApiError], str]] = [
    ({"expirationSeconds": 599}, {}, Invalid, "may not specify a duration less than 10 minutes"),
    ({"expirationSeconds": 2**32 + 1}, {}, Invalid, "may not specify a duration larger than 2^32 seconds"),
    ({"expirationSeconds": "600"}, {}, BadRequest, "cannot be handled as a TokenRequest"),
    ({"audiences": "a"}, {}, BadRequest, "cannot be handled as a TokenRequest"),
    ({"audiences": ["a" * 200] * 70}, {}, Invalid, "nobody takes such a token"),
    (
        {"boundObjectRef": {"kind": "Widget", "apiVersion": "reference.example.com/v1", "name": "x"}},
        {},
        BadRequest,
        "cannot bind token to object of type reference.example.com/v1, Kind=Widget",
    ),
    ({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "x"}}, {}, NotFound, 'secrets "x" not found'),
    ({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1"}}, {}, NotFound, 'secrets "" not found'),
    ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}, {}, BadRequest, "object of type /v1, Kind=Pod"),
    ({}, {"name": "other"}, Invalid, "must match the service account name if specified"),
    ({}, {"namespace": "other"}, Invalid, "must match the service account namespace if specified"),
]


@pytest.mark.parametrize(("spec", "metadata", "error", "says"), REFUSED)
async def test_what_cannot_be_asked_for_is_refused(
    shop: Till, spec: dict[str, Any], metadata: dict[str, Any], error: type[ApiError], says: str
) -> None:
    await shop.account()
    with pytest.raises(error) as refused:
        await shop.world.do("create", f"{ACCOUNTS}/till/token", {"metadata": metadata, "spec": spec})
    assert says in refused.value.message


async def test_only_for_an_account_that_is_there_and_stays_and_only_by_a_create(shop: Till) -> None:
    with pytest.raises(NotFound, match='serviceaccounts "till" not found'):
        await shop.ask()
    await shop.world.make(ACCOUNTS, "till", metadata={"finalizers": ["a.example/b"]})
    for verb in ("get", "update", "patch", "delete"):
        with pytest.raises(MethodNotAllowed, match="the server does not allow this method on the requested resource"):
            await shop.world.do(verb, f"{ACCOUNTS}/till/token", {})
    token = await shop.token()
    await shop.world.do("delete", f"{ACCOUNTS}/till")
    with pytest.raises(Forbidden, match="is being deleted"):
        await shop.ask()
    assert "is gone" in await shop.why_not(token)


async def test_no_token_is_made_in_a_dry_run_and_none_lasts_longer_than_is_allowed(shop: Till) -> None:
    await shop.account()
    dry = await shop.world.do("create", f"{ACCOUNTS}/till/token", {}, query="dryRun=All")
    assert dry.document is not None
    assert dry.document["status"]["token"] == ""
    call = shop.world.call("create", f"{ACCOUNTS}/till/token", {"spec": {"expirationSeconds": 86_401}})
    answer = await shop.world.manager.handle(call)
    assert answer.document is not None
    assert answer.document["spec"]["expirationSeconds"] == 86_400
    assert parts(answer.document["status"]["token"])[1]["exp"] == NOW + 86_400
    assert call.warnings == ["requested expiration of 86401 seconds shortened to 86400 seconds"]


async def test_policies_and_webhooks_are_asked_for_a_token_and_see_what_is_asked_for(shop: Till) -> None:
    await shop.account()
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"]}
    rules = [
        {"expression": "object.spec.expirationSeconds <= 1800", "message": "half an hour at most"},
        {"expression": "request.kind.kind == 'TokenRequest' && request.subResource == 'token' && request.name == 'till'"},
    ]
    admission = "/apis/admissionregistration.k8s.io/v1"
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": rules}
    await shop.world.make(f"{admission}/validatingadmissionpolicies", "short", spec=spec)
    binding = {"policyName": "short", "validationActions": ["Deny"]}
    await shop.world.make(f"{admission}/validatingadmissionpolicybindings", "short", spec=binding)
    assert await shop.who(await shop.token(expirationSeconds=1800)) is not None
    for query in ("", "dryRun=All"):
        with pytest.raises(ApiError, match="half an hour at most"):
            await shop.world.do("create", f"{ACCOUNTS}/till/token", {"spec": {}}, query=query)


async def test_an_account_that_goes_while_webhooks_are_asked_has_no_token(shop: Till) -> None:
    await shop.account()
    seen: list[dict[str, Any]] = []

    class Slow:
        def concerns(self, review: Review[dict[str, Any]]) -> bool:
            return review.subresource == "token"

        async def mutate(self, review: Review[dict[str, Any]]) -> dict[str, Any]:
            return review.new

        async def validate(self, review: Review[dict[str, Any]]) -> Sequence[Cause]:
            seen.append(question(review, SERVICE_ACCOUNT.storage, review.new, review.old))
            await shop.world.do("delete", f"{ACCOUNTS}/till")
            return ()

    shop.world.manager._admission._admitters = (Slow(),)
    with pytest.raises(NotFound):
        await shop.ask()
    assert seen[0]["kind"] == {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
    assert (seen[0]["resource"]["resource"], seen[0]["subResource"]) == ("serviceaccounts", "token")
    assert "status" not in seen[0]["object"]


async def test_a_token_dies_with_its_account_and_does_not_rise_with_the_next_of_its_name(shop: Till) -> None:
    await shop.account()
    token, unused = await shop.token(), await shop.token()
    assert await shop.who(token)
    await shop.world.do("delete", f"{ACCOUNTS}/till")
    for each in (token, unused):
        assert await shop.why_not(each) == "the service account shop/till that the token was made for is gone"
    await shop.account()
    for each in (token, unused):
        assert await shop.why_not(each) == "the service account shop/till that the token was made for is gone"
    assert await shop.who(await shop.token())


async def test_a_token_that_is_bound_to_a_secret_dies_with_it(shop: Till) -> None:
    await shop.account()
    made = await shop.world.make(SECRETS, "lock")
    reference = {"kind": "Secret", "apiVersion": "v1", "name": "lock"}
    with pytest.raises(ConflictError, match="does not match the UID in record"):
        await shop.ask(boundObjectRef={**reference, "uid": "another"})
    token = await shop.token(boundObjectRef={**reference, "uid": made["metadata"]["uid"]})
    assert parts(token)[1]["kubernetes.io"]["secret"] == {"name": "lock", "uid": made["metadata"]["uid"]}
    assert await shop.who(token)
    await shop.world.do("delete", f"{SECRETS}/lock")
    await shop.world.make(SECRETS, "lock")
    assert await shop.why_not(token) == "the secret shop/lock that the token is bound to is gone"


async def test_a_token_is_good_from_when_it_was_made_until_it_expires_also_when_it_is_known(shop: Till) -> None:
    await shop.account()
    known, unknown = await shop.token(expirationSeconds=600), await shop.token(expirationSeconds=600)
    assert await shop.who(known)
    shop.now[0] = NOW + 599
    assert await shop.who(known)
    shop.now[0] = NOW + 600
    for token in (known, unknown):
        assert await shop.why_not(token) == "the token has expired"
    shop.now[0] = NOW - 61  # a replica whose clock is slow by more than clocks may be
    assert await shop.why_not(unknown) == "the token is not valid yet"
    shop.now[0] = NOW - 59
    assert await shop.who(unknown)


async def test_two_keys_are_valid_at_a_time_and_the_third_ends_the_first(shop: Till) -> None:
    await shop.account()
    first = await shop.token()
    assert await shop.who(first)
    shop.keys.ring = rotated(shop.keys.ring)
    second = await shop.token()
    assert parts(second)[0]["kid"] != parts(first)[0]["kid"]
    assert await shop.who(first)
    assert await shop.who(second)
    shop.keys.ring = rotated(shop.keys.ring)
    assert await shop.why_not(first) == "the token was signed with a key that is not valid any more"
    assert await shop.who(second)


async def test_a_token_for_others_is_no_credential_here_and_a_review_says_for_whom_it_is(shop: Till) -> None:
    await shop.account()
    token = await shop.token(audiences=["vault", "registry"])
    assert "not for" in await shop.why_not(token)
    who, audiences = await shop.tokens.review(token, ["registry", "elsewhere"])
    assert (who.username, audiences) == (ME, ("registry",))
    for asked in ([], ["elsewhere"]):
        with pytest.raises(Unauthorized):
            await shop.tokens.review(token, asked)
    assert await shop.why_not(token)  # a review of it made it no credential


async def test_a_review_knows_every_kind_of_token(shop: Till) -> None:
    await shop.account()
    admin = Identity("somebody", groups=("system:authenticated",))
    reviews = TokenReviews(shop.tokens, [TokenTable([("a-token", admin)])])
    assert (await reviews.review(await shop.token(), []))[0].username == ME
    assert await reviews.review("a-token", []) == (admin, (ISSUER,))
    assert await reviews.review("a-token", ["x", ISSUER]) == (admin, (ISSUER,))
    for token, audiences in (("a-token", ["x"]), ("nonsense", []), ("ä", []), ("", [])):
        with pytest.raises(Unauthorized):
            await reviews.review(token, audiences)


# Attacks


def public_pem(key: ECKey) -> bytes:
    return key.as_pem(private=False)


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


async def test_no_algorithm_is_believed_but_the_one_that_is_used(shop: Till) -> None:
    await shop.account()
    header, claims = parts(await shop.token())
    own = shop.keys.ring.signing
    der = own.as_der(private=False)
    for algorithm in ("none", "None", "nOnE", "HS256", "RS256", "ES384", "ES512", "EdDSA", "PS256", ""):
        for secret in (public_pem(own), public_pem(own).strip(), der, b"", shop.keys.ring.public()):
            assert await shop.why_not(forged({**header, "alg": algorithm}, claims, secret)) == "the token's signature does not hold"
    unsigned = f"{encoded({**header, 'alg': 'none'})}.{encoded(claims)}."
    assert await shop.who(unsigned) is None  # not even a token
    other = RSAKey.generate_key(2048)
    assert await shop.why_not(jws.serialize_compact({**header, "alg": "RS256"}, json.dumps(claims), other, ["RS256"]))


async def test_no_key_is_believed_but_those_of_the_server(shop: Till) -> None:
    await shop.account()
    good = await shop.token()
    header, claims = parts(good)
    mine = new_key()
    payload = jws.extract_compact(good.encode()).payload
    for wrong in (
        {"kid": header["kid"]},  # the name of the server's key, the signature of mine
        {"kid": mine.thumbprint()},
        {"kid": "../../token-keys.pem"},
        {"kid": "' OR 1=1"},
        {"jwk": mine.as_dict(private=False)},
        {"jwk": mine.as_dict(private=False), "kid": header["kid"]},
        {"jku": "https://evil.example/keys", "kid": header["kid"]},
        {"x5u": "https://evil.example/keys", "kid": header["kid"]},
        {},
    ):
        token = jws.serialize_compact({"alg": "ES256", **wrong}, payload, mine, ["ES256"])
        assert await shop.why_not(token) in (
            "the token's signature does not hold",
            "the token was signed with a key that is not known here, or no longer",
        )
    for extension in ({"crit": ["exp"]}, {"b64": False}, {"crit": ["b64"], "b64": True}):
        signed = f"{encoded({'alg': 'ES256', 'kid': header['kid'], **extension})}.{encoded(claims)}"
        assert await shop.who(f"{signed}.{good.rpartition('.')[2]}") is None


def _signed(shop: Till, claims: dict[str, Any]) -> str:
    return jwt.signed(claims, shop.keys.ring.signing)


async def test_a_token_of_this_key_that_is_not_one_of_an_account_is_refused(shop: Till) -> None:
    uid = await shop.account()
    _, claims = parts(await shop.token())
    bound = claims["kubernetes.io"]
    for change in (
        {"sub": "system:serviceaccount:shop:other"},
        {"sub": "admin"},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": NOW - 1},
        {"nbf": NOW + 3600},
        {"iat": NOW + 3600},
        {"aud": []},
        {"aud": None},
        {"aud": "somewhere"},
        {"aud": [["x"]]},
        {"kubernetes.io": None},
        {"kubernetes.io": {"namespace": "shop"}},
        {"kubernetes.io": {**bound, "serviceaccount": {"name": "till", "uid": "another"}}},
        {"kubernetes.io": {**bound, "serviceaccount": {"name": "till", "uid": None}}},
        {"kubernetes.io": {**bound, "secret": {"name": "gone", "uid": uid}}},
    ):
        assert await shop.why_not(_signed(shop, {**claims, **change})), change
        missing = {name: value for name, value in claims.items() if name not in change}
        assert await shop.why_not(_signed(shop, missing)) or set(change) <= {"nbf", "iat"}, change
    assert await shop.who(_signed(shop, {**claims, "iss": "https://other.example"})) is None
    assert await shop.who(_signed(shop, {**claims, "aud": ISSUER}))  # one audience may be a text (RFC 7519, section 4.1.3)


async def test_a_token_that_is_cut_extended_or_spelt_otherwise_is_refused(shop: Till) -> None:
    await shop.account()
    good = await shop.token()
    head, signature = good.rsplit(".", 1)
    spelt = [f"{head}.{signature[:-1]}{last}" for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    others = [each for each in spelt if each != good]
    others += [good[:cut] for cut in range(0, len(good), 7)]
    others += [good + more for more in ("A", "AA", ".", ".AA", "=", "==", "\n.", "\0")] + [good.replace(".", ".."), good * 2]
    others += [good.replace("-", "+").replace("_", "/") + "=", f"{head}.", f".{head}", "..", ".", "", good.swapcase()]
    for token in others:
        if token.strip() == good:
            continue
        assert await _nobody(shop, token.encode()), token
    assert await shop.who(good)


async def test_a_huge_token_costs_nothing(shop: Till) -> None:
    for token in (b"A" * 2**20, b"A." * 2**19, b"." * 2**20, b"A" * 8000 + b"." + b"A" * 8000 + b"." + b"A" * 8000):
        assert jwt.unverified(token) is None
        assert await shop.tokens.authenticate(Credentials({b"authorization": b"Bearer " + token})) is None
    deep = f"{encoded({'alg': 'ES256'})}.{encoded(b'[' * 8000)}.AAAA"
    assert await _nobody(shop, deep.encode())
    objects = b'{"a":' * 1500 + b"1" + b"}" * 1500
    nested = f"{encoded({'alg': 'ES256'})}.{encoded(objects)}.AAAA"
    assert await _nobody(shop, nested.encode())


async def _nobody(shop: Till, token: bytes) -> bool:
    """Whether a token is refused, or not even taken for one. Anything else that is raised is raised."""
    try:
        return await shop.tokens.authenticate(Credentials({b"authorization": b"Bearer " + token})) is None
    except Unauthorized:
        return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.tuples(st.binary(max_size=60), st.binary(max_size=90), st.binary(max_size=70)))
async def test_no_bytes_are_somebody_and_none_break_the_parser(shop: Till, said: bytes | tuple[bytes, bytes, bytes]) -> None:
    token = said if isinstance(said, bytes) else ".".join(map(encoded, said)).encode()
    assert await _nobody(shop, token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "kubernetes.io", "other"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, JSON, min_size=1), st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk"]), JSON)
)
async def test_claims_and_headers_of_any_shape_are_refused_and_never_break_anything(
    shop: Till, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    own = {"iss": ISSUER, **claims}
    assert await _nobody(shop, _signed(shop, own).encode())  # the account is not there, whatever is claimed
    token = f"{encoded({'alg': 'ES256', 'kid': shop.keys.ring.names[0], **header})}.{encoded(own)}.{encoded(b'x' * 64)}"
    assert await _nobody(shop, token.encode())


def test_what_is_remembered_is_bounded_and_holds_no_token() -> None:
    remembered: jwt.Remembered[int] = jwt.Remembered(most=3)
    for number in range(10):
        remembered.put(b"token-%d" % number, number)
    assert len(remembered) == 3
    assert [remembered.get(b"token-%d" % number) for number in range(6, 10)] == [None, 7, 8, 9]
    assert not any(b"token" in key for key in remembered._known)


def test_what_is_no_key_is_refused_by_its_place_and_nothing_of_it_is_shown() -> None:
    good = new_key()
    assert ring(text_of([good])).names == (good.thumbprint(),)
    assert ring("a note\n" + text_of([good, new_key()])).names[0] == good.thumbprint()
    public = public_pem(new_key()).decode()
    assert len(ring(text_of([good]) + public).keys) == 2
    secret = RSAKey.generate_key(2048).as_pem(private=True).decode()
    p384 = ECKey.generate_key("P-384").as_pem(private=True).decode()
    locked = good.as_pem(private=True, password="x").decode()
    for text, says in (
        ("", "there is no key in it"),
        ("nonsense", "there is no key in it"),
        (text_of([good]) + secret, "block 2 is no EC key on the curve P-256"),
        (p384, "block 1 is no EC key on the curve P-256"),
        (locked, "block 1 is no key without a pass phrase: 'ENCRYPTED PRIVATE KEY'"),
        (public, "the first key signs, and this one is public"),
        (text_of([good]).replace("M", "N"), "block 1 is no EC key on the curve P-256"),
        (text_of([new_key() for _ in range(9)]), "at most 8"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)) as refused:
            ring(text)
        assert "MI" not in str(refused.value)
    assert "d" not in replace(KeyRing((good,))).public().decode().split('"')
