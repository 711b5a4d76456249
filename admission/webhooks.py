"""Webhooks: services outside of this server that are asked about writes, and may change or refuse them (AdmissionReview v1).

In which order, and what comes of their answers:

* Mutating webhooks are asked one after the other; each sees what those before made of the object. When one changes it, those before
  that want so (`reinvocationPolicy: IfNeeded`) are asked once more in the end.
* Validating webhooks are asked at the same time; of several refusals the first in order is told.
* A webhook that says no refuses, with its own code, reason and words.
* One that cannot be asked, or whose answer is none, refuses as well (500), unless its `failurePolicy` is Ignore: then it is as if
  it had not been configured, which the audit log tells. A condition that cannot be evaluated is a 403, or is passed over likewise.
* A patch that does not fit the object is a 500 whatever the policy: the webhook did answer, and what it wants is not known.
* All that are asked for one write have `total` seconds together, in each of the two steps.

Nobody is asked about webhook configurations: a bad one must be removable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import anyio
from msgspec.structs import replace

from admission import admission_review
from admission.admission_review import Denied, Verdict
from admission.conditions import OF_ACCOUNTS, ConditionError, access_of, seen_version, variables
from admission.identity import is_server
from admission.matching_rules import Address, Labels, subject_of
from admission.review import Authorizer, Review
from admission.webhook_index import Identifier, Webhook, WebhookIndex
from registry import metadata as meta
from registry.conversion import between
from registry.errors import ApiError, BadRequest, Cause, Forbidden, InternalError, details
from registry.kinds import Kind, Version, resource_name
from registry.patches import PatchError, json_patch
from registry.unasked import answered

Document = dict[str, Any]


class CallFailed(Exception):
    """A webhook could not be asked, or gave no answer that counts. The message says why, for whoever wrote the object."""


class NotCalled(CallFailed):
    """A webhook is not even called, since it has failed before, or has too much to do. That is told of it, and not of each call."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a webhook is asked. Asked again it is another question: it has another uid."""

    request: Document
    mutating: bool

    def body(self, uid: str) -> bytes:
        """The AdmissionReview."""
        return admission_review.body(self.request, uid)

    def verdict(self, raw: bytes, uid: str) -> Verdict:
        """What the answer to it says. Raises BadAnswer."""
        return admission_review.verdict(raw, uid, mutating=self.mutating)


class Caller(Protocol):
    """Connects with webhooks."""

    async def ask(self, webhook: Webhook, question: Question, seconds: float) -> Verdict:
        """The answer, within so many seconds. Raises CallFailed."""
        ...


class Scales(Protocol):
    """Shows an object as the Scale that a webhook is asked about, and takes the Scale back."""

    def shown(self, kind: Kind, document: Document) -> Document:
        """The Scale of an object."""
        ...

    def taken(self, kind: Kind, version: Version, document: Document, scale: Document) -> Document:
        """The object with the replicas of a Scale. Raises ApiError."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What matching has to know: the labels of a namespace, who may do what (for conditions), and how a Scale looks."""

    labels_of: Callable[[str], Labels | None]
    authorizer: Authorizer
    scales: Scales


class Log(Protocol):
    """Where it is told that a webhook was passed over."""

    def warning(self, event: str, /, **values: Any) -> object: ...


