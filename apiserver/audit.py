"""The audit log: who did what, when, from where, why it was allowed, what admission made of it, and what came of it.

One JSON line for each stage of a request that the policy asks for, with the field names of an Event of `audit.k8s.io/v1`. A request
is followed by its `Followed`: from the socket (`Auditor.open`), or, for those of the server's own actors, by `AuditedManager`. Here
it is only noted; lines are made and written in the thread of `apiserver.audit_file`.

Never in it: headers but User-Agent, bodies that hold credentials, fields that a model marks (`apiserver.audit_secrets`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from admission.identity import Identity
from admission.review import Decision
from apiserver.answers import Exchange, Message, Send, Trail
from apiserver.audit_file import Counts, Writer
from apiserver.audit_policy import Asked, Level, Policy
from apiserver.audit_secrets import LONGEST, Body, Secrets, is_secret
from apiserver.calls import Answer, Call, Kept
from apiserver.logs import CREDENTIALS, SECRET_TEXTS
from apiserver.manager import Manager
from apiserver.negotiation import JSON
from apiserver.prepare import uuid4
from apiserver.stored import in_version
from apiserver.target import Target
from registry.errors import ApiError

Document = dict[str, Any]

HEADER = b"audit-id"
SANE_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")
"""What a client may call its request."""
LONGEST_TEXT = 2_048
"""Characters of a path or a header that are told."""
ENTRY = 1_024
"""Bytes that an event without bodies takes while it waits, about."""
LEFT_OUT = "audit.skep.dev/left-out"
"""Annotations that say why a body is not there begin with this."""
HERE = "skep (in process)"
"""The user agent of the server's own actors."""


class Auditor:
    """Follows requests. `now` is the time in seconds since 1970; `chance` makes ids."""

    def __init__(self, policy: Policy, writer: Writer, *, now: Callable[[], float], chance: random.Random) -> None:
        self.policy = policy
        self._writer = writer
        self.secrets = Secrets()
        self.now = now
        self._chance = chance

    @property
    def counts(self) -> Counts:
        """What became of events so far."""
        return self._writer.counts

    def open(self, exchange: Exchange, address: str, query: bytes, send: Send) -> Send:
        """Follows a request from the socket. What it is answered with goes through what is returned."""
        given = exchange.headers.get(HEADER, b"")
        sane = SANE_ID.fullmatch(given)
        trail = Followed(self, given.decode() if sane else uuid4(self._chance), exchange, address)
        trail.uri = exchange.path + (f"?{query.decode('latin-1')}" if query else "")
        exchange.trail = trail
        return partial(trail.send, send)

    def inside(self, call: Call) -> Followed:
        """Follows a request from this process."""
        exchange = Exchange("", _path_of(call.target), {b"user-agent": HERE.encode()}, call.identity)
        exchange.verb, exchange.target = call.verb, call.target
        trail = Followed(self, uuid4(self._chance), exchange, "")
        trail.uri = exchange.path
        trail.judge()
        trail.follow(call)
        return trail

    def write(self, event: Document, target: Target | None, request: Body | None, response: Body | None) -> None:
        """Hands an event to the thread that writes it."""
        size = ENTRY + sum(len(body.data) for body in (request, response) if body is not None)
        self._writer.put(partial(_line, self.secrets, event, target, request, response), size)

    def lost(self, error: Exception) -> None:
        """An event could not be made."""
        self._writer.put(partial(_raise, error), ENTRY)


