"""Logs: structured lines, no secrets, and never in the way.

* **One line is one event.** Line breaks and other control characters that come from outside are escaped, so nobody writes lines in
  another's name. Only tracebacks, on a terminal, go over several lines, each with a bar before it.
* **Secrets are masked** before a line is rendered: values under telling keys, bearer tokens, passwords in URLs, private keys.
* **Whoever logs never waits.** Lines go into a bounded buffer that a thread writes out: at once for messages, by size or after
  0.25 s for the access log. When nobody reads the other end, lines are dropped and counted; a broken or full one loses lines,
  nothing else.

Lines of other libraries (standard `logging`) take the same way. Lines of JSON have `time` (RFC 3339, UTC), `level`, `event` and
`logger`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Literal, Protocol, Self

import msgspec

from registry.lean import without

with without("rich"):  # which shows tracebacks in colours; ours are text in a line. 4 MB
    import structlog

FLUSH_BYTES = 512 * 1024
"""Each turn of the thread takes the interpreter from the event loop: few large ones cost requests less than many small ones."""
FLUSH_SECONDS = 0.25
LONGEST_BUFFER = 8 * 1024 * 1024
MASK = "***"

Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]

SECRET_KEYS = re.compile(
    r"(^|[_\-.])(token|tokens|authorization|password|passwd|passphrase|secret|cookie|credentials?|api_?key|private_?key)$",
    re.IGNORECASE,
)
LONGEST_NAME = 2_048
"""Letters of a name or path in the access log."""
CREDENTIALS = (
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    (re.compile(r"\b(skep_(?:live|test)_[0-9A-Za-z]{4})[0-9A-Za-z]+"), rf"\1{MASK}"),
)
"""Tokens and keys, and what is written instead. Whoever asks chooses the texts: a pattern takes time that is linear in them."""
SECRET_TEXTS = (
    *CREDENTIALS,
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{4,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(://[^\s:/@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"\b(\w{0,32}?(?:token|password|secret|api_?key))=[^\s&,;]+", re.IGNORECASE), rf"\1={MASK}"),
)


class Logger(Protocol):
    """What the parts of the server log with: an event in a few words, and its facts as keywords."""

    def debug(self, event: str, /, **facts: Any) -> Any: ...
    def info(self, event: str, /, **facts: Any) -> Any: ...
    def warning(self, event: str, /, **facts: Any) -> Any: ...
    def error(self, event: str, /, **facts: Any) -> Any: ...
    def exception(self, event: str, /, **facts: Any) -> Any: ...
    def bind(self, **facts: Any) -> Any: ...


class Sink:
    """Where lines go: a file descriptor, written by a thread of its own.

    Use as a context manager: leaving it writes out what is left, but waits no longer than `patience` seconds for a reader that
    has stopped.
    """

    def __init__(self, descriptor: int, *, patience: float = 1.0) -> None:
        self._descriptor = descriptor
        self._patience = patience
        self._lines: deque[bytes] = deque()  # appended by anybody, emptied by the thread alone
        self._size = 0  # of the lines in the deque, about: two threads may lose a count, never a line
        self._some = threading.Event()  # there may be lines
        self._now = threading.Event()  # and they should be written without waiting for more
        self._closed = False
        self._torn = False  # the last write may have ended within a line
        self._thread = threading.Thread(target=self._drain, name="skep-log", daemon=True)
        self.dropped = 0  # lines that found the buffer full, ever
        self.failed = 0  # writes that the other end refused, ever

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed = True
        self._now.set()
        self._some.set()
        self._thread.join(self._patience)

    def later(self, line: bytes) -> None:
        """Takes a line, with its line break, that may wait a little for company."""
        if self._size > LONGEST_BUFFER:
            self.dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if not self._some.is_set():
            self._some.set()
        if self._size > FLUSH_BYTES and not self._now.is_set():
            self._now.set()

    def now(self, line: bytes) -> None:
        """Takes a line that somebody may be waiting for."""
        self.later(line)
        self._now.set()

    def _drain(self) -> None:
        while True:
            self._some.wait()
            self._now.wait(FLUSH_SECONDS)
            self._some.clear()
            self._now.clear()
            chunk = self._take()
            if chunk:
                self._write(chunk)
            elif self._closed:
                return
            if self._closed:
                self._now.set()
                self._some.set()

    def _take(self) -> bytes:
        lines = []
        size = 0
        with contextlib.suppress(IndexError):
            while size < FLUSH_BYTES:
                line = self._lines.popleft()
                lines.append(line)
                size += len(line)
        self._size = max(0, self._size - size) if self._lines else 0
        if self._lines:  # came meanwhile: they wait for company like others, or this thread would turn round for each of them
            self._some.set()
            if self._size > FLUSH_BYTES:
                self._now.set()
        return b"".join(lines)

    def _write(self, chunk: bytes) -> None:
        view = memoryview(b"\n" + chunk if self._torn else chunk)
        try:
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:  # whoever shares the descriptor has made it so
                    select.select((), (self._descriptor,), (), 1.0)
            self._torn = False
        except OSError:
            self.failed += 1  # there is no place left to say so
            self._torn = True


class Access(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A line of the access log. The field names are the log's. `credential` is there where it has a name that is no secret."""

    time: str
    level: str
    event: str
    identity: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    duration_ms: float
    credential: str = ""