class WebhookAdmission:
    """Implements `admission.review.Admitter` for all webhooks of an index.

    About what the server itself writes nobody is asked: it has to be able to start while a webhook is away.
    """

    def __init__(
        self,
        index: WebhookIndex,
        caller: Caller,
        known: Known,
        log: Log,
        *,
        total: float = 30.0,
    ) -> None:
        self._index = index
        self._caller = caller
        self._known = known
        self._log = log
        self._total = total

    def concerns(self, review: Review[Document]) -> bool:
        """Whether a webhook could be asked."""
        if self._index.empty or is_server(review.identity):
            return False
        found = self._index.about(review)
        return bool(found.mutating or found.validating)

    async def mutate(self, review: Review[Document]) -> Document:
        """What the mutating webhooks make of the object. Raises Denied, InternalError, Forbidden, BadRequest."""
        webhooks = self._index.about(review).mutating
        if not webhooks:
            return review.new
        until = anyio.current_time() + self._total
        if review.again:  # somebody else changed it after them
            document, _ = await self._round(review, [webhook for webhook in webhooks if webhook.again], until, 1)
            return document
        document, again = await self._round(review, webhooks, until, 0)
        if again:
            once_more = [webhook for webhook in webhooks if webhook.id in again]
            document, _ = await self._round(replace(review, new=document), once_more, until, 1)
        return document

    async def _round(
        self, review: Review[Document], webhooks: Iterable[Webhook], until: float, number: int
    ) -> tuple[Document, frozenset[Identifier]]:
        """What came of asking them in order, and those that want to be asked again because of what others did after them."""
        asked: set[Identifier] = set()
        again: set[Identifier] = set()
        for at, webhook in enumerate(webhooks):
            made = await self._changed(review, webhook, until, f"round_{number}_index_{at}")
            if made is None:
                continue
            if made is not review.new:
                again |= asked
                review = replace(review, new=made)
            if webhook.again:
                asked.add(webhook.id)
        return review.new, frozenset(again)

    async def _changed(self, review: Review[Document], webhook: Webhook, until: float, where: str) -> Document | None:
        """What one webhook makes of the object, which may be the same; None when it has nothing to say about it."""
        view = await answered(partial(self._view, review, webhook))
        verdict = None if view is None else await self._asked(review, webhook, view, until, where)
        if view is None or verdict is None:
            return None
        _tell(review, webhook, verdict)
        if not verdict.allowed:
            raise Denied(webhook.id.name, verdict.status)
        made = review.new if verdict.patch is None else await answered(partial(view.patched, review, webhook, verdict))
        done = {"configuration": webhook.id.configuration, "webhook": webhook.id.name, "mutated": made is not review.new}
        review.note(f"mutation.webhook.admission.k8s.io/{where}", json.dumps(done))
        if made is not review.new:
            review.changed(f"webhook {webhook.id.name}", review.new, made)
        return made

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        """Asks the validating webhooks; on a delete the mutating ones before, who cannot change anything then. Raises ApiError."""
        until = anyio.current_time() + self._total
        found = self._index.about(review)
        if review.operation == "DELETE":
            await self._round(review, found.mutating, until, 0)
        outcomes: list[ApiError | None] = [None] * len(found.validating)

        async def one(at: int, webhook: Webhook) -> None:
            outcomes[at] = await self._refusal(review, webhook, until, f"round_0_index_{at}")

        async with anyio.create_task_group() as tasks:
            for at, webhook in enumerate(found.validating):
                tasks.start_soon(one, at, webhook)
        for refused in outcomes:
            if refused is not None:
                raise refused
        return ()

    async def _refusal(self, review: Review[Document], webhook: Webhook, until: float, where: str) -> ApiError | None:
        """Why a validating webhook does not want it; None: it does, or it has nothing to say about it."""
        try:
            view = await answered(partial(self._view, review, webhook))
            verdict = None if view is None else await self._asked(review, webhook, view, until, where)
        except ApiError as error:
            return error
        if verdict is None:
            return None
        _tell(review, webhook, verdict)
        return None if verdict.allowed else Denied(webhook.id.name, verdict.status)

    def _view(self, review: Review[Document], webhook: Webhook) -> _View | None:
        """The object as the webhook is to see it; None: it is not meant. Raises Forbidden when its conditions cannot tell."""
        if review.kind is None or review.version is None:
            return None
        address = webhook.constraints.match(subject_of(review, self._known.labels_of))
        if address is None:
            return None
        view = _View(review.kind, seen_version(review.kind, review.version, address), self._known.scales)
        if webhook.conditions and not self._holds(review, webhook, address, view):
            return None
        return view

    def _holds(self, review: Review[Document], webhook: Webhook, address: Address, view: _View) -> bool:
        """Whether its conditions do."""
        seen = variables(review, address, access_of(self._known.authorizer, review.identity))
        if review.subresource == "scale":
            seen |= {name: None if seen[name] is None else view.seen(review, seen[name]) for name in ("object", "oldObject")}
        try:
            return webhook.conditions.hold(seen)
        except ConditionError as error:
            if not webhook.fails:
                self._log.warning("a webhook was passed over", **webhook.id._asdict(), why=str(error))
                return False
            group = address.group
            resource = resource_name(view.kind.plural, group)
            message = f'{resource} "{review.name}" is forbidden: match conditions of webhook "{webhook.id.name}": {error}'
            raise Forbidden(message, details=details(name=review.name, group=group, kind=view.kind.plural)) from error

    async def _asked(self, review: Review[Document], webhook: Webhook, view: _View, until: float, where: str) -> Verdict | None:
        """The answer; None: it was passed over. Raises InternalError when it must not be."""
        if review.dry_run and not webhook.dry:
            raise BadRequest(f'admission webhook "{webhook.id.name}" does not support dry run')
        question = await answered(partial(view.question, review, webhook))
        seconds = min(webhook.seconds, until - anyio.current_time())
        try:
            if seconds <= 0:
                raise CallFailed(f"the webhooks of this request took more than {self._total:g} seconds together")
            return await self._caller.ask(webhook, question, seconds)
        except CallFailed as failed:
            said = f'failed calling webhook "{webhook.id.name}": {failed}'
            if webhook.fails:
                raise InternalError(f"Internal error occurred: {said}", details=details(causes=[Cause("", said)])) from failed
            if not isinstance(failed, NotCalled):
                self._log.warning("a webhook was passed over", **webhook.id._asdict(), why=str(failed))
            step = "mutation" if webhook.mutating else "validating"
            done = {"configuration": webhook.id.configuration, "webhook": webhook.id.name}
            review.note(f"failed-open.{step}.webhook.admission.k8s.io/{where}", json.dumps(done))
            return None


