"""Calls of webhooks over HTTPS: each webhook has a line of its own, with its connections, its circuit breaker and its bulkhead.

What it promises:

* A slow or broken webhook takes nothing from others: so many calls of it run at once, so many wait, and more fail at once. One that
  fails again and again is left alone for a while (`admission.breaker`).
* The time that a call may take holds for all of it: waiting for its turn, looking up the host, connecting, and the answer.
* Addresses are checked (`apiserver.outbound`); certificates are always checked; redirects are answers like any other that is not
  200; answers are bounded, and nothing is unpacked.
* A connection that was closed while it was kept is no failure: the question is put once more, as another question.
* No error repeats a secret, or more than a few characters of what a webhook sent.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar
from uuid import UUID, uuid4

import anyio
import httpcore

from admission import signing
from admission.admission_review import BadAnswer
from admission.breaker import Breaker, Open, State
from admission.webhook_index import Endpoint, Identifier
from admission.webhooks import CallFailed, Log, NotCalled
from apiserver.outbound import AddressRefused, Networks, Outbound, Place, Resolve, looked_up

A_co = TypeVar("A_co", covariant=True)
Result = Literal["answered", "failed", "timeout", "busy", "open"]
OUTAGES = (429, 502, 503, 504)
"""Answers of what stands before a webhook that is away, or of one that has too much to do."""
KEPT_SECONDS = 30.0
"""How long an unused connection is kept."""
_TROUBLE = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.UnsupportedProtocol, OSError)
_STALE = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
"""What happens on a connection that the other side has closed."""


class Callee(Protocol):
    """A webhook, as far as calling it goes. `signed_by`: the Secret that requests are signed with; empty: the server's own."""

    @property
    def id(self) -> Identifier: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def url(self) -> str: ...
    @property
    def signed_by(self) -> str: ...


class Asked(Protocol[A_co]):
    """A question of any kind."""

    def body(self, uid: str) -> bytes:
        """What is sent."""
        ...

    def verdict(self, raw: bytes, uid: str) -> A_co:
        """What the answer says. Raises BadAnswer."""
        ...


class Spoilt(CallFailed):
    """A webhook was reached, and its answer is none: maybe because of what it was asked."""


