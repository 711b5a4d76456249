"""Bodies that take long to read do not keep others waiting."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from apiserver import intake
from apiserver.options import WriteOptions
from apiserver.target import Target
from registry.builtin import CONFIG_MAP, KINDS
from registry.catalog import Registry

pytestmark = pytest.mark.anyio


async def test_a_long_yaml_body_is_read_while_the_event_loop_goes_on() -> None:
    raw = b"metadata: {name: long}\ndata:\n" + b"".join(b"  key-%d: value\n" % number for number in range(20_000))
    assert len(raw) > intake.LONG
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        taken = await intake.received(
            Registry(KINDS), Target(CONFIG_MAP, CONFIG_MAP.storage, "shop"), raw, "application/yaml", WriteOptions()
        )
        tasks.cancel_scope.cancel()
    assert len(taken.document["data"]) == 20_000
    assert turns > 10, "others had their turns while the body was read"
