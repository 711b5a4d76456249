"""Webhooks that convert the objects of a kind (ConversionReview, apiextensions.k8s.io/v1).

    conversions = ConversionWebhooks(calls)                    `Webhooks.conversions` of a server
    call = conversions.call("widgets.example.com", spec["conversion"]["webhook"])
    ways = webhook_ways("Widget", schemas, call)               see `registry.custom.conversion`

They are called as admission webhooks are (`apiserver.webhook_calls`): the same addresses are refused, certificates are checked by
the same rules, each has a line and a circuit breaker of its own, and answers are bounded. What cannot be read, and what is no
answer to the question, is as if the webhook had refused: maybe it is due to one of the objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from admission.admission_review import BadAnswer
from admission.webhook_index import Endpoint, Identifier, endpoint_of
from admission.webhooks import CallFailed
from apiserver.webhook_calls import Spoilt, View, WebhookCalls
from registry.custom.conversion import LONGEST, Call, NoAnswer, Refused

Document = dict[str, Any]

API_VERSION = "apiextensions.k8s.io/v1"
SECONDS = 30.0
"""How long a call may take."""
PREFIXES = ("failed to call webhook: ", "received invalid webhook response: ")

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Converter:
    """A conversion webhook. Implements `apiserver.webhook_calls.Callee`."""

    id: Identifier
    endpoint: Endpoint
    signed_by: str = ""

    @property
    def url(self) -> str:
        """What it is asked at."""
        return self.endpoint.url


@dataclass(frozen=True, slots=True)
class Conversions:
    """A question: documents, as JSON, and the version that they are wanted in."""

    documents: Sequence[bytes]
    target: str

    def body(self, uid: str) -> bytes:
        """The ConversionReview."""
        request = {"uid": uid, "desiredAPIVersion": self.target, "objects": [msgspec.Raw(each) for each in self.documents]}
        return _encode({"kind": "ConversionReview", "apiVersion": API_VERSION, "request": request})

    def verdict(self, raw: bytes, uid: str) -> Sequence[Any] | Refused:
        """The objects of the answer, or that it did not convert. Raises BadAnswer."""
        try:
            review = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer("it is no JSON") from error
        if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != (API_VERSION, "ConversionReview"):
            raise BadAnswer(f"expected webhook response of {API_VERSION}, Kind=ConversionReview")
        response = review.get("response")
        if not isinstance(response, dict):
            raise BadAnswer("no response provided")
        if response.get("uid") != uid:
            raise BadAnswer(f'expected response.uid="{uid}"')
        result = response.get("result")
        result = result if isinstance(result, dict) else {}
        if result.get("status") != "Success":
            return _refused(result)
        objects = response.get("convertedObjects")
        return objects if isinstance(objects, list) else ()


def _refused(result: Document) -> Refused:
    status, message = result.get("status"), result.get("message")
    if isinstance(message, str) and message:
        return Refused(f"failed: {_bounded(message)}")
    said = status if isinstance(status, str) else ""
    return Refused(f"failed: response.result.status was '{_bounded(said)}', not 'Success'")


def _bounded(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text[:LONGEST])


class ConversionWebhooks:
    """All that a server knows. It has to be closed."""

    def __init__(self, calls: WebhookCalls, seconds: float = SECONDS) -> None:
        self._calls = calls
        self._seconds = seconds
        self._known: dict[str, Converter] = {}

    def call(self, definition: str, webhook: Mapping[str, Any], signed_by: str = "") -> Call:
        """How objects are converted by the webhook of a definition: `spec.conversion.webhook`, with its `clientConfig`. From now on
        it is the one of this definition."""
        named = Identifier("conversion", definition, "conversion")
        converter = self._known[definition] = Converter(named, endpoint_of(webhook["clientConfig"]), signed_by)

        async def call(documents: Sequence[bytes], target: str) -> Sequence[Any]:
            newest = self._known.get(definition, converter)  # whoever began to watch under an older definition asks it as well
            try:
                found = await self._calls.ask(newest, Conversions(documents, target), self._seconds)
            except Spoilt as spoilt:
                raise Refused(f"failed: {_plain(spoilt)}") from spoilt
            except CallFailed as failed:
                raise NoAnswer(_plain(failed)) from failed
            if isinstance(found, Refused):
                raise found
            return found

        return call

    def forget(self, definition: str) -> None:
        """The definition is gone, or has no webhook any more."""
        if self._known.pop(definition, None) is not None:
            self._calls.retain(self._known.values())

    def views(self) -> list[View]:
        """How those stand that were called."""
        return self._calls.views()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._calls.aclose()


def _plain(failed: CallFailed) -> str:
    """What went wrong, without what it is called for admission."""
    text = str(failed)
    return next((text.removeprefix(prefix) for prefix in PREFIXES if text.startswith(prefix)), text)
