"""AdmissionReview (admission.k8s.io/v1): what a webhook is asked, and what its answer says. Pure.

What an answer is held to: it is an AdmissionReview of this version, about this very question; a patch comes with its type, and
never from a validating webhook. Anything else is `BadAnswer`, which is the webhook's failure and not a refusal. Texts of an answer
are bounded, and cannot break a header or a log.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from admission.conditions import request_of
from admission.review import Review
from registry.errors import ApiError
from registry.kinds import Version
from registry.patches import Operation, parse_json_patch

Document = dict[str, Any]

API_VERSION = "admission.k8s.io/v1"
SHOWN = {
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"},
}
"""Subresources that are asked about as objects of another kind."""
WARNINGS, LONGEST_WARNING = 16, 256
ANNOTATIONS = 32


class BadAnswer(Exception):
    """An answer is none that a webhook may give."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook says. `patch` is None where there is none."""

    allowed: bool
    status: Mapping[str, Any]
    patch: tuple[Operation, ...] | None = None
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def question(review: Review[Document], version: Version, new: Document | None, old: Document | None) -> Document:
    """The `request` of an AdmissionReview, but for its uid. The objects are in `version`, or are Scales."""
    request = {**request_of(review, version), "object": new, "oldObject": old}
    if review.subresource in SHOWN:
        shown = SHOWN[review.subresource]
        request |= {"kind": shown, "requestKind": shown}
    if review.kind is not None and review.kind.resource == "namespaces":
        request["namespace"] = review.name  # as Kubernetes has it
    return request


def body(request: Document, uid: str) -> bytes:
    """The bytes of an AdmissionReview with a question."""
    return msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": API_VERSION, "request": {"uid": uid, **request}})


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    allowed: bool = False
    patch: str | None = None
    patch_type: str | None = None
    warnings: list[str] | None = None
    audit_annotations: dict[str, str] | None = None
    status: dict[str, Any] | None = None


class _Answer(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    response: _Response | None = None


_read = msgspec.json.Decoder(_Answer).decode


def verdict(raw: bytes, uid: str, *, mutating: bool) -> Verdict:
    """What the bytes of an answer say. Raises BadAnswer."""
    try:
        answer = _read(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"it cannot be read as an AdmissionReview: {error}") from None
    response = answer.response
    if response is None:
        raise BadAnswer("webhook response was absent")
    if response.uid != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got {_shown(response.uid)}')
    if (answer.kind, answer.api_version) != ("AdmissionReview", API_VERSION):
        got = f"{_shown(answer.api_version)}, Kind={_shown(answer.kind)}"
        raise BadAnswer(f"expected webhook response of {API_VERSION}, Kind=AdmissionReview, got {got}")
    return Verdict(
        response.allowed,
        response.status or {},
        _patch(response, mutating=mutating),
        tuple(clean(text, LONGEST_WARNING) for text in (response.warnings or ())[:WARNINGS]),
        dict(list((response.audit_annotations or {}).items())[:ANNOTATIONS]),
    )


def _patch(response: _Response, *, mutating: bool) -> tuple[Operation, ...] | None:
    if not mutating:
        if response.patch:
            raise BadAnswer("validating webhook may not return response.patch")
        if response.patch_type is not None:
            raise BadAnswer("validating webhook may not return response.patchType")
        return None
    if not response.patch:
        if response.patch_type is not None:
            raise BadAnswer("webhook returned response.patchType but not response.patch")
        return None
    if response.patch_type is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if response.patch_type != "JSONPatch":
        raise BadAnswer(f"webhook returned invalid response.patchType of {_shown(response.patch_type)}")
    try:
        return parse_json_patch(b64decode(response.patch, validate=True))
    except (binascii.Error, ValueError):
        raise BadAnswer("response.patch is not base64") from None
    except ApiError as error:
        raise BadAnswer(f"response.patch cannot be read: {error.message}") from None


class Denied(ApiError):
    """A webhook said no: code, reason and details are its own, as far as they can be those of a refusal."""

    def __init__(self, webhook: str, status: Mapping[str, Any]) -> None:
        denied = f'admission webhook "{webhook}" denied the request'
        message, reason, told = status.get("message"), status.get("reason"), status.get("details")
        said = message if isinstance(message, str) and message else reason
        said = f"{denied}: {said}" if isinstance(said, str) and said else f"{denied} without explanation"
        super().__init__(said, details=dict(told) if isinstance(told, Mapping) else None)
        code = status.get("code")
        self.__dict__["code"] = code if type(code) is int and 400 <= code <= 599 else 400
        self.__dict__["reason"] = clean(reason, LONGEST_WARNING) if isinstance(reason, str) else ""


def clean(text: str, longest: int) -> str:
    """A text of a stranger on one line, not too long."""
    return "".join(char if char.isprintable() else " " for char in text[:longest])


def _shown(text: str) -> str:
    return f'"{clean(text, 64)}"'
