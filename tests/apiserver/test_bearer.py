"""The token that a runner shows: read anew, renewed in time, and impersonating only for others."""

from __future__ import annotations

import ssl
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.bearer import AGAIN, Bearer, claims_of, keep_fresh
from apiserver.kubeconfig_read import Credentials
from apiserver.remote import Api
from registry.actors import user_of
from registry.errors import ApiError, Forbidden, ServiceUnavailable
from tests.actors.world import Lines, VirtualClock, settled
from tests.apiserver.tokens import encoded

pytestmark = pytest.mark.anyio

ME = user_of("greet")
PATH = "/api/v1/namespaces/kube-system/serviceaccounts/skep-actor-greet/token"


def token(begin: float, life: float = 1_000.0, sub: str = ME, **more: Any) -> str:
    claims = {"sub": sub, "iat": begin, "exp": begin + life, "aud": ["https://skep"], **more}
    return f"{encoded({'alg': 'ES256'})}.{encoded(claims)}.{encoded(b'signature')}"


def credentials(**how: Any) -> Credentials:
    return Credentials("https://skep.example", ssl.create_default_context(), **how)


class Door:
    """Gives tokens, or refuses."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, Any]] = []
        self.refusal: ApiError | None = None

    async def send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body["spec"]))
        if self.refusal is not None:
            raise self.refusal
        return {"status": {"token": token(self.clock.time(), jti=str(len(self.asked)))}}


async def test_a_token_is_renewed_when_four_fifths_of_its_life_are_over_for_as_long_as_its_account_may() -> None:
    clock, log = VirtualClock(), Lines()
    door, first = Door(clock), token(clock.time(), **{"kubernetes.io": {"secret": {"name": "s", "uid": "u"}}})
    bearer = Bearer(credentials(token=first))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_fresh, bearer, door, clock, Random(1), log)
        await settled()
        await clock.advance(740)
        assert (await bearer.token(), door.asked) == (first, [])
        await clock.advance(70)
        second = await bearer.token()
        assert second != first
        reference = {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": "u"}
        assert door.asked == [(PATH, {"audiences": ["https://skep"], "expirationSeconds": 1000, "boundObjectRef": reference})]
        door.refusal = Forbidden("no")
        await clock.advance(1_000)
        assert await bearer.token() == second
        assert len(door.asked) > 2
        assert len(log.of("the token cannot be renewed")) == 1  # said once
        door.refusal = None
        await clock.advance(AGAIN)
        assert await bearer.token() not in (first, second)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "shown", ["admin-token", token(0, sub="ann"), f"{encoded({'alg': 'ES256'})}.{encoded({'sub': ME})}.AAAA", ""]
)
async def test_what_does_not_end_or_is_no_accounts_is_left_as_it_is(shown: str) -> None:
    clock = VirtualClock()
    door, bearer = Door(clock), Bearer(credentials(token=shown))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_fresh, bearer, door, clock, Random(1), Lines())
        await clock.advance(300)
        assert (await bearer.token(), door.asked) == (shown, [])
        tasks.cancel_scope.cancel()


async def test_a_file_that_changes_goes_before_what_was_renewed_and_what_is_in_it_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    bearer = Bearer(credentials(token_file=file))
    assert await bearer.token() == "first"
    bearer.renew("renewed")
    assert await bearer.token() == "renewed"
    file.write_text("second")
    assert await bearer.token() == "second"
    for content in (b"", b"two\nlines-secret", b"secret\0", b"\xff\xfesecret", "sécret".encode()):
        file.write_bytes(content)
        with pytest.raises(ServiceUnavailable) as error:
            await bearer.token()
        assert "cret" not in str(error.value)
    file.unlink()
    with pytest.raises(ServiceUnavailable, match="cannot be read"):
        await bearer.token()


async def test_only_who_shows_the_token_of_somebody_else_impersonates(tmp_path: Path) -> None:
    seen: list[tuple[str | None, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers.get("authorization"), request.headers.get("impersonate-user")))
        return httpx.Response(200, stream=httpx.ByteStream(b"{}"))

    own, others = token(0), token(0, sub=user_of("other"))
    file = tmp_path / "token"
    file.write_text(own)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://skep.example") as http:
        api = Api(http, "https://skep.example", Bearer(credentials(token_file=file)))
        await api.acting_as(ME).get("/")
        await api.acting_as(user_of("other")).get("/")
        file.write_text(others)
        await api.acting_as(ME, "1/x").send("PATCH", "/", {})
        await api.get("/")
        file.write_text("admin-token")
        await api.acting_as(ME).get("/")
    assert seen == [
        (f"Bearer {own}", None),
        (f"Bearer {own}", user_of("other")),
        (f"Bearer {others}", ME),
        (f"Bearer {others}", None),
        ("Bearer admin-token", ME),
    ]


@given(st.text(max_size=60) | st.tuples(st.binary(max_size=20), st.binary(max_size=60)))
def test_no_token_breaks_whoever_looks_at_it(said: str | tuple[bytes, bytes]) -> None:
    claims_of(said if isinstance(said, str) else f"{encoded(said[0])}.{encoded(said[1])}.AAAA")