@dataclass(frozen=True, slots=True)
class _View:
    """The object as a webhook sees it: in the version of its rule, or as a Scale."""

    kind: Kind
    version: Version
    scales: Scales

    def question(self, review: Review[Document], webhook: Webhook) -> Question:
        """What the webhook is asked."""
        new = None if review.operation == "DELETE" else self.seen(review, review.new)
        old = None if review.old is None else self.seen(review, review.old)
        asked = admission_review.question(review, self.version, new, old)
        return Question(asked, webhook.mutating)

    def seen(self, review: Review[Document], document: Document) -> Document:
        """A document of the request, as the webhook sees it."""
        if review.subresource == "scale":
            return self.scales.shown(self.kind, document)
        conversion = between(review.version or self.version, self.version)
        return document if conversion is None else conversion.there(document)

    def patched(self, review: Review[Document], webhook: Webhook, verdict: Verdict) -> Document:
        """The object of the review after the patch, with its defaults; the same one if nothing changed. Raises InternalError."""
        if review.operation == "DELETE":
            name = webhook.id.name
            message = f'admission webhook "{name}" attempted to modify the object, which is not supported for this operation'
            raise InternalError(f"Internal error occurred: {message}")
        seen = self.seen(review, review.new)
        try:
            made = json_patch(seen, verdict.patch or ())
            return review.new if made == seen else self._taken(review, made)
        except PatchError as error:
            raise _unfit(webhook, error.why) from error
        except ApiError as error:
            raise _unfit(webhook, error.message) from error
        except ValueError as error:
            raise _unfit(webhook, str(error)) from error

    def _taken(self, review: Review[Document], made: Document) -> Document:
        """What a webhook made, in the version of the request. Raises ValueError, ApiError for what is no such object."""
        asked = review.version or self.version
        if review.subresource == "scale":
            return self.scales.taken(self.kind, asked, review.new, made)
        metadata = meta.read(made.get("metadata"), self.kind.name).metadata
        if review.subresource == OF_ACCOUNTS:
            return {**made, "metadata": metadata}
        rest = {key: value for key, value in made.items() if key != "metadata"}
        outcome = self.version.schema.apply(rest | {"apiVersion": self.version.api_version, "kind": self.version.kind})
        if outcome.unreadable:
            raise ValueError(outcome.unreadable)
        document = {**outcome.document, "metadata": metadata}
        conversion = between(asked, self.version)
        return document if conversion is None else conversion.back(document)


def _unfit(webhook: Webhook, why: str) -> InternalError:
    said = f'the patch of webhook "{webhook.id.name}" cannot be applied: {why}'
    return InternalError(f"Internal error occurred: {said}", details=details(causes=[Cause("", said)]))


def _tell(review: Review[Document], webhook: Webhook, verdict: Verdict) -> None:
    """Passes on what a webhook says besides yes or no."""
    for warning in verdict.warnings:
        review.warn(warning)
    annotations: Mapping[str, str] = verdict.annotations
    for key, value in annotations.items():
        review.note(f"{webhook.id.name}/{key}", value)
