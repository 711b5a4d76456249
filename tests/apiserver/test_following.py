"""What the server goes by is known in the step that commits it."""

from __future__ import annotations

import pytest

from apiserver.following import follow
from storage.opening import open_store
from storage.store import Key, Put, Record, Remove

pytestmark = pytest.mark.anyio

KEY = Key("roles", "", "a")


class Names:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def put(self, record: Record) -> None:
        self.seen.append(f"put {record.key.name} {record.status.decode()}")

    def remove(self, record: Record) -> None:
        self.seen.append(f"remove {record.key.name}")


def a_put(key: Key, status: bytes, expect: int = 0) -> Put:
    return Put(key, "u", "v1", b"{}", status, expect)


async def test_who_follows_hears_of_what_is_there_and_of_every_change_before_its_write_is_answered() -> None:
    async with open_store("sqlite://") as store:
        await store.commit(a_put(KEY, b"1"))
        await store.commit(a_put(Key("others", "", "b"), b"1"))
        names = Names()
        leave = follow(store, "roles", names)
        assert names.seen == ["put a 1"]
        changed = await store.commit(a_put(KEY, b"2", store.list("roles").records[0].revision))
        assert names.seen[1:] == ["put a 2"]
        await store.commit(Remove(KEY, changed.revision))
        assert names.seen[2:] == ["remove a"]
        leave()
        await store.commit(a_put(KEY, b"3"))
        assert len(names.seen) == 3
