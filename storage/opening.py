"""Opens a store and runs it: the lock on the file, the engines, the tables, the loaded state, the committer.

What is opened is closed in the opposite order, whatever happens in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import anyio

from storage import tables, transaction
from storage.engine import Engines, InvalidDatabase, connect, explain, file_of, parse
from storage.lock import exclusive
from storage.sql import Options, SqlStore
from storage.store import Unavailable

_DEFAULTS = Options()


@asynccontextmanager
async def open_store(url: str, options: Options = _DEFAULTS) -> AsyncIterator[SqlStore]:
    """Opens the store at `url` (`sqlite://` lives in memory) and runs it for the body of the `async with`.

    At the end no more writes are taken, those that are pending are committed, and then the cursors end with Closed.
    Raises InvalidDatabase, and `storage.lock.Locked` if another process has the file.
    """
    with _locked(url), _engines(await options.aside(_connect, url)) as engines:
        store = SqlStore(engines, options)
        try:
            await store.load()
        except Unavailable as error:
            raise InvalidDatabase(explain(error.__cause__ or error, parse(url))) from error
        failure: Exception | None = None
        async with anyio.create_task_group() as beside:
            beside.start_soon(store.checkpoint)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.run)
                try:
                    yield store
                except Exception as error:  # not into the group: it would come out wrapped
                    failure = error
                finally:
                    store.close()
            beside.cancel_scope.cancel()
        store.end_watches()
        if failure is not None:
            raise failure


def _connect(url: str) -> Engines:
    engines = connect(url)
    if engines.private:
        transaction.write(engines.write, tables.create)
    return engines


@contextmanager
def _engines(engines: Engines) -> Iterator[Engines]:
    try:
        yield engines
    finally:
        engines.dispose()


@contextmanager
def _locked(url: str) -> Iterator[None]:
    file = file_of(parse(url))
    with ExitStack() as stack:
        if file is not None:
            try:
                stack.enter_context(exclusive(file))
            except OSError as error:
                advice = "check that it exists and may be written"
                raise InvalidDatabase(f"{file}: cannot make a lock file in its folder: {advice} ({error.strerror})") from error
        yield
