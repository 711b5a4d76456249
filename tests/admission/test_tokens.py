"""Who is behind a bearer token."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.identity import ADMIN, Credentials, Identity, authenticated
from admission.tokens import LONGEST_TOKEN, TokenTable
from registry.errors import Unauthorized

TOKEN = "t0ken-of-the-admin"


def asked(table: TokenTable, header: bytes | None) -> Identity | None:
    return anyio.run(table.authenticate, Credentials({} if header is None else {b"authorization": header}))


@pytest.fixture
def table() -> TokenTable:
    return TokenTable([(TOKEN, ADMIN), ("other", Identity("ann", groups=("team-a",)))])


def test_a_known_token_gives_its_identity(table: TokenTable) -> None:
    assert asked(table, f"Bearer {TOKEN}".encode()) == ADMIN


def test_the_admin_is_a_master_and_authenticated() -> None:
    assert ADMIN.username == "admin"
    assert ADMIN.groups == ("system:masters", "system:authenticated")


def test_every_identity_is_in_the_group_of_the_authenticated_exactly_once(table: TokenTable) -> None:
    ann = asked(table, b"Bearer other")
    assert ann is not None
    assert ann.groups == ("team-a", "system:authenticated")
    assert authenticated(ann) == ann


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_case_of_the_scheme_does_not_matter(table: TokenTable, scheme: str) -> None:
    assert asked(table, f"{scheme} {TOKEN}".encode()) == ADMIN


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Bearer   ", b"Basic YTpi", b"Bearerx y"])
def test_what_is_no_bearer_token_is_left_to_others(table: TokenTable, header: bytes | None) -> None:
    assert asked(table, header) is None


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer wrong",
        f"Bearer {TOKEN}x".encode(),
        f"Bearer {TOKEN[:-1]}".encode(),
        f"Bearer {TOKEN.upper()}".encode(),
        b"Bearer \xff\xfe",
    ],
)
def test_a_bearer_token_that_is_not_in_the_table_is_left_to_others(table: TokenTable, header: bytes) -> None:
    assert asked(table, header) is None


def test_a_huge_token_is_refused_even_if_it_is_known() -> None:
    huge = "x" * (LONGEST_TOKEN + 1)
    with pytest.raises(Unauthorized):
        asked(TokenTable([(huge, ADMIN)]), f"Bearer {huge}".encode())


def test_a_table_with_an_empty_or_a_doubled_token_is_not_made() -> None:
    with pytest.raises(ValueError, match="the token of admin is empty"):
        TokenTable([("", ADMIN)])
    with pytest.raises(ValueError, match="one token stands for admin and for ann"):
        TokenTable([("same", ADMIN), ("same", Identity("ann"))])


def test_a_table_does_not_hold_the_token_itself(table: TokenTable) -> None:
    assert TOKEN not in repr(vars(table))


@given(st.binary(max_size=64))
def test_any_other_header_is_nobody_and_never_an_error(header: bytes) -> None:
    table = TokenTable([(TOKEN, ADMIN)])
    assert asked(table, header) is None
    assert asked(table, b"Bearer " + header) is None
