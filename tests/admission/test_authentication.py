"""Who a request is from: one credential, the first that knows it, nobody where nobody may ask, and failures that cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.authentication import PUBLIC, Anonymous, AuthenticatorChain, Failures, is_public
from admission.certificates import ClientCertificates
from admission.identity import ADMIN, NOBODY, Authenticator, Certificate, Credentials, Identity, authenticated
from admission.tokens import TokenTable
from registry.errors import ApiError, ServiceUnavailable, TooManyRequests, Unauthorized

pytestmark = pytest.mark.anyio

ANN = authenticated(Identity("ann"))
CARL = Certificate("carl", ("team",), "f00")


class Knows:
    """Knows every bearer token that begins with a letter, and takes those that end with `!`."""

    def __init__(self, letter: bytes) -> None:
        self._letter = b"Bearer " + letter
        self.asked = 0

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        self.asked += 1
        header = credentials.headers.get(b"authorization", b"")
        if not header.startswith(self._letter):
            return None
        if not header.endswith(b"!"):
            raise Unauthorized
        return ANN


def chain(*more: Authenticator, anonymous: Anonymous = "off", failures: Failures | None = None) -> AuthenticatorChain:
    known: Sequence[Authenticator] = (TokenTable([("admin-token", ADMIN)]), *more, ClientCertificates(lambda: 100.0))
    return AuthenticatorChain(known, anonymous=anonymous, failures=failures)


def shown(header: bytes | None = None, *, key: bytes | None = None, certificate: Certificate | None = None, path: str = "/apis"):  # type: ignore[no-untyped-def]
    headers = {b"x-remote-user": b"admin", b"x-remote-group": b"system:masters", b"x-forwarded-user": b"admin"}
    headers |= {} if header is None else {b"authorization": header}
    return Credentials(headers if key is None else {**headers, b"x-api-key": key}, "192.0.2.1", certificate, path)


async def test_the_first_that_knows_a_credential_answers_and_no_other_is_asked() -> None:
    first, second = Knows(b"a"), Knows(b"a")
    made = chain(first, second)
    assert await made.authenticate(shown(b"Bearer admin-token")) == ADMIN
    assert first.asked == 0
    assert await made.authenticate(shown(b"Bearer abc!")) == ANN
    assert (first.asked, second.asked) == (1, 0)


async def test_whoever_knew_a_credential_is_asked_first_and_all_are_when_it_is_over() -> None:
    class Until(Knows):
        over = False

        async def authenticate(self, credentials: Credentials) -> Identity | None:
            known = await super().authenticate(credentials)
            if known is not None and self.over:
                raise Unauthorized
            return known

    first, second = Knows(b"a"), Until(b"b")
    made = chain(first, second)
    for _ in range(3):
        assert await made.authenticate(shown(b"Bearer b!")) == ANN
    assert (first.asked, second.asked) == (1, 3)
    second.over = True
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await made.authenticate(shown(b"Bearer b!"))
    assert first.asked == 3


async def test_what_one_knows_to_be_bad_no_other_makes_good() -> None:
    generous = Knows(b"")
    with pytest.raises(Unauthorized):
        await chain(Knows(b"a"), generous).authenticate(shown(b"Bearer abc"))
    assert generous.asked == 0


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Basic YTpi", b"admin-token", b"bearer  x y"])
@pytest.mark.parametrize("path", ["/apis", "/healthz"])
async def test_a_credential_of_nobody_is_refused_also_where_none_is_needed(header: bytes, path: str) -> None:
    for anonymous in ("off", "health", "on"):
        with pytest.raises(Unauthorized):
            await chain(Knows(b"a"), anonymous=anonymous).authenticate(shown(header, path=path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Bearer admin-token", b"admin-token"),
        (b"Bearer admin-token", b""),
        (b"Bearer admin-token,Bearer admin-token", None),
        (b"Bearer admin-token,", None),
        (b",Bearer admin-token", None),
        (None, b"a,b"),
    ],
)
async def test_two_credentials_are_none(header: bytes | None, key: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        await chain(Knows(b"")).authenticate(shown(header, key=key))


async def test_a_header_goes_before_a_certificate_which_never_covers_a_bad_one() -> None:
    made = chain()
    assert (await made.authenticate(shown(certificate=CARL))).username == "carl"
    assert await made.authenticate(shown(b"Bearer admin-token", certificate=CARL)) == ADMIN
    for header, key in ((b"Bearer wrong", None), (b"", None), (None, b"wrong")):
        with pytest.raises(Unauthorized):
            await made.authenticate(shown(header, key=key, certificate=CARL))


@pytest.mark.parametrize(("site", "in_"), [(b"cross-site", False), (b"same-site", False), (b"same-origin", True), (b"none", True)])
async def test_the_page_of_another_site_does_not_ask_by_the_certificate_that_a_browser_shows(site: bytes, in_: bool) -> None:
    asked = Credentials({b"sec-fetch-site": site}, certificate=CARL)
    if in_:
        assert (await chain().authenticate(asked)).username == "carl"
    else:
        with pytest.raises(Unauthorized):
            await chain().authenticate(asked)
    by_token = Credentials({b"sec-fetch-site": site, b"authorization": b"Bearer admin-token"}, certificate=CARL)
    assert await chain().authenticate(by_token) == ADMIN


async def test_a_certificate_gives_its_names_and_holds_in_its_time_alone() -> None:
    carl = await chain().authenticate(shown(certificate=CARL))
    assert carl.groups == ("team", "system:authenticated")
    assert dict(carl.extra) == {"authentication.kubernetes.io/credential-id": ("X509SHA256=f00",)}
    for bad in (
        Certificate("carl", not_after=100.0),
        Certificate("carl", not_before=100.1),
        Certificate("", ("system:masters",)),
    ):
        with pytest.raises(Unauthorized):
            await chain(anonymous="on").authenticate(shown(certificate=bad))
    assert await chain().authenticate(shown(certificate=Certificate("carl", not_before=100.0, not_after=100.1)))


@pytest.mark.parametrize(
    ("anonymous", "path", "allowed"),
    [
        ("off", "/healthz", False),
        ("off", "/apis", False),
        ("health", "/healthz", True),
        ("health", "/readyz/actors", True),
        ("health", "/version", True),
        ("health", "/apis", False),
        ("health", "/metrics", False),
        ("health", "/versions", False),
        ("health", "/healthz-of-others", False),
        ("health", "/", False),
        ("on", "/apis", True),
    ],
)
async def test_nobody_is_let_in_where_the_setting_says(anonymous: Anonymous, path: str, allowed: bool) -> None:
    made = chain(anonymous=anonymous)
    if allowed:
        assert await made.authenticate(shown(path=path)) == NOBODY
        return
    with pytest.raises(Unauthorized):
        await made.authenticate(shown(path=path))


@given(st.sampled_from(PUBLIC), st.text(max_size=8))
def test_a_public_path_is_one_of_few_or_below_it(public: str, rest: str) -> None:
    assert is_public(public + rest) == (not rest or rest.startswith("/"))


class Time:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def refusal(made: AuthenticatorChain, credentials: Credentials) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await made.authenticate(credentials)
    return refused.value


async def test_who_fails_too_often_is_told_when_to_come_back_and_a_good_credential_passes() -> None:
    time = Time()
    made = chain(failures=Failures(3, 0.5, time), anonymous="on")
    bad = shown(b"Bearer wrong")
    assert [type(await refusal(made, bad)) for _ in range(5)] == [Unauthorized] * 3 + [TooManyRequests] * 2
    late = await refusal(made, bad)
    assert late.headers == (("retry-after", "2"),)
    assert late.details == {"retryAfterSeconds": 2}
    assert "wrong" not in str(late.status())
    assert await made.authenticate(shown(b"Bearer admin-token")) == ADMIN
    assert await made.authenticate(shown()) == NOBODY
    elsewhere = Credentials({b"authorization": b"Bearer wrong"}, "192.0.2.2")
    assert type(await refusal(made, elsewhere)) is Unauthorized
    time.now += 2.0
    assert [type(await refusal(made, bad)) for _ in range(2)] == [Unauthorized, TooManyRequests]
    time.now += 1_000.0
    assert [type(await refusal(made, bad)) for _ in range(4)] == [Unauthorized] * 3 + [TooManyRequests]


class Away:
    """Cannot be asked."""

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        raise ServiceUnavailable("the issuer does not answer")


async def test_a_credential_that_cannot_be_looked_at_now_is_no_failure_and_still_holds() -> None:
    failures = Failures(1, 1.0, Time())
    made = chain(Away(), failures=failures)
    assert type(await refusal(made, shown(b"Bearer wrong"))) is ServiceUnavailable
    assert await made.holds(shown(b"Bearer wrong"))
    assert failures.total == 0


async def test_who_shows_nothing_has_not_failed_and_a_look_at_a_credential_is_no_login() -> None:
    failures = Failures(1, 1.0, Time())
    made = chain(failures=failures)
    for _ in range(3):
        assert type(await refusal(made, shown())) is Unauthorized
        assert not await made.holds(shown(b"Bearer wrong"))
    assert await made.holds(shown(b"Bearer admin-token"))
    assert failures.total == 0


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "no address", True),
    ],
)
def test_whose_failures_count_together(one: str, other: str, together: bool) -> None:
    failures = Failures(1, 1.0, Time())
    assert failures.failed(one) == 0.0
    assert (failures.failed(other) > 0) is together


def test_that_logins_are_slowed_is_told_once_in_a_while_with_one_of_the_addresses() -> None:
    time, told = Time(), []
    failures = Failures(1, 0.001, time, tell=told.append)
    for _ in range(5):
        failures.failed("192.0.2.1")
        failures.failed("2001:db8::7")
    assert told == ["192.0.2.1"]
    time.now += 60.0
    failures.failed("2001:db8::7")
    assert told == ["192.0.2.1", "2001:db8::"]


def test_the_table_of_failures_is_bounded_and_forgets_who_failed_longest_ago() -> None:
    failures = Failures(1, 0.001, Time(), most=100)
    assert failures.failed("10.0.0.1") == 0.0
    for number in range(1, 100):
        failures.failed(f"10.0.1.{number}")
        assert failures.failed("10.0.0.1") > 0
    for number in range(200):
        failures.failed(f"10.0.2.{number}")
    assert len(failures._buckets) == 100
    assert failures.failed("10.0.0.1") == 0.0


@given(st.lists(st.floats(0, 5), max_size=60))
def test_no_more_failures_are_answered_as_such_than_the_bucket_has(pauses: list[float]) -> None:
    time = Time()
    failures = Failures(3, 1.0, time)
    begun, plain = time.now, 0
    for pause in pauses:
        time.now += pause
        wait = failures.failed("192.0.2.1")
        plain += wait == 0.0
        assert plain <= 3 + (time.now - begun) + 1e-3
        if wait:
            assert 0 < wait <= 1.0
