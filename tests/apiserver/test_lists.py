"""Lists: pages of one moment, whatever is written between them; tokens; moments of the past and of the future."""

from __future__ import annotations

import random
from base64 import urlsafe_b64encode
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver import lists
from apiserver.forms import Page
from apiserver.lists import Token, decode_token, encode_token
from registry.errors import BadRequest, ExpiredError, Timeout
from storage.feed import Limits
from storage.sql import Options
from storage.store import Key, Record
from tests.apiserver.world import CONFIGMAPS, NAMESPACES, World, opened, refusal

pytestmark = pytest.mark.anyio

ALL = "/api/v1/configmaps"
names = st.text(st.sampled_from("abc"), min_size=1, max_size=2)


async def listed(world: World, path: str = ALL, **query: object) -> Page:
    page = (await world.do("list", path, query=urlencode(query))).page
    assert page is not None
    return page


async def fill(world: World, count: int) -> None:
    for n in range(count):
        await world.make(CONFIGMAPS, f"c{n:02}", metadata={"labels": {"odd": str(n % 2)}})


def keys(page: Page) -> list[str]:
    return [record.key.name for record in page.records]


# Tokens


@given(st.integers(min_value=0, max_value=2**63), st.text(st.characters(exclude_categories=["Cs"])), st.text("abc-"))
def test_a_token_comes_back_as_it_went(rv: int, after: str, ns: str) -> None:
    token = Token(rv, after, ns)
    assert decode_token(encode_token(token)) == token


@given(st.one_of(st.text(), st.binary().map(lambda raw: urlsafe_b64encode(raw).decode())))
def test_any_other_text_is_a_token_or_a_bad_request(text: str) -> None:
    error = refusal(lambda: decode_token(text))
    if error is None:
        assert decode_token(text).rv >= 0
    else:
        assert error.code == 400
        assert error.message.startswith("invalid continue token: continue key is not valid: ")


@given(st.integers(min_value=0, max_value=200), st.integers(min_value=1, max_value=255))
def test_a_tampered_token_is_a_token_or_a_bad_request(at: int, by: int) -> None:
    raw = bytearray(encode_token(Token(17, "name", "shop")).encode())
    raw[at % len(raw)] ^= by
    error = refusal(lambda: decode_token(raw.decode("latin-1")))
    assert error is None or (error.code, error.message[:22]) == (400, "invalid continue token")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"rv":-1,"after":"a"}', b'{"rv":"1","after":"a"}', b'{"rv":1,"after":"a","x":1}']
)
async def test_a_token_that_says_nothing_is_a_bad_request(world: World, body: bytes) -> None:
    with pytest.raises(BadRequest, match="invalid continue token"):
        await listed(world, **{"continue": urlsafe_b64encode(body).decode() or "="})


# Pages


@settings(max_examples=30, deadline=None)
@given(
    st.integers(min_value=0, max_value=12),
    st.integers(min_value=1, max_value=5),
    st.sampled_from(["", "odd=1", "odd!=1"]),
    st.sampled_from([4096, 4]),
    st.randoms(use_true_random=False),
)
async def test_pages_show_one_moment_whatever_is_written_between_them(
    count: int, limit: int, selector: str, window: int, chance: random.Random
) -> None:
    async with opened(options=Options(window=Limits(window))) as world:
        await fill(world, count)
        moment = await listed(world, labelSelector=selector)
        seen: list[Record] = []
        token = ""
        for number in range(count + 2):
            page = await listed(world, limit=limit, labelSelector=selector, **{"continue": token})
            seen += page.records
            assert page.revision == moment.revision
            assert len(page.records) <= limit
            assert page.remaining is None or page.remaining == len(moment.records) - len(seen)
            token = page.token
            if not token:
                break
            await disturb(world, chance, number)
        assert not token
        assert seen == list(moment.records)


async def disturb(world: World, chance: random.Random, number: int) -> None:
    """Adds, changes and removes objects, each somewhere between the others."""
    await world.make(CONFIGMAPS, f"c{chance.randrange(12):02}-{number}", metadata={"labels": {"odd": "1"}})
    records = world.stored("configmaps")
    for _ in range(chance.randrange(6)):
        name = chance.choice(records).key.name
        path = f"{CONFIGMAPS}/{name}"
        if world.store.get(Key("configmaps", "shop", name)) is None:
            continue
        if chance.random() < 0.5:
            await world.do("delete", path)
        else:
            await world.merge(path, {"metadata": {"labels": {"odd": chance.choice("01")}}})


async def test_pages_go_on_from_one_namespace_to_the_next(world: World) -> None:
    for namespace in ("default", "shop"):
        for name in ("a", "b", "c"):
            await world.make(f"{NAMESPACES}/{namespace}/configmaps", name)
    seen: list[Key] = []
    token = ""
    while True:
        page = await listed(world, limit=2, **{"continue": token})
        seen += [record.key for record in page.records]
        token = page.token
        if not token:
            break
    assert [key[1:] for key in seen] == [(namespace, name) for namespace in ("default", "shop") for name in "abc"]


