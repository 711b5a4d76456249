"""What the API says when it refuses: one class per reason of the Kubernetes API conventions ("Response Status Kind").

    ApiError                    status code, reason, message, details
    ├── BadRequest              400  what was sent cannot be read, or does not fit the address
    ├── Unauthorized            401  no credentials, or none that hold
    ├── Forbidden               403  who is asking may not
    ├── NotFound                404  no such object, or no such path
    ├── MethodNotAllowed        405  the resource does not know the verb
    ├── NotAcceptable           406  none of the forms that the client accepts can be made
    ├── RequestTimeout          408  the rest of a request did not come
    ├── AlreadyExists           409  the name is taken
    ├── ConflictError           409  the object is not at the revision that the write was decided on
    ├── ExpiredError            410  history does not reach back so far
    ├── TooLarge                413  body, or number of patch operations
    ├── UnsupportedMediaType    415  body in a form that is not read
    ├── Invalid                 422  what was read breaks rules: every broken rule is a cause with its field
    ├── TooManyRequests         429  later
    ├── InternalError           500  ours to mend
    ├── ServerTimeout           500  the store did not take it; nothing was written
    ├── ServiceUnavailable      503  starting or stopping
    └── Timeout                 504  the wait was in vain

An error is raised where it is known and becomes a `Status` in one place (`ApiError.status`). Anything else that is raised is a
bug of ours, answered as InternalError without its insides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

import msgspec


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """One broken rule: a machine-readable reason, a sentence, and the path of the field (`spec.items[0].name`)."""

    reason: str
    message: str = ""
    field: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class ApiError(Exception):
    """Base of all refusals. `details` is the `details` object of the Status; `headers` go out with it."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = ""

    def __init__(self, message: str, *, details: dict[str, Any] | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = tuple(headers)
        self.metadata: dict[str, Any] = {}
        self.warnings: tuple[str, ...] = ()

    def status(self) -> dict[str, Any]:
        """The Status object, as clients know it."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


class BadRequest(ApiError):
    """400: what was sent cannot be read, or does not fit the address."""

    code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    """401: no credentials, or none that hold. Says nothing more: the caller is nobody yet.

    `why` is for those who may know: the answer of a TokenReview, and logs. It never holds a credential.
    """

    code = 401
    reason = "Unauthorized"

    def __init__(self, why: str = "") -> None:
        super().__init__("Unauthorized")
        self.why = why


class Forbidden(ApiError):
    """403: who is asking may not."""

    code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    """404: no such object, or no such path."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """405: the resource does not know the verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    """406: none of the forms that the client accepts can be made."""

    code = 406
    reason = "NotAcceptable"


class RequestTimeout(ApiError):
    """408: the client did not send all of its request in time (RFC 9110, section 15.5.9)."""

    code = 408
    reason = "Timeout"


class AlreadyExists(ApiError):
    """409: the name is taken."""

    code = 409
    reason = "AlreadyExists"


class ConflictError(ApiError):
    """409: the object is not at the revision, or does not have the uid, that the write was decided on."""

    code = 409
    reason = "Conflict"


class ExpiredError(ApiError):
    """410: history does not reach back so far."""

    code = 410
    reason = "Expired"


class TooLarge(ApiError):
    """413: a body, or a list of patch operations, over its limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """415: a body in a form that is not read here."""

    code = 415
    reason = "UnsupportedMediaType"


CAUSES_TOLD = 1_000
"""Causes that one answer lists. A body can break a rule for every few of its bytes; the answer would be a hundred times as long."""


class Invalid(ApiError):
    """422: what was read breaks rules. Every broken rule is a cause, up to `CAUSES_TOLD`; the message lists them all."""

    code = 422
    reason = "Invalid"

    def __init__(self, kind: str, group: str, name: str, causes: Iterable[Cause]) -> None:
        self.causes = tuple(islice(causes, CAUSES_TOLD))
        qualified = f"{kind}.{group}" if group else kind
        said = list(dict.fromkeys(str(cause) for cause in self.causes))
        listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
        super().__init__(
            f'{qualified} "{name}" is invalid: {listed}',
            details=details(name=name, group=group, kind=kind, causes=self.causes),
        )


class TooManyRequests(ApiError):
    """429: later. Carries Retry-After, since nothing was done."""

    code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    """500: ours to mend. The insides are in the log, not in the answer."""

    code = 500
    reason = "InternalError"


class ServerTimeout(ApiError):
    """500: the store did not take it. Retry-After is set only when it is certain that nothing was written."""

    code = 500
    reason = "ServerTimeout"


class ServiceUnavailable(ApiError):
    """503: starting or stopping."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(ApiError):
    """504: the wait was in vain."""

    code = 504
    reason = "Timeout"


def from_status(status: Mapping[str, Any]) -> ApiError:
    """The refusal that a Status of another server tells, with its own words. What is not known here keeps its place in the table:
    a 5xx is an InternalError, anything else a BadRequest."""
    code, reason = status.get("code"), status.get("reason")
    message = str(status.get("message") or reason or f"refused with {code}")
    said = status.get("details")
    about = dict(said) if isinstance(said, Mapping) else None
    kinds = [kind for kind in ApiError.__subclasses__() if kind.code == code and kind.__module__ == __name__]
    kind = next((each for each in kinds if each.reason == reason), kinds[0] if len(kinds) == 1 else None)
    if kind is Unauthorized:
        return Unauthorized()
    if kind is Invalid:
        return _told_invalid(message, about or {})
    if kind is None:
        kind = InternalError if not isinstance(code, int) or code >= 500 else BadRequest
    return kind(message, details=about)


def _told_invalid(message: str, about: dict[str, Any]) -> Invalid:
    causes = [
        Cause(*(str(each.get(key) or "") for key in ("reason", "message", "field")))
        for each in about.get("causes") or ()
        if isinstance(each, Mapping)
    ]
    kind, group, name = (str(about.get(key) or "") for key in ("kind", "group", "name"))
    error = Invalid(kind, group, name, causes)
    error.message, error.details, error.args = message, about, (message,)
    return error


def details(*, name: str = "", group: str = "", kind: str = "", uid: str = "", causes: Iterable[Cause] = ()) -> dict[str, Any]:
    """The `details` of a Status; what is empty is left out, a cause that is there twice is said once."""
    body: dict[str, Any] = {key: value for key, value in (("name", name), ("group", group), ("kind", kind), ("uid", uid)) if value}
    listed = list(dict.fromkeys(causes))
    if listed:
        body["causes"] = [msgspec.to_builtins(cause) for cause in listed]
    return body


# Causes of a 422, in the words of the Kubernetes API (its field errors).


LONGEST_SHOWN = 10_000
"""Characters of a value, or of what is said about it, that a cause shows. A long text can break a thousand rules, and a rule with a
long text can be broken a thousand times."""


def shown(value: Any) -> str:
    """A value as a cause shows it: JSON for scalars; objects and lists are left out, since they say nothing that the path does
    not."""
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        value = value[:LONGEST_SHOWN]
        return msgspec.json.encode(value).decode() + "..."
    return bounded(msgspec.json.encode(value).decode())


def bounded(text: str) -> str:
    """A text of which a cause shows as much as it may."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def required(field: str, detail: str = "") -> Cause:
    """A field that must be there is not."""
    return Cause("FieldValueRequired", f"Required value: {detail}" if detail else "Required value", field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """A value breaks a rule."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {bounded(detail)}", field)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """A value is of the wrong type; `value` is what is shown of it."""
    return Cause("FieldValueTypeInvalid", f"Invalid value: {shown(value)}: {bounded(detail)}", field)


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    """A value is none of those that are known."""
    values, length = [], 0
    for item in supported:
        if length > LONGEST_SHOWN:
            values.append("...")
            break
        values.append(shown(item))
        length += len(values[-1])
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {', '.join(values)}", field)


def duplicate(field: str, value: Any) -> Cause:
    """A value is there twice where it may be there once."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field)


def forbidden(field: str, detail: str) -> Cause:
    """A field may not be set, or not be changed, here."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def too_long(field: str, limit: int) -> Cause:
    """A text is longer than `limit` bytes."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def too_many(field: str, count: int, limit: int) -> Cause:
    """A list has more items than `limit`."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} items", field)
