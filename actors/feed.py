"""Follows a kind: a list, then a watch, for ever and without a gap.

Whatever the source does (end, expire, fail, deliver twice), the cache ends up as the source is, and every difference is given out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from actors.cache import Cache, Seen, Source
from actors.clock import Clock, sleep_until
from actors.recorder import Log, presentable
from actors.workqueue import Backoff, Chance
from registry.errors import ExpiredError

_BACKOFF = Backoff(base=0.1, limit=30.0)
"""Between attempts: a source that is away is not hammered, and noticed soon when it is back."""

_HEALTHY_SECONDS = 5.0
"""A watch that lasted as long was a working one: servers end watches now and then."""


class Differences(NamedTuple):
    """What is different now from what was given out before, in order. `listed`: it comes from a list, not from changes."""

    listed: bool
    seen: Sequence[Seen]


async def follow(
    source: Source, model: type, cache: Cache, clock: Clock, chance: Chance, log: Log
) -> AsyncGenerator[Differences, None]:
    """Keeps the cache up to date. Gives out first what there is, then what happens to it. Never ends, raises nothing."""
    listed = False  # the cache is at a revision from which a watch can begin
    failures = 0
    while True:
        began = clock.now()
        try:
            if not listed:
                seen = cache.reset(await source.list(model))
                listed = True
                yield Differences(True, seen)
            async with aclosing(source.watch(model, cache.revision)) as batches:
                async for batch in batches:
                    failures = 0
                    changes = (cache.apply(change) for change in batch)
                    yield Differences(False, [each for each in changes if each is not None])
            problem = "the watch ended"
        except ExpiredError as error:
            listed = False
            problem = presentable(str(error))
        except Exception as error:  # whatever a source raises: it is asked again
            problem = presentable(f"{type(error).__name__}: {error}")
        failures = 1 if clock.now() - began > _HEALTHY_SECONDS else failures + 1
        if failures > 1:
            log.warning("watching again", kind=model.__name__, because=problem, attempt=failures)
        await sleep_until(clock, clock.now() + _BACKOFF.delay(failures, chance))