class Followed(Trail):
    """One request, as far as the policy asks for it."""

    def __init__(self, auditor: Auditor, audit_id: str, exchange: Exchange, address: str) -> None:
        self.id = audit_id
        self.uri = ""
        self._auditor = auditor
        self._exchange = exchange
        self._address = address
        self._received = auditor.now()
        self._level = Level.NONE
        self._omit: frozenset[str] = frozenset()
        self._judged = False
        self._who: Identity | None = None
        self._call: Call | None = None
        self._decision: Decision | None = None
        self._answer: Answer | None = None
        self._refusal: ApiError | None = None
        self._panicked = False
        self._media = ""
        self._body: list[bytes] | None = None  # what is answered, as far as it is wanted
        self._size = 0

    def judge(self) -> None:
        """It is known who asks for what: from here on the policy is known, too."""
        exchange = self._exchange
        self._judged, self._who = True, exchange.behind or exchange.identity
        self._level, self._omit = self._auditor.policy.judge(_asked(exchange, self._who))
        if self._level is Level.REQUEST_RESPONSE:
            self._body = []
        self._tell("RequestReceived")

    def decided(self, decision: Decision) -> None:
        """Whether what is no call of the manager (a page) may be asked for."""
        self._decision = decision

    def follow(self, call: Call) -> None:
        """The request has become a call of the manager."""
        self._call, call.kept = call, Kept()

    def started(self) -> None:
        """An answer that does not end has begun."""
        self._body = None
        self._tell("ResponseStarted")

    def answered(self, answer: Answer) -> None:
        """What the call came to."""
        self._answer = answer

    def refused(self, error: ApiError, *, panicked: bool = False) -> None:
        """Why the request was refused; `panicked`: nobody expected that."""
        self._refusal, self._panicked = error, panicked

    def complete(self) -> None:
        """The request is over."""
        if not self._judged:
            self.judge()
        self._tell("Panic" if self._panicked else "ResponseComplete")

    async def send(self, send: Send, message: Message) -> None:
        """Sends a part of the answer, with the id of the request, and keeps what is to be told of it."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            self._media = next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
            message = {**message, "headers": [*headers, (HEADER, self.id.encode())]}
        elif self._body is not None:
            part = message.get("body", b"")
            self._size += len(part)
            if self._size <= LONGEST:
                self._body.append(bytes(part))
        await send(message)

    def _tell(self, stage: str) -> None:
        if self._level is Level.NONE or stage in self._omit:
            return
        try:
            self._write(stage)
        except Exception as error:  # what cannot be told must not cost the request: it is counted, and the log has it
            self._auditor.lost(error)

    def _write(self, stage: str) -> None:
        exchange, over = self._exchange, stage in ("ResponseComplete", "Panic")
        event = self._event(stage)
        request = response = None
        if over or stage == "ResponseStarted":
            event["responseStatus"] = self._status()
            event["annotations"] = self._annotations()
        if over and self._level >= Level.REQUEST:
            request, response = self._sent(), self._answered(event)
        self._auditor.write(event, exchange.target, request, response)

    def _sent(self) -> Body | None:
        call = self._call
        if call is None or not call.body:
            return None
        if isinstance(call.body, bytes):
            return Body(call.body, call.content_type or JSON, patch=call.verb == "patch")
        return Body(msgspec.json.encode(call.body), patch=call.verb == "patch")

    def _answered(self, event: Document) -> Body | None:
        if self._body is None:
            return None
        if self._size > LONGEST:
            event["annotations"][f"{LEFT_OUT}-response"] = f"it has {self._size} bytes, and no more than {LONGEST} are told"
            return None
        if self._body:
            return Body(b"".join(self._body), self._media)
        if self._call is None or self._answer is None or self._answer.record is None:
            return None
        return Body(msgspec.json.encode(in_version(self._call.target.version, self._answer.record)))  # asked in this process

    def _event(self, stage: str) -> Document:
        exchange = self._exchange
        event: Document = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self._level.wire,
            "auditID": self.id,
            "stage": stage,
            "requestURI": self.uri[:LONGEST_TEXT],
            "verb": exchange.verb or exchange.method.lower(),
            "user": _user(self._who),
        }
        if exchange.behind is not None:
            event["impersonatedUser"] = _user(exchange.identity)
        if self._address:
            event["sourceIPs"] = [self._address]
        agent = exchange.headers.get(b"user-agent", b"").decode("latin-1")
        if agent:
            event["userAgent"] = agent[:LONGEST_TEXT]
        if exchange.target is not None:
            event["objectRef"] = self._object(exchange.target)
        event["requestReceivedTimestamp"] = _micro_time(self._received)
        event["stageTimestamp"] = _micro_time(self._auditor.now())
        return event

    def _object(self, target: Target) -> Document:
        record = self._answer.record if self._answer is not None else None
        said = {
            "resource": target.kind.plural,
            "namespace": target.namespace or (record.key.namespace if record is not None else ""),
            "name": target.name or (record.key.name if record is not None else ""),
            "uid": record.uid if record is not None else "",
            "apiGroup": target.version.group,
            "apiVersion": target.version.name,
            "resourceVersion": str(record.revision) if record is not None and record.revision else "",
            "subresource": target.subresource,
        }
        return {key: value for key, value in said.items() if value}

    def _status(self) -> Document:
        status: Document = {"metadata": {}, "code": self._exchange.status}
        error = self._refusal
        if error is None:
            return status
        quoted = self._auditor.secrets.quoted(self._exchange.target)
        said = {"status": "Failure", "reason": error.reason, "message": "" if quoted else error.message[:LONGEST_TEXT]}
        return {**status, **{key: value for key, value in said.items() if value}}

    def _annotations(self) -> Document:
        call, said = self._call, {}
        decision = self._decision if call is None else call.decision
        if decision is not None:
            said["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
            said["authorization.k8s.io/reason"] = decision.reason
        if call is None or call.kept is None:
            return said
        secret = is_secret(self._exchange.target)
        for place, (by, changes) in enumerate(call.kept.changes):
            change = {"by": by} if secret else {"by": by, "patch": changes}
            said[f"mutation.admission.skep.dev/{place}"] = msgspec.json.encode(change).decode()
        return {**call.kept.notes, **said}

    def close(self, code: int) -> None:
        """The request is over; it was not answered through a socket."""
        self._exchange.status = code
        self.complete()


class AuditedManager(Manager):
    """A manager whose calls are all followed: those from the socket are already, and bring what is `kept` of them."""

    def __init__(self, auditor: Auditor, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._auditor = auditor

    async def handle(self, call: Call) -> Answer:
        """Carries out any call but a watch. Raises ApiError."""
        if call.kept is not None:
            return await super().handle(call)
        trail = self._auditor.inside(call)
        try:
            answer = await super().handle(call)
        except ApiError as error:
            trail.refused(error)
            trail.close(error.code)
            raise
        except BaseException:
            trail.close(0)
            raise
        trail.answered(answer)
        trail.close(answer.code)
        return answer


def _asked(exchange: Exchange, who: Identity | None) -> Asked:
    user, groups = (who.username, who.groups) if who is not None else ("", ())
    target, verb = exchange.target, exchange.verb or exchange.method.lower()
    if target is None:
        return Asked(user, groups, verb, path=exchange.path)
    return Asked(
        user,
        groups,
        verb,
        target.version.group,
        target.kind.plural,
        target.subresource,
        target.namespace or "",
        target.name,
    )


def _user(identity: Identity | None) -> Document:
    if identity is None:
        return {}
    said: Document = {"username": identity.username}
    if identity.uid:
        said["uid"] = identity.uid
    if identity.groups:
        said["groups"] = list(identity.groups)
    if identity.extra:
        said["extra"] = {key: list(values) for key, values in identity.extra}
    return said


def _path_of(target: Target) -> str:
    """Where an object is on the wire."""
    head = f"/apis/{target.version.group}" if target.version.group else "/api"
    within = f"/namespaces/{target.namespace}" if target.namespace else ""
    below = "".join(f"/{part}" for part in (target.name, target.subresource) if part)
    return f"{head}/{target.version.name}{within}/{target.kind.plural}{below}"


def _micro_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _raise(error: Exception) -> bytes:
    raise error


def _line(secrets: Secrets, event: Document, target: Target | None, request: Body | None, response: Body | None) -> bytes:
    """The line of an event, with its line break. Called in the thread that writes it."""
    for pattern, instead in SECRET_TEXTS:
        event["requestURI"] = pattern.sub(instead, event["requestURI"])
    for name, body in (("request", request), ("response", response)):
        if body is None:
            continue
        value, why = secrets.told(body, target)
        if why:
            event.setdefault("annotations", {})[f"{LEFT_OUT}-{name}"] = why
        else:
            event[f"{name}Object"] = value
    try:
        line = msgspec.json.encode(event)
    except UnicodeEncodeError:  # half a surrogate pair, from bytes that were no text
        line = json.dumps(event).encode()
    if b"skep_" in line or b"eyJ" in line:  # wherever it is: in a name, in a message that repeats it, in an object
        text = line.decode()
        for pattern, instead in CREDENTIALS:
            text = pattern.sub(instead, text)
        line = text.encode()
    return line + b"\n"
