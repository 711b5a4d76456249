"""A store in memory whose transactions run in the event loop, as tests of actors have it, keeps every promise of a store."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from storage.opening import open_store
from storage.sql import Options, SqlStore
from tests.storage import test_contract

pytestmark = pytest.mark.anyio

Promise = Callable[[SqlStore], Awaitable[None]]
PROMISES: list[Promise] = [
    function
    for name, function in vars(test_contract).items()
    if name.startswith("test_") and inspect.iscoroutinefunction(function) and [*inspect.signature(function).parameters] == ["store"]
]


async def here(function: Callable[..., Any], *arguments: Any, limiter: object = None) -> Any:
    return function(*arguments)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps_the_promises_of_a_store(promise: Promise) -> None:
    async with open_store("sqlite://", Options(aside=here)) as store:
        await promise(store)


def test_there_are_promises() -> None:
    assert len(PROMISES) > 15
