"""Lists: which moment they show, and how they are cut into pages.

All pages of a list are from one moment. A continue token says which one, and the last object that was sent; it is opaque to
clients, and worth no more than what it says: whoever makes one up sees what they may list anyway.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from apiserver.converting import shown
from apiserver.forms import Page
from apiserver.matching import Matcher
from apiserver.options import ListOptions, revision
from apiserver.target import Target
from registry.errors import BadRequest, Cause, ExpiredError, Timeout, details
from registry.kinds import Version
from registry.ways import ConversionError
from storage.store import Expired, Key, Record, Snapshot, Store

FUTURE_WAIT = 3.0
"""Seconds that a read waits for a revision that is not there yet."""
LOOKED_AT = 1_024
"""Objects that are converted at once to see whether they match."""
SPOILT = 10
"""Objects that cannot be shown, and are named in the warnings of a list."""


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a list goes on: at revision `rv` (0: whatever is newest), after the object `after` in `ns`."""

    rv: int
    after: str
    ns: str = ""


def encode_token(token: Token) -> str:
    """The opaque text of a token."""
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """Reads a token back. Raises BadRequest."""
    raw = b""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        token = msgspec.json.decode(raw, type=Token)
        if token.rv < 0:
            raise ValueError("the revision is negative")
        return token
    except (Base64Error, UnicodeEncodeError):
        why = "illegal base64 data"
    except (msgspec.MsgspecError, ValueError) as error:
        why = (
            str(error)
            if raw[:1] == b"{"
            else f"invalid character '\\x{raw[0]:02x}' looking for beginning of value"
            if raw
            else str(error)
        )
    raise BadRequest(f"invalid continue token: continue key is not valid: {why}")


async def caught_up(store: Store, version: str) -> int:
    """Waits until reads are as new as a resourceVersion asks for: nothing means as new as anybody's, `0` means any.

    Raises BadRequest, and Timeout for a revision that does not come.
    """
    wanted = revision(version)
    if version == "0":
        return store.revision
    if not wanted:
        return await store.synced()
    if wanted > store.revision and not await store.reached(wanted, FUTURE_WAIT):
        raise _too_large(wanted, store.revision)
    return store.revision


async def page(store: Store, target: Target, matcher: Matcher, options: ListOptions) -> Page:
    """The page that the options ask for. Raises BadRequest, ExpiredError, Timeout."""
    token = None
    if options.token:
        if options.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        token = decode_token(options.token)
    snapshot = await _snapshot(store, target, options, token)
    records = snapshot.records
    if matcher.name is not None:
        records = _named(records, matcher.name)
    if token is not None:
        start = bisect_right(records, (token.ns, token.after), key=lambda record: record.key[1:])
        records = records[start:]
    unlimited = options.limit <= 0 or (options.resource_version == "0" and token is None)
    limit = 0 if unlimited else options.limit
    ways = target.version.ways
    if ways is None or not ways.remote or not matcher.selective:
        return _cut(records, snapshot.revision, matcher, limit)
    found, spoilt = await _matching(target.version, records, matcher, limit)
    return msgspec.structs.replace(_cut(found, snapshot.revision, matcher, limit), spoilt=spoilt)


async def _matching(
    version: Version, records: Sequence[Record], matcher: Matcher, limit: int
) -> tuple[list[Record], tuple[str, ...]]:
    """Those that match as they are shown, up to one more than the limit, and what is to be said of those of which nobody knows."""
    found: list[Record] = []
    spoilt: list[str] = []
    for start in range(0, len(records), LOOKED_AT):
        seen, said = await convertible(version, records[start : start + LOOKED_AT])
        found += [record for record in seen if matcher.matches(record)]
        spoilt += said
        if limit and len(found) > limit:
            break
    return found, tuple(spoilt[:SPOILT])


async def _snapshot(store: Store, target: Target, options: ListOptions, token: Token | None) -> Snapshot:
    resource = target.kind.resource
    if token is not None:
        if token.rv == 0:
            return store.list(resource, target.namespace)
        if token.rv > store.revision and not await store.reached(token.rv, FUTURE_WAIT):
            raise _too_large(token.rv, store.revision)
        return await _at(store, resource, target.namespace, token.rv, token)
    version = options.resource_version
    try:
        await caught_up(store, version)
    except BadRequest as error:
        raise BadRequest(f"invalid resource version: {error.message}") from None
    wanted = revision(version)
    exact = options.match == "Exact" or (options.limit > 0 and not options.match)
    if wanted and exact:
        return await _at(store, resource, target.namespace, wanted, None)
    return store.list(resource, target.namespace)


async def _at(store: Store, resource: str, namespace: str | None, wanted: int, token: Token | None) -> Snapshot:
    try:
        return await store.list_at(wanted, resource, namespace)
    except Expired as expired:
        if token is None:
            raise ExpiredError("The resourceVersion for the provided list is too old.") from expired
        raise _expired_token(token) from expired


def _expired_token(token: Token) -> ExpiredError:
    """410 with a token that goes on from the same place in the newest state, for clients that can live with that."""
    error = ExpiredError(
        "the moment that this list was begun at is no longer kept, so the rest of it cannot be shown as it was: begin "
        "the list again, or go on with the continue token in metadata.continue, which takes the rest from the newest state"
    )
    error.metadata = {"continue": encode_token(msgspec.structs.replace(token, rv=0))}
    return error


def _named(records: Sequence[Record], name: str) -> Sequence[Record]:
    return [record for record in records if record.key.name == name]


async def convertible(version: Version, records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """The objects in a version, and what is to be said of those that cannot be converted to it: they are left out, like what does
    not match. Others have their turn meanwhile. Raises Unreached: a list without what nobody could be asked to convert would say
    that it is gone."""
    outcomes = await shown(version, records)
    found = [each for each in outcomes if isinstance(each, Record)]
    failed = [each for each in outcomes if not isinstance(each, Record)]
    spoilt = [f"left out: {_why(error)}" for error in failed[:SPOILT]]
    more = len(failed) - len(spoilt)
    return found, [*spoilt, f"left out: {more} more objects that cannot be converted"] if more else spoilt


def _why(error: ConversionError) -> str:
    """What is wrong, with the object: its cause says which."""
    causes = (error.details or {}).get("causes") or ({"message": error.message},)
    return str(causes[0]["message"])


def _cut(records: Sequence[Record], at: int, matcher: Matcher, limit: int) -> Page:
    if not matcher.selective:
        if not limit or len(records) <= limit:
            return Page(records, at)
        return Page(records[:limit], at, _token(at, records[limit - 1].key), len(records) - limit)
    if not limit:
        return Page([record for record in records if matcher.matches(record)], at)
    found: list[Record] = []
    for record in records:
        if matcher.matches(record):
            if len(found) == limit:
                return Page(found, at, _token(at, found[-1].key))
            found.append(record)
    return Page(found, at)


def _token(at: int, key: Key) -> str:
    return encode_token(Token(at, key.name, key.namespace))


def _too_large(wanted: int, current: int) -> Timeout:
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    return Timeout(
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        details=details(causes=[cause]) | {"retryAfterSeconds": 1},
        headers=[("retry-after", "1")],
    )