async def test_only_pages_without_a_selector_tell_how_many_remain(world: World) -> None:
    await fill(world, 5)
    assert (await listed(world, limit=2)).remaining == 3
    assert (await listed(world, limit=1, labelSelector="odd=1")).remaining is None


async def test_a_last_page_has_no_token_also_when_it_is_full(world: World) -> None:
    await fill(world, 4)
    first = await listed(world, limit=2)
    last = await listed(world, limit=2, **{"continue": first.token})
    assert (keys(last), last.token, last.remaining) == (["c02", "c03"], "", None)
    assert not (await listed(world, limit=2, labelSelector="odd=1")).token


async def test_a_limit_is_not_looked_at_for_a_list_of_any_moment(world: World) -> None:
    await fill(world, 4)
    assert len((await listed(world, limit=2, resourceVersion="0")).records) == 4


async def test_a_token_allows_no_other_moment(world: World) -> None:
    await fill(world, 3)
    token = (await listed(world, limit=1)).token
    with pytest.raises(BadRequest, match="specifying resource version is not allowed when using continue"):
        await listed(world, resourceVersion="1", **{"continue": token})
    assert keys(await listed(world, resourceVersion="0", **{"continue": token})) == ["c01", "c02"]


async def test_an_expired_token_is_answered_with_one_that_goes_on_from_the_same_place(world: World) -> None:
    await fill(world, 4)
    token = (await listed(world, limit=2)).token
    await world.make(CONFIGMAPS, "c02-later")
    await world.store.compact(0.0, max_age=float("inf"), max_count=0)
    with pytest.raises(ExpiredError) as caught:
        await listed(world, limit=2, **{"continue": token})
    fresh = caught.value.status()["metadata"]["continue"]
    rest = await listed(world, limit=2, **{"continue": fresh})
    assert keys(rest) == ["c02", "c02-later"]
    assert rest.revision == world.store.revision
    assert keys(await listed(world, limit=2, **{"continue": rest.token})) == ["c03"]


async def test_a_list_at_an_exact_revision_of_the_past_shows_that_moment(world: World) -> None:
    await fill(world, 2)
    then = world.store.revision
    await world.do("delete", f"{CONFIGMAPS}/c00")
    exact = await listed(world, resourceVersion=then, resourceVersionMatch="Exact")
    assert (keys(exact), exact.revision) == (["c00", "c01"], then)
    assert keys(await listed(world, resourceVersion=then, resourceVersionMatch="NotOlderThan")) == ["c01"]
    assert keys(await listed(world, resourceVersion=then)) == ["c01"]


async def test_an_exact_revision_that_is_no_longer_kept_is_expired(world: World) -> None:
    await fill(world, 2)
    await world.store.compact(0.0, max_age=float("inf"), max_count=0)
    with pytest.raises(ExpiredError, match="too old"):
        await listed(world, resourceVersion="1", resourceVersionMatch="Exact")


async def test_a_revision_that_does_not_come_is_a_timeout(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "FUTURE_WAIT", 0.01)
    ahead = str(world.store.revision + 1)
    for query in ({"resourceVersion": ahead}, {"continue": encode_token(Token(int(ahead), "a"))}):
        with pytest.raises(Timeout, match=f"Too large resource version: {ahead}") as caught:
            await listed(world, **query)
        status = caught.value.status()
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert status["details"]["retryAfterSeconds"] == 1


@pytest.mark.parametrize("revision", ["x", "-1", "99999999999999999999"])
async def test_a_revision_that_is_no_number_is_a_bad_request(world: World, revision: str) -> None:
    with pytest.raises(BadRequest, match="invalid resource version"):
        await listed(world, resourceVersion=revision)


async def test_a_selector_of_the_name_shows_one_object_of_each_namespace(world: World) -> None:
    await fill(world, 3)
    await world.make(f"{NAMESPACES}/default/configmaps", "c01")
    page = await listed(world, fieldSelector="metadata.name=c01")
    assert [record.key[1:] for record in page.records] == [("default", "c01"), ("shop", "c01")]
    assert keys(await listed(world, CONFIGMAPS, fieldSelector="metadata.name=c01,metadata.namespace=default")) == []


def test_a_page_says_in_its_metadata_what_it_knows() -> None:
    assert Page([], 5).metadata() == {"resourceVersion": "5"}
    assert Page([], 5, "t", 3).metadata() == {"resourceVersion": "5", "continue": "t", "remainingItemCount": 3}
    assert msgspec.json.encode(Page([], 5, "t", 0).metadata()) == b'{"resourceVersion":"5","continue":"t","remainingItemCount":0}'