class Unready(CallFailed):
    """A webhook cannot be called as it is configured. That says nothing about the webhook itself: its circuit stays as it is."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a caller has of its own: a clock for waiting, the time since 1970, ids, and how hosts are looked up."""

    now: Callable[[], float]
    time: Callable[[], float]
    unique: Callable[[], UUID] = uuid4
    resolve: Resolve = looked_up


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one webhook may take."""

    concurrency: int = 16
    queue: int = 128
    failures: int = 5
    open_seconds: float = 10.0
    answer_bytes: int = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Ways:
    """How webhooks are reached: the networks that are allowed, the services that are known, by name and namespace, and the
    certificate with its key that is shown to them, if there is one."""

    networks: Networks
    services: Mapping[tuple[str, str], Place] = field(default_factory=dict)
    certificate: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """How the line of a webhook stands. `seconds`: how long all its calls that ended took together."""

    id: Identifier
    state: State
    running: int
    waiting: int
    results: Mapping[Result, int]
    seconds: float


class WebhookCalls:
    """Implements `admission.webhooks.Caller`.

    `secrets` gives what the requests of a webhook are signed with (none: not at all), or raises Unready. It has to be closed.
    """

    def __init__(
        self,
        ways: Ways,
        bounds: Bounds,
        secrets: Callable[[Callee], Sequence[bytes]],
        means: Means,
        log: Log,
        *,
        forgiving: bool = False,
    ) -> None:
        """`forgiving`: answers that are none leave circuits as they are, since they may be due to what was asked."""
        self._ways = ways
        self._bounds = bounds
        self._secrets = secrets
        self._means = means
        self._log = log
        self._forgiving = forgiving
        self._lines: dict[Identifier, _Line] = {}
        self._retired: list[_Line] = []

    async def ask(self, webhook: Callee, question: Asked[A_co], seconds: float) -> A_co:
        """What the webhook says. Raises CallFailed."""
        line = self._line(webhook)
        try:
            number = line.breaker.enter(self._means.now())
        except Open as open_:
            line.results["open"] += 1
            why = f"it failed {self._bounds.failures} times in a row, or when it was last tried"
            said = f"it was not called, since {why}: the circuit is open for {open_.seconds:.0f} s more"
            raise NotCalled(f"{said}; the last time: {line.trouble}") from None
        began, good = self._means.now(), None
        try:
            async with line.room(self._bounds.queue, seconds) as left:
                good = False
                verdict = await self._within(line, webhook, question, left)
                good = True
                return verdict
        except CallFailed as failed:
            line.trouble = str(failed) if good is False else line.trouble
            good = None if isinstance(failed, Unready) or (self._forgiving and isinstance(failed, Spoilt)) else good
            raise
        except anyio.get_cancelled_exc_class():
            good = None  # whoever asked does not wait any more
            raise
        finally:
            self._leave(line, webhook, number, good=good)
            line.seconds += self._means.now() - began
            if self._retired:
                with anyio.CancelScope(shield=True):
                    await self._close_retired()

    def _leave(self, line: _Line, webhook: Callee, number: int, *, good: bool | None) -> None:
        """Tells the outcome to the circuit breaker, and the log when that changes its state."""
        now = self._means.now()
        before = line.breaker.state(now)
        line.breaker.leave(number, now, good=good)
        after = line.breaker.state(now)
        if after != before and after == "open":
            self._log.warning("a webhook fails and is left alone for a while", **webhook.id._asdict(), why=line.trouble)
        elif after != before:
            self._log.warning("a webhook answers again", **webhook.id._asdict())

    async def _within(self, line: _Line, webhook: Callee, question: Asked[A_co], seconds: float) -> A_co:
        """The verdict, if it comes in time. Every outcome is counted."""
        result: Result = "failed"
        url = webhook.url
        try:
            with anyio.move_on_after(seconds):
                verdict = await self._verdict(line, webhook, question, url)
                result = "answered"
                return verdict
            result = "timeout"
            raise CallFailed(f'failed to call webhook: Post "{url}": context deadline exceeded: no answer within {seconds:.3g} s')
        except BadAnswer as bad:
            raise Spoilt(f"received invalid webhook response: {bad}") from bad
        except AddressRefused as refused:
            raise CallFailed(f'failed to call webhook: Post "{url}": {refused}') from refused
        except _STALE as error:
            raise Spoilt(f'failed to call webhook: Post "{url}": {_reason(error)}') from error
        except _TROUBLE as error:
            raise CallFailed(f'failed to call webhook: Post "{url}": {_reason(error)}') from error
        finally:
            line.results[result] += 1

    async def _verdict(self, line: _Line, webhook: Callee, question: Asked[A_co], url: str) -> A_co:
        for attempt in (1, 2):
            uid = str(self._means.unique())
            try:
                return question.verdict(await self._post(line, webhook, url, question.body(uid)), uid)
            except _STALE:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    async def _post(self, line: _Line, webhook: Callee, url: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        secrets = self._secrets(webhook)
        if secrets:
            headers |= signing.headers(secrets, body, self._means.time(), str(self._means.unique()))
        pairs = [("User-Agent", "skep"), *headers.items()]
        async with line.pool().stream("POST", url, headers=pairs, content=body) as response:
            if response.status != 200:
                also = "; redirects are not followed" if 300 <= response.status < 400 else ""
                failed = CallFailed if response.status in OUTAGES else Spoilt
                raise failed(f'failed to call webhook: Post "{url}": it answered with status {response.status}{also}')
            answer = bytearray()
            async for chunk in response.aiter_stream():
                answer += chunk
                if len(answer) > self._bounds.answer_bytes:
                    raise Spoilt(f"received invalid webhook response: it has more than {self._bounds.answer_bytes} bytes")
            return bytes(answer)

    def _line(self, webhook: Callee) -> _Line:
        line = self._lines.get(webhook.id)
        if line is None or line.endpoint != webhook.endpoint:
            if line is not None:
                self._retired.append(line)
            line = self._lines[webhook.id] = _Line(webhook.endpoint, self._ways, self._bounds, self._means.resolve)
        return line

    def retain(self, webhooks: Iterable[Callee]) -> None:
        """Forgets all others: they are configured no more."""
        if not self._lines:
            return
        known = {webhook.id for webhook in webhooks}
        for gone in self._lines.keys() - known:
            self._retired.append(self._lines.pop(gone))

    def views(self) -> list[View]:
        """How the webhooks stand that were called."""
        return [
            View(named, line.breaker.state(self._means.now()), line.running, line.waiting, dict(line.results), line.seconds)
            for named, line in sorted(self._lines.items())
        ]

    async def aclose(self) -> None:
        """Closes all connections."""
        self._retired += self._lines.values()
        self._lines.clear()
        await self._close_retired(all_of_them=True)

    async def _close_retired(self, *, all_of_them: bool = False) -> None:
        idle = [line for line in self._retired if all_of_them or not (line.running or line.waiting)]
        self._retired = [line for line in self._retired if line not in idle]
        for line in idle:
            await line.aclose()


class _Line:
    """What there is for one webhook. Its connections are made for the first call."""

    def __init__(self, endpoint: Endpoint, ways: Ways, bounds: Bounds, resolve: Resolve) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker(bounds.failures, bounds.open_seconds)
        self.results: Counter[Result] = Counter()
        self.seconds = 0.0
        self.running = 0
        self.waiting = 0
        self.trouble = ""
        self._ways = ways
        self._resolve = resolve
        self._concurrency = bounds.concurrency
        self._places = anyio.Semaphore(bounds.concurrency)
        self._pool: httpcore.AsyncConnectionPool | None = None

    @asynccontextmanager
    async def room(self, queue: int, seconds: float) -> AsyncIterator[float]:
        """A place among those that run; gives how many of the seconds are left. Raises CallFailed."""
        if self.running + self.waiting >= self._concurrency + queue:
            self.results["busy"] += 1
            raise NotCalled(f"it was not called: {self.running + self.waiting} calls of it are under way or wait already")
        self.waiting += 1
        began = anyio.current_time()
        try:
            with anyio.move_on_after(seconds) as waited:
                await self._places.acquire()
        finally:
            self.waiting -= 1
        if waited.cancelled_caught:
            self.results["busy"] += 1
            raise NotCalled(f"it was not called: {self.running} calls of it were under way for {seconds:.3g} s")
        self.running += 1
        try:
            yield seconds - (anyio.current_time() - began)
        finally:
            self.running -= 1
            self._places.release()

    def pool(self) -> httpcore.AsyncConnectionPool:
        """The connections. Raises CallFailed when there can be none."""
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=_context(self.endpoint, self._ways.certificate),
                max_connections=self._concurrency,
                keepalive_expiry=KEPT_SECONDS,
                network_backend=Outbound(self._ways.networks, self._resolve, self._place()),
            )
        return self._pool

    def _place(self) -> Place | None:
        service = self.endpoint.service
        if service is None:
            return None
        place = self._ways.services.get((service.name, service.namespace))
        if place is None:
            setting = f'webhooks.services = ["{service.name}.{service.namespace}=HOST:PORT"]'
            raise Unready(
                f'service "{service.namespace}/{service.name}" is not known: there is no cluster DNS here; say where it is in the '
                f"server's settings, {setting}, or give the webhook a url"
            )
        return place

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._pool is not None:
            await self._pool.aclose()


def _context(endpoint: Endpoint, certificate: tuple[str, str] | None) -> ssl.SSLContext:
    """How the other side's certificate is checked: by the bundle of the webhook alone, or by what the system trusts."""
    try:
        text = endpoint.authorities.decode("ascii") if endpoint.authorities else None
        context = ssl.create_default_context(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise Unready(f"unable to load root certificates: unable to parse bytes as PEM block: {error}") from error
    if certificate is not None:
        context.load_cert_chain(*certificate, password="")
    return context


def _reason(error: Exception) -> str:
    """The innermost thing that went wrong on the way."""
    cause: BaseException = error
    while cause.__cause__ is not None and str(cause.__cause__):
        cause = cause.__cause__
    return str(cause) or type(error).__name__
