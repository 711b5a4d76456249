"""Stored objects in the version of whoever asks, where a webhook may have to be asked for them.

What is converted in this process is converted where it is needed (`apiserver.stored`). For kinds with a webhook this is done
before: lists are asked for many at a time, a change of a watch once for all watchers of a version. What comes from here is `Shown`:
the rest of the way treats it like what is stored in the version.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from msgspec.structs import replace

from apiserver.stored import as_shown, converted, known
from registry.kinds import Document, Version
from registry.unasked import Asker, Question, Unasked, answered
from registry.ways import ConversionError
from storage.store import Change, Op, Record

BATCH = 256
"""Objects of a collection that are deleted, or converted, before others have their turn."""
ASKED = 1_024
"""Objects that a webhook is asked about for one list before they are put into their form: answers take more memory than that."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds that a watch waits before its webhook is asked again, when it could not be asked."""

Outcome = Record | ConversionError


async def shown(version: Version, records: Sequence[Record]) -> list[Outcome]:
    """The objects in a version, each or why it cannot be converted. Others have their turn meanwhile. Raises Unreached."""
    found: list[Outcome] = []
    for start in range(0, len(records), ASKED):
        found += await _shown(version, records[start : start + ASKED])
    return found


async def _shown(version: Version, records: Sequence[Record]) -> list[Outcome]:
    found: list[Outcome | None] = []
    asked: dict[int, Question] = {}
    asker: Asker | None = None
    for place, record in enumerate(records):
        if place % BATCH == BATCH - 1:
            await anyio.lowlevel.checkpoint()
        try:
            found.append(_outcome(version, record))
        except Unasked as unasked:
            found.append(None)
            asker, asked[place] = unasked.asker, unasked.question
    if asker is not None:
        release = await asker.ask(list(asked.values()))
        try:
            for place in asked:
                found[place] = _outcome(version, records[place])
        finally:
            release()
    return [each for each in found if each is not None]


def _outcome(version: Version, record: Record) -> Outcome:
    try:
        return converted(version, record)
    except ConversionError as error:
        return error


async def one(version: Version, record: Record) -> Record:
    """An object in a version. Raises ConversionError."""
    return record if version.ways is None else await answered(lambda: converted(version, record))


async def can_be(version: Version, record: Record) -> bool:
    """Whether an object can be shown in a version."""
    try:
        await one(version, record)
    except ConversionError:
        return False
    return True


async def as_written(version: Version, record: Record, document: Document) -> Record:
    """What a write that is done answers: the object as it is read in the version from now on. If it cannot be read back, as it was
    written: the write is not taken back."""
    ways = version.ways
    if ways is None or not ways.settles:
        return record
    if record.api_version == version.api_version:
        return known(version, record)
    try:
        return await one(version, record)
    except ConversionError:
        return as_shown(record, document)


class Translation:
    """Changes as watchers of one version see them, in their order. What a watcher cannot be shown is left out, or is a deletion for
    it; what it could not be shown before is an addition."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._token = None if version.ways is None else version.ways.token

    async def of(self, changes: Sequence[Change]) -> list[Change]:
        """What is to be told of the changes. For each change and version this is found once. Raises Unreached."""
        place = (self._version.api_version, self._token)
        wanted: dict[int, Record] = {}
        for change in changes:
            if place not in change.derived:
                seen = (change.previous, change.record if change.op is not Op.DELETED else None)
                wanted |= {id(record): record for record in seen if record is not None}
        if wanted:
            outcomes = dict(zip(wanted, await shown(self._version, list(wanted.values())), strict=True))
            for change in changes:
                if place not in change.derived:  # nor was found for somebody else meanwhile
                    change.derived[place] = (_translated(change, outcomes),)
        return [told for change in changes for told in change.derived[place] if told is not None]


def translation_to(version: Version) -> Translation | None:
    """For watchers of a version; None: its changes are shown as they are stored, or are converted in this process."""
    return Translation(version) if version.ways is not None and version.ways.remote else None


def _translated(change: Change, outcomes: dict[int, Outcome]) -> Change | None:
    before = None if change.previous is None else outcomes[id(change.previous)]
    previous = before if isinstance(before, Record) else None
    after = None if change.op is Op.DELETED else outcomes[id(change.record)]
    if isinstance(after, Record):
        return Change(change.revision, Op.ADDED if previous is None else Op.MODIFIED, after, previous)
    if previous is None:
        return None
    return Change(change.revision, Op.DELETED, replace(previous, revision=change.revision), previous)


class Patience:
    """How long a watch waits whose webhook cannot be asked: longer each time, until it answers."""

    def __init__(self) -> None:
        self._next = FIRST_WAIT

    def more(self) -> float:
        """Seconds until the next try."""
        seconds, self._next = self._next, min(LONGEST_WAIT, 2 * self._next)
        return seconds
