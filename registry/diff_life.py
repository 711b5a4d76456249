"""Whether a version may go, and whether what was said about its life is still said. Pure; a part of `registry.diff`.

Judged is by what the release before has told people, not by what is said now: a notice begins when it is given. The day of
reckoning is that of the new release, so the same two locks give the same answer on any day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from registry.diff_schema import Delta
from registry.lifecycle import Lifecycle, Release, before, from_document, release_from, releases_between
from registry.names import Stability, stability
from registry.promises import promises, reached

TO_THE_END = (110, 111, 112, 113, 114, 115)
"""The promises that the end of a version can break."""


def removal(name: str, kind: Mapping[str, Any], last: Release, this: Release) -> Delta:
    """What it means that a version is no longer served. `kind` is what the `last` release has told of it."""
    lives, served = lives_of(kind), {each for each, version in kind["versions"].items() if version["served"]}
    life = lives[name]
    life = replace(life, successor=life.successor.removeprefix(f"{kind['group']}/"))
    if stability(name) is Stability.ALPHA:
        return _alpha(life, last, this)
    if life.deprecated is None:
        return Delta(231, "", "it is no longer served, and nobody was told: deprecate it first")
    if life.removed is None or not str(life.removed):
        return Delta(231, "", "it is no longer served, and nobody was told when: say removed=Release(...) first")
    if not str(this):
        return Delta(
            231, "", f"it is no longer served; say Plugin(..., release=...), so that it shows whether {life.removed} has come"
        )
    if not reached(life.removed, this):
        return Delta(231, "", f"it is no longer served in {this}, and was to be until {life.removed}")
    if stability(name) is Stability.GA and not life.successor:
        return Delta(231, "", "it is no longer served, and has no successor: a GA version without one is served for good")
    if stability(name) is Stability.BETA and life.introduced is None:
        return Delta(231, "", "it is no longer served, and nobody knows since when it was: say introduced=Release(...) first")
    if life.successor in lives and life.successor not in served:
        return Delta(231, "", f"it is no longer served, and its successor {life.successor} was never served beside it")
    heir = (life.successor, lives[life.successor]) if life.successor in lives else None
    short = [message for number, message in promises(name, _ending(life, this), heir) if number in TO_THE_END]
    if short:
        return Delta(231, "", f"it is no longer served: {short[0]}")
    return Delta(
        0, "", f"it is removed as was announced in {life.deprecated}" if str(life.deprecated) else "it is removed as announced"
    )


def _alpha(life: Lifecycle, last: Release, this: Release) -> Delta:
    served = releases_between(life.introduced or last, this)
    if served is not None and served < 1 and life.introduced is None:
        unknown = "say introduced=Release(...), or compare with the lock of the release before"
        return Delta(231, "", f"it is no longer served in {this}, and nobody knows whether any release has served it: {unknown}")
    if served is not None and served < 1:
        return Delta(231, "", f"it is no longer served in {this}, the release that it came with: it is served at least once")
    return Delta(0, "", "it is no longer served, which an alpha does not promise")


def lives_of(kind: Mapping[str, Any]) -> dict[str, Lifecycle]:
    """The lives of the versions of a kind in a lock, by name."""
    return {name: from_document(version.get("lifecycle", {})) for name, version in kind["versions"].items()}


def release_of(lock: Mapping[str, Any]) -> Release:
    """The release that a lock is of; an empty one, if it says none."""
    return release_from(lock.get("release", {}))


def _ending(life: Lifecycle, end: Release) -> Lifecycle:
    """Its life with the end that it has really had: promises are kept by what is done."""
    planned = life.removed or end
    return Lifecycle(
        life.introduced, life.deprecated, Release(end.version or planned.version, end.date or planned.date), life.successor
    )


def rewritten(old: Lifecycle, new: Lifecycle, last: Release, this: Release) -> Iterator[Delta]:
    """What `this` release says otherwise about the life of a version than the `last` one has said."""
    if old.introduced is not None and new.introduced != old.introduced:
        yield Delta(234, "", f"it was introduced in {old.introduced}, and now says {new.introduced or 'nothing'}")
    yield from _deprecated(old, new, last, this)
    if old.removed is not None and new.removed is not None and before(new.removed, old.removed):
        yield Delta(233, "", f"it was to be removed in {old.removed}, and now is in {new.removed}")
    elif old.removed != new.removed:
        yield Delta(0, "", f"it is to be removed in {new.removed}" if new.removed is not None else "it is no longer to be removed")


def _deprecated(old: Lifecycle, new: Lifecycle, last: Release, this: Release) -> Iterator[Delta]:
    told, says = old.deprecated, new.deprecated
    if says is None:
        if told is not None:
            yield Delta(0, "", "it is no longer deprecated")
    elif told is not None:
        if before(says, told):
            yield Delta(234, "", f"it was deprecated in {told}, and now says {says}")
    elif before(says, this) if str(this) else reached(says, last):
        yield Delta(234, "", f"it is deprecated since {says}, when nobody was told: a notice begins when it is given")
    else:
        yield Delta(0, "", f"it is deprecated in {says}" if str(says) else "it is deprecated")
