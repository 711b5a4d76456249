"""Kills actors at every point at which it makes a difference, and looks whether they get over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from apiserver.testing.server import Server, serving
from registry.plugin import Plugin

Act = Callable[[Server], Awaitable[None]]


async def every_crash(*plugins: Plugin, scenario: Act, check: Act, seed: int = 0, within: float = 60.0) -> int:
    """Runs the scenario without a crash, then twice again for each write that an actor of the plugins made in it: once the actor
    dies right before that write, once right after it and before its answer. It starts anew at once, and `within` virtual seconds
    after the scenario `check` must hold. Returns how many crashes were tried.

    A scenario lets things happen (`settled`, `advance`) and asserts nothing that a crash may delay. An error is given a note that
    says which crash it was.
    """

    async def played(server: Server) -> None:
        await scenario(server)
        await server.advance(within)
        await check(server)

    async with serving(*plugins, seed=seed) as server:
        await played(server)
        names = [declaration.name for plugin in plugins for declaration in plugin.actors]
        counts = Counter(written.actor for written in server.writes())
    tried = 0
    for actor in names:
        for number in range(1, counts[actor] + 1):
            for before, after in ((number, 0), (0, number)):
                try:
                    async with serving(*plugins, seed=seed) as server:
                        server.crash(actor, before_write=before, after_write=after)
                        await played(server)
                except Exception as error:
                    error.add_note(
                        f"every_crash: the actor {actor} was killed {'before' if before else 'after'} its write {number}"
                    )
                    raise
                tried += 1
    return tried
