"""Plays recorded cases against a server: sends what was sent, and says where the answers differ from the recorded ones.

A case is played in a namespace and with a run name of its own, so that any number of cases can be played at once. Every effect must
be there when the answer is: what a case allows a slow server (`within`) is given only where actors have to do something first.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from tests.reference.comparing import Difference, Rules, UnknownVariableError, Variables, differences, filled, shown

CASES = Path(__file__).with_name("cases")
ACTORS = frozenset({"gc", "namespace-controller", "aggregation", "crd-api"})
"""Needs of cases in which actors do something after the answer."""
PAUSE = 0.02
"""Seconds between a request and its repetition."""
STREAM_SLACK = 15.0
"""Seconds that a stream may take longer than it was asked to before it is given up."""


class Request(msgspec.Struct, frozen=True):
    """What is sent. A text is a body as it is; `<fill>` in it becomes so many letters; `base64` holds other bytes."""

    method: str
    path: str
    headers: dict[str, str | None] = {}
    body: Any = None
    fill: int = 0
    base64: str | None = None


class Response(msgspec.Struct, frozen=True):
    """What was answered: a body (none recorded: any), or the events of a stream and how it ended."""

    status: int
    headers: dict[str, str | list[str] | None] = {}
    match: Literal["exact", "fields", "subset"] = "exact"
    body: Any | msgspec.UnsetType = msgspec.UNSET
    events: list[dict[str, Any]] | None = None
    ends: Literal["timeout", "error", ""] = ""


class Step(msgspec.Struct, frozen=True):
    """A request with its answer, and what is played while its stream is open.

    `within` are the seconds for which the request is repeated until it is answered like this.
    """

    request: Request
    response: Response
    during: tuple[Step, ...] = ()
    within: float = 0


class Case(msgspec.Struct, frozen=True, rename="camel"):
    """Steps that belong together, and what a server must have for them to make sense."""

    name: str
    about: str
    needs: frozenset[str]
    steps: tuple[Step, ...]
    managed_fields: bool = False
    cleanup: tuple[Request, ...] = ()
    topic: str = ""

    @property
    def id(self) -> str:
        return f"{self.topic}/{self.name}"


class _Topic(msgspec.Struct, frozen=True):
    topic: str
    cases: tuple[Case, ...]


@cache
def recorded() -> tuple[Case, ...]:
    """All cases, in the order of their topics."""
    topics = [msgspec.json.decode(path.read_bytes(), type=_Topic) for path in sorted(CASES.glob("*.json"))]
    return tuple(_played(topic.topic, case) for topic in topics for case in topic.cases)


def _played(topic: str, case: Case) -> Case:
    """A case as it is played: with patience only if actors have a part in it."""
    steps = case.steps if case.needs & ACTORS else tuple(msgspec.structs.replace(step, within=0) for step in case.steps)
    return msgspec.structs.replace(case, topic=topic, steps=steps)


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that was not answered as recorded."""

    step: str
    request: str
    differences: Sequence[Difference]

    def __str__(self) -> str:
        return "\n    ".join([f"step {self.step}: {self.request}", *map(str, self.differences)])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came. Seconds are counted from the request: to the last piece of the body, and to its end."""

    status: int
    headers: httpx.Headers
    body: bytes
    last_data: float = 0.0
    seconds: float = 0.0

    @property
    def value(self) -> Any:
        """The body, decoded if it looks like an object; None if it is empty."""
        if self.body.startswith(b"{"):
            try:
                return json.loads(self.body)
            except ValueError:
                pass
        return self.body.decode(errors="replace") if self.body else None


class Player:
    """Plays cases on one server. Threads may share it."""

    def __init__(self, client: httpx.Client, token: str) -> None:
        self._client = client
        self._token = token

    def play(self, case: Case) -> list[Failure]:
        """Where the server differs, by step; nothing if it answers as recorded."""
        run = "".join(random.choices("bcdfghjkmnpqrstvwxz", k=5))
        variables = {"run": run, "token": self._token, "ns": f"ref-{run}-{case.topic}"}
        self._ask(Request("POST", "/api/v1/namespaces", body={"metadata": {"name": "$ns"}}), variables).raise_for_status()
        try:
            return list(self._steps(case.steps, "", variables, Rules(managed_fields=case.managed_fields)))
        finally:
            for request in case.cleanup:
                self._ask(request, variables)

    def _steps(self, steps: Sequence[Step], prefix: str, variables: Variables, rules: Rules) -> Iterator[Failure]:
        for number, step in enumerate(steps, 1):
            yield from self._step(step, f"{prefix}{number}", variables, rules)

    def _step(self, step: Step, number: str, variables: Variables, rules: Rules) -> Iterator[Failure]:
        label = f"{step.request.method} {filled(step.request.path, variables)}"
        rules = Rules(step.response.match, rules.managed_fields)
        try:
            request = self._request(step.request, variables)
        except UnknownVariableError as error:
            yield Failure(number, label, [Difference("request", f"a value for {error}", "none from the steps before")])
            return
        failed: list[Failure] = []
        if step.response.events is None:
            answer = self._answer(request)
        else:
            answer = self._stream(request, lambda: failed.extend(self._steps(step.during, f"{number}.", variables, rules)))
        found = list(_checked(step.response, answer, dict(request.url.params), variables, rules))
        give_up = time.monotonic() + step.within
        while found and step.response.events is None and time.monotonic() < give_up:
            time.sleep(PAUSE)
            found = list(_checked(step.response, self._answer(request), dict(request.url.params), variables, rules))
        yield from failed
        if found:
            yield Failure(number, label, found)

    def _answer(self, request: httpx.Request) -> Answer:
        response = self._client.send(request)
        return Answer(response.status_code, response.headers, response.content)

    def _stream(self, request: httpx.Request, meanwhile: Callable[[], None]) -> Answer:
        """Reads until the server ends the stream. `meanwhile` runs from the moment on that its headers are here."""
        begun = time.monotonic()
        pieces: list[tuple[float, bytes]] = []
        response = self._client.send(request, stream=True)

        def read() -> None:
            pieces.extend((time.monotonic() - begun, piece) for piece in response.iter_raw())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            meanwhile()
            reader.join(_timeout(dict(request.url.params)) + STREAM_SLACK)
            ended = time.monotonic() - begun
        finally:
            response.close()
        body = b"".join(piece for _, piece in pieces)
        return Answer(response.status_code, response.headers, body, pieces[-1][0] if pieces else 0.0, ended)

    def _ask(self, request: Request, variables: Variables) -> httpx.Response:
        return self._client.send(self._request(request, variables))

    def _request(self, request: Request, variables: Variables) -> httpx.Request:
        """The request with its variables filled in, and with exactly the headers that it is to have."""
        content = _content(request, variables)
        headers: dict[str, str | None] = {
            "accept": "application/json",
            "user-agent": "reference/1",
            "authorization": f"Bearer {self._token}",
            "content-type": None if content is None else "application/json",
        }
        headers |= {name.lower(): value for name, value in filled(request.headers, variables, strict=True).items()}
        url = self._client.base_url.join(filled(request.path, variables, strict=True))
        sent = {name: value for name, value in headers.items() if value is not None}
        return httpx.Request(request.method, url, headers=sent, content=content)


def _content(request: Request, variables: Variables) -> bytes | None:
    if request.base64 is not None:
        return base64.b64decode(request.base64)
    body = filled(request.body, variables, strict=True)
    if body is None:
        return None
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return text.replace("<fill>", "x" * request.fill).encode()


def _checked(expected: Response, answer: Answer, query: dict[str, str], variables: Variables, rules: Rules) -> Iterator[Difference]:
    if expected.status != answer.status:
        yield Difference("status", str(expected.status), f"{answer.status} {shown(answer.value)}")
        return
    for name, value in expected.headers.items():
        several = value if isinstance(value, list) else [] if value is None else [value]
        yield from differences(several, answer.headers.get_list(name), variables, where=f"header {name}")
    if expected.events is not None:
        yield from _events(expected.events, answer, "allowWatchBookmarks" in query, variables, rules)
        yield from _end(expected, answer, _timeout(query))
    elif expected.body is not msgspec.UNSET:
        yield from differences(expected.body, answer.value, variables, rules)


def _events(
    recorded_events: list[dict[str, Any]], answer: Answer, bookmarks: bool, variables: Variables, rules: Rules
) -> Iterator[Difference]:
    """Plain bookmarks may come at any time where they are asked for; optional events need not come."""
    *lines, rest = answer.body.split(b"\n")
    if rest:
        yield Difference("stream", "a line feed after every event", shown(rest.decode(errors="replace")))
    got = [json.loads(line) for line in lines]
    expected = list(recorded_events)
    while expected or got:
        where = f"events[{len(recorded_events) - len(expected)}]"
        if got and _is_plain_bookmark(got[0]) and not (expected and _is_plain_bookmark(expected[0])):
            bookmark = got.pop(0)
            if not bookmarks:
                yield Difference(where, "no bookmark that nobody asked for", shown(bookmark))
        elif expected and expected[0].get("optional") and not (got and _is_plain_bookmark(got[0])):
            expected.pop(0)
        elif expected and got:
            event = {key: value for key, value in expected.pop(0).items() if key != "optional"}
            yield from differences(event, got.pop(0), variables, rules, where)
        else:
            yield Difference(where, *(shown(side.pop(0)) if side else "nothing" for side in (expected, got)))


def _end(expected: Response, answer: Answer, timeout: float) -> Iterator[Difference]:
    """Whether the stream ended when it should, and gave its events before."""
    if expected.ends == "error":
        if answer.seconds > timeout - 0.5:
            yield Difference("stream", "an end right after the error", f"one after {answer.seconds:.1f} s")
    elif not timeout - 0.5 <= answer.seconds <= timeout + 5:
        yield Difference("stream", f"an end after {timeout:.0f} s", f"one after {answer.seconds:.1f} s")
    elif answer.last_data > timeout - 0.2:
        yield Difference("stream", "events as they happen", "the last of them when the stream ended")


def _timeout(query: dict[str, str]) -> float:
    return float(query.get("timeoutSeconds", "0"))


def _is_plain_bookmark(event: dict[str, Any]) -> bool:
    return event.get("type") == "BOOKMARK" and "k8s.io/initial-events-end" not in json.dumps(event.get("object"))
