"""What a request brings besides its path: headers, where it came from, and its body, which is bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from apiserver.answers import Message, Send
from registry.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMediaType

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

CREDENTIALS = (b"authorization", b"x-api-key")
"""Headers that show who asks."""
JOINED = (b"accept", *CREDENTIALS)
"""Headers whose values are joined where there are several: Accept is a list, and no credential has a comma in it: two are none."""


def headers_of(raw: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. Of one that is there more than once the first counts, unless it is one of `JOINED`."""
    found = dict(raw)
    if len(found) == len(raw):
        return found
    found = {}
    for name, value in raw:
        if name in JOINED and name in found:
            found[name] += b"," + value
        else:
            found.setdefault(name, value)
    return found


def address_of(scope: Scope) -> str:
    """Where a request came from; empty when that is not known."""
    client = scope.get("client")
    return client[0] if client else ""


def content_type(headers: Mapping[bytes, bytes]) -> str:
    """The media type of the body, as it was sent. Raises UnsupportedMediaType for bodies in an encoding."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding not in (b"identity", b""):
        raise UnsupportedMediaType(
            f"bodies in the encoding {encoding.decode('latin-1')!r} are not read here: send them as they are"
        )
    return headers.get(b"content-type", b"").decode("latin-1")


async def body_of(headers: Mapping[bytes, bytes], receive: Receive, limit: int, seconds: float | None) -> bytes:
    """The whole body of a request. Raises TooLarge as soon as it is known, from the header or on the way; RequestTimeout.

    It has to come within `seconds`; None: it is here.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise _too_large(limit)
    if seconds is None:
        return await _received(receive, limit)
    try:
        async with asyncio.timeout(seconds):
            return await _received(receive, limit)
    except TimeoutError:
        raise RequestTimeout(f"the body of the request did not come within {seconds:g} seconds") from None


async def _received(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client went away before its request was complete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return part if not parts else b"".join((*parts, part))
        parts.append(part)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"Request entity too large: limit is {limit}")
