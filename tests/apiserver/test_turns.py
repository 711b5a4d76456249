"""Turns: one at a time for each key, in the order in which they came, and nothing is kept of what is over."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from apiserver.turns import Turns

pytestmark = pytest.mark.anyio


async def test_turns_at_one_key_are_had_one_after_another_in_the_order_of_arrival() -> None:
    turns = Turns()
    told: list[str] = []

    async def write(name: str) -> None:
        async with turns.at("key"):
            told.append(f"{name} begins")
            for _ in range(3):
                await checkpoint()
            told.append(f"{name} ends")

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(write, name)
    assert told == [f"{name} {what}" for name in ("a", "b", "c") for what in ("begins", "ends")]


async def test_whoever_comes_while_others_wait_waits_behind_them_even_when_the_turn_is_free() -> None:
    turns = Turns()
    told: list[str] = []

    async def write(name: str) -> None:
        async with turns.at("key"):
            told.append(name)

    async with anyio.create_task_group() as tasks:
        async with turns.at("key"):
            tasks.start_soon(write, "waits")
            await anyio.wait_all_tasks_blocked()
        await write("comes later")
    assert told == ["waits", "comes later"]


async def test_turns_at_different_keys_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with turns.at("a"), turns.at("b"):
        assert turns.busy("a")
        assert turns.busy("b")
        assert not turns.busy("c")


async def test_one_that_is_cancelled_while_it_waits_or_has_its_turn_holds_nobody_up() -> None:
    turns = Turns()
    told: list[str] = []

    async def write(name: str, gate: anyio.Event | None = None) -> None:
        async with turns.at("key"):
            told.append(name)
            if gate is not None:
                await gate.wait()

    async with anyio.create_task_group() as tasks, anyio.create_task_group() as given_up:
        given_up.start_soon(write, "has its turn", anyio.Event())
        await anyio.wait_all_tasks_blocked()
        given_up.start_soon(write, "waits and is cancelled")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(write, "waits and stays")
        await anyio.wait_all_tasks_blocked()
        given_up.cancel_scope.cancel()
    assert told == ["has its turn", "waits and stays"]
    assert not turns.busy("key")


async def test_one_that_fails_in_its_turn_gives_it_up() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError, match="mine"):
        async with turns.at("key"):
            raise RuntimeError("mine")
    assert not turns.busy("key")


async def test_nothing_is_kept_of_keys_at_which_nobody_is() -> None:
    turns = Turns()
    for number in range(1_000):
        async with turns.at(number):
            pass
    assert not any(turns.busy(number) for number in range(1_000))
    assert turns._lines == {} == turns._waiting