class AccessLog:
    """One line for each request, cheap enough for every one of them (about two microseconds)."""

    def __init__(
        self,
        sink: Sink,
        *,
        which: Literal["all", "errors", "off"] = "all",
        form: Literal["json", "console"] = "json",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` tells seconds since 1970."""
        self._later = sink.later
        self._lowest = {"all": 0, "errors": 400, "off": 1000}[which]
        self._render = msgspec.json.Encoder().encode if form == "json" else _access_text
        self._clock = clock
        self._second = -1
        self._prefix = ""

    def record(
        self,
        identity: str,
        verb: str,
        resource: str,
        namespace: str,
        name: str,
        status: int,
        duration_s: float,
        credential: str = "",
    ) -> None:
        """Logs a request. Never raises, whatever a client sent.

        `resource` is `<plural>.<group>`, with its subresource after a slash. Where no resource was asked for it is empty, and
        `name` is the path (without the query, which may hold anything).
        """
        if status < self._lowest:
            return
        level = "info" if status < 500 else "error"
        duration = int(duration_s * 1e6) / 1000
        name, namespace = _shown(name), _shown(namespace)
        access = Access(self._time(), level, "request", identity, verb, resource, namespace, name, status, duration, credential)
        try:
            self._later(self._render(access) + b"\n")
        except UnicodeEncodeError:  # half a surrogate pair, from bytes that were no text
            texts = {field: _printable(getattr(access, field)) for field in ("identity", "verb", "resource", "namespace", "name")}
            self._later(self._render(msgspec.structs.replace(access, **texts)) + b"\n")

    def _time(self) -> str:
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._prefix}{int((now - second) * 1000):03d}Z"


def form_of(chosen: Literal["auto", "json", "console"], descriptor: int) -> Literal["json", "console"]:
    """The form of lines: as chosen, or by whether a person is looking."""
    if chosen == "auto":
        return "console" if os.isatty(descriptor) else "json"
    return chosen


def make_logger(sink: Sink, *, level: Level = "info", form: Literal["json", "console"] = "json", colours: bool = False) -> Logger:
    """A logger that writes to the sink. It is a value: there is no logger that is found by name."""
    chain: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    render = _render_json if form == "json" else _console(colours)
    logger: Logger = structlog.wrap_logger(
        _SinkLogger(sink),
        processors=[*chain, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    return logger


@contextlib.contextmanager
def other_libraries(logger: Logger, *, level: Level = "info") -> Iterator[None]:
    """Within it, what is logged through `logging`, and warnings, go to the logger. What was set before is set again after it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    root.handlers[:] = [_Bridge(logger)]
    root.setLevel(level.upper())
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        for name, was in levels.items():
            logging.getLogger(name).setLevel(was)


QUIET = {
    "uvicorn.access": logging.CRITICAL,  # ours names the identity and the verb
    "uvicorn.error": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,  # below it, statements with their values: whole secrets
    "httpx": logging.WARNING,  # below it, every URL that an actor calls
    "httpcore": logging.INFO,
    "asyncio": logging.INFO,
}
"""The least level at which other libraries are heard."""


def mask_secrets(_logger: object, _method: str, event: Event) -> Event:
    """A structlog processor: the same event without secrets."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: object, value: Any, depth: int = 0) -> Any:
    if isinstance(key, str) and SECRET_KEYS.search(key) and value not in (None, "", True, False):
        return MASK
    if isinstance(value, str):
        for pattern, instead in SECRET_TEXTS:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, bytes):
        return _masked(key, value.decode(errors="backslashreplace"), depth)
    if isinstance(value, Mapping) and depth < 5:
        return {inner: _masked(inner, item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple) and depth < 5:
        return [_masked(None, item, depth + 1) for item in value]
    return value if isinstance(value, int | float | None) else _masked(key, str(value), depth)


class _SinkLogger:
    """What structlog writes to in the end."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def msg(self, line: bytes) -> None:
        self._sink.now(line)

    debug = info = warning = error = critical = exception = msg


class _Bridge(logging.Handler):
    """From the standard library's logging to ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say = getattr(self._logger, record.levelname.lower(), self._logger.error)
            say(record.getMessage(), logger=record.name, **({"exc_info": record.exc_info} if record.exc_info else {}))
        except Exception:  # a library's wrong format string is not worth a request
            self._logger.error("a log line could not be made", logger=record.name)


def _render_json(_logger: object, _method: str, event: Event) -> bytes:
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return json.dumps({**first, **event}, default=str).encode() + b"\n"  # ASCII only: no control character is left as it was


def _console(colours: bool) -> Callable[[object, str, Event], bytes]:
    renderer = structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="time", pad_event_to=28, sort_keys=False)

    def render(logger: Any, method: str, event: Event) -> bytes:
        trace = str(event.pop("exception", ""))
        safe = {_printable(key): _printable(value) if isinstance(value, str) else value for key, value in event.items()}
        line = str(renderer(logger, method, safe))
        barred = "".join(f"\n  | {_printable(part)}" for part in trace.splitlines())
        return f"{line}{barred}\n".encode()

    return render


def _shown(text: str) -> str:
    """A part of a path, into which somebody may have put a credential."""
    if len(text) > LONGEST_NAME:
        text = f"{text[:LONGEST_NAME]}..."
    if "skep_" in text or "eyJ" in text:
        for pattern, instead in CREDENTIALS:
            text = pattern.sub(instead, text)
    return text


def _access_text(access: Access) -> bytes:
    where = f"{access.namespace}/{access.name}" if access.namespace else access.name
    by = f" ({access.credential})" if access.credential else ""
    said = f"{access.identity or '-'}{by} {access.verb} {access.resource} {where}".replace("  ", " ")
    return f"{access.time} [{access.level:<8}] {_printable(said)} {access.status} {access.duration_ms}ms".encode()


def _printable(text: str) -> str:
    """The text with every character that is not simply printed written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def standard_error() -> int:
    """The descriptor that lines go to."""
    return sys.__stderr__.fileno() if sys.__stderr__ else 2
