"""Answers on their way out: whole or piece by piece, with their headers, and refusals in the form that the client can read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from admission.apikeys import attempted, without_keys
from admission.identity import CREDENTIAL_ID, Credentials, Identity
from admission.review import Decision
from apiserver.calls import Answer, Call
from apiserver.flow import Caller
from apiserver.negotiation import PROTOBUF, YAML
from apiserver.protobuf import encode_status
from apiserver.target import Target
from registry.documents import dump_yaml
from registry.errors import ApiError

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WARNINGS_LIMIT = 4_096
"""Bytes of all warnings of an answer together."""
WARNINGS_COUNT = 32
"""Warning headers of one answer. Python's HTTP client refuses an answer with more than 100 headers."""


class Trail:
    """What is told of a request to an audit log. This is the one of a server without: it hears all, and says nothing."""

    __slots__ = ()

    def judge(self) -> None:
        """It is known who asks for what."""

    def decided(self, decision: Decision) -> None:
        """Whether what is no call of the manager (a page) may be asked for."""

    def follow(self, call: Call) -> None:
        """The request has become a call of the manager."""

    def started(self) -> None:
        """An answer that does not end has begun."""

    def answered(self, answer: Answer) -> None:
        """What the call came to."""

    def refused(self, error: ApiError, *, panicked: bool = False) -> None:
        """Why the request was refused; `panicked`: nobody expected that."""

    def complete(self) -> None:
        """The request is over."""


UNTOLD = Trail()


class Exchange(msgspec.Struct):
    """One request and what becomes of it, as the access log tells it. `behind`: who acts as `identity`, if somebody does.

    `caller`: whose seat it takes; None: nobody's. `limits` go out with every answer. `turn`: to be awaited before each further
    piece of a long answer, if others may want theirs.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    identity: Identity | None = None
    behind: Identity | None = None
    credentials: Credentials = Credentials()
    verb: str = ""
    target: Target | None = None
    status: int = 0
    sent: bool = False
    trail: Trail = UNTOLD
    limits: Sequence[tuple[bytes, bytes]] = ()
    turn: Callable[[], Awaitable[None]] | None = None
    caller: Caller | None = None

    @property
    def accept(self) -> str:
        """The Accept header, as text."""
        return self.headers.get(b"accept", b"").decode("latin-1")

    def act_as(self, identity: Identity | None) -> None:
        """From here on the request is from `identity`."""
        if identity is not self.identity:
            self.behind, self.identity = self.identity, identity

    @property
    def credential(self) -> str:
        """By what the one who really asks was known, or tried to be, as the access log tells it; empty where it has no name."""
        known = self.behind or self.identity
        if known is None:
            return attempted(self.credentials)
        for key, values in known.extra:
            if key == CREDENTIAL_ID:
                return values[0]
        return ""

    @property
    def who(self) -> str:
        """Whom the request is from, as the access log names them."""
        name = self.identity.username if self.identity is not None else ""
        return f"{self.behind.username} as {name}" if self.behind is not None else name


async def whole(send: Send, status: int, headers: Headers, body: bytes, exchange: Exchange) -> None:
    """Sends a whole answer in one piece. HEAD is answered with the length alone."""
    headers += exchange.limits
    headers.append((b"content-length", b"%d" % len(body)))
    exchange.status, exchange.sent = status, True
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if exchange.method == "HEAD" else body})


async def pieces(send: Send, headers: Headers, parts: Iterable[bytes], exchange: Exchange) -> None:
    """Sends an answer that may be long: as a whole if it is one piece, else as it is made, as fast as the client takes it."""
    iterator = iter(parts)
    piece = next(iterator)
    following = next(iterator, None)
    if following is None or exchange.method == "HEAD":
        await whole(send, 200, headers, piece, exchange)
        return
    exchange.status, exchange.sent = 200, True
    headers += exchange.limits
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while following is not None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if exchange.turn is not None:
            await exchange.turn()
        piece, following = following, next(iterator, None)
    await send({"type": "http.response.body", "body": piece})


def status_body(error: ApiError, media: str) -> bytes:
    """A refusal as a Status, in JSON, YAML or protobuf. It may repeat what was sent, but no key."""
    if media == PROTOBUF:
        return without_keys(encode_status(error.message, error.reason, error.code))
    status = error.status()
    return without_keys(dump_yaml(status) if media == YAML else msgspec.json.encode(status))


def warning_headers(warnings: Iterable[str]) -> Headers:
    """`Warning: 299 - "text"` (RFC 7234, section 5.5), each once, as long as they fit."""
    headers: Headers = []
    size = 0
    for warning in islice(dict.fromkeys(warnings), WARNINGS_COUNT):
        printable = "".join(char if char.isprintable() else " " for char in warning)
        quoted = printable.replace("\\", "\\\\").replace('"', '\\"').encode()
        size += len(quoted)
        if size > WARNINGS_LIMIT:
            break
        headers.append((b"warning", b'299 - "' + without_keys(quoted) + b'"'))
    return headers
