"""Service accounts as the server itself goes by them: what tokens are bound to, and requests for tokens (`.../token`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from admission.jwt import LONGEST
from admission.service_tokens import Bound, Reference, ServiceTokens
from apiserver import intake, refusals
from apiserver.calls import Answer, Call, Document
from apiserver.manager import Admit
from apiserver.options import write_options
from apiserver.stored import is_deleting
from apiserver.target import Target
from registry.builtin import SECRET, SERVICE_ACCOUNT
from registry.builtin.common import builtin, printer, version
from registry.catalog import Registry
from registry.errors import BadRequest, Cause, ConflictError, Invalid, details, invalid
from registry.kinds import as_is
from registry.resource import Meta, Object, Struct
from registry.times import format_time
from storage.store import Key, Record, Store, StoreError

GROUP = "authentication.k8s.io"
SHORTEST = 600
LARGEST = 2**32
HOUR = 3600


class BoundObjectReference(Struct):
    """BoundObjectReference names the object that a token is bound to."""

    kind: Annotated[str | None, Meta(description="Secret.")] = None
    api_version: Annotated[str | None, Meta(description="v1.")] = None
    name: Annotated[str | None, Meta(description="The name of the object.")] = None
    uid: Annotated[str | None, Meta(description="Its uid, if another one of this name will not do.")] = None


class TokenRequestSpec(Struct):
    """TokenRequestSpec says what token is wanted."""

    audiences: Annotated[list[str] | None, Meta(description="Whom the token is for; without any, this server.")] = None
    expiration_seconds: Annotated[int | None, Meta(description="For how long it is to be good; an hour unless it is said.")] = None
    bound_object_ref: Annotated[
        BoundObjectReference | None, Meta(description="A Secret that the token is bound to: when that goes, the token is dead.")
    ] = None


class TokenRequestStatus(Struct):
    """TokenRequestStatus is the token."""

    token: Annotated[str | None, Meta(description="The token.")] = None
    expiration_timestamp: Annotated[str | None, Meta(description="When it expires.")] = None


class TokenRequest(Object):
    """TokenRequest asks for a token of a service account."""

    spec: TokenRequestSpec | None = None
    status: TokenRequestStatus | None = None


TOKEN_REQUEST = builtin(
    "TokenRequest",
    "tokenrequests",
    (version(TokenRequest, GROUP, "v1", "TokenRequest", printer([], lambda document, _: [])),),
    prepare=as_is,
    verbs=("create",),
)
"""How a TokenRequest is read. It is never stored, and has no path of its own."""


class StoredAccounts:
    """Implements `admission.service_tokens.Accounts`: looks into the memory of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._going: dict[str, tuple[int, bool]] = {}  # whether it is being deleted, by the revision that this was read at

    def account(self, namespace: str, name: str) -> str | None:
        """The uid of an account."""
        return self._uid(Key(SERVICE_ACCOUNT.resource, namespace, name))

    def secret(self, namespace: str, name: str) -> str | None:
        """The uid of a Secret."""
        return self._uid(Key(SECRET.resource, namespace, name))

    async def caught_up(self) -> None:
        """Returns when this process has seen what was committed before; at once, when the database does not answer."""
        try:
            await self._store.synced()
        except StoreError:
            return

    def _uid(self, key: Key) -> str | None:
        record = self._store.get(key)
        return None if record is None or self._is_going(record) else record.uid

    def _is_going(self, record: Record) -> bool:
        """Whether it waits for its finalizers. Its bytes are looked at once for each revision."""
        known = self._going.get(record.uid)
        if known is None or known[0] != record.revision:
            if len(self._going) >= 4_096:
                self._going.clear()
            known = self._going[record.uid] = (record.revision, is_deleting(record))
        return known[1]


class TokenRequests:
    """Answers `POST .../serviceaccounts/NAME/token`. `most_seconds` is the longest that a token is good for."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        tokens: ServiceTokens,
        now: Callable[[], float],
        *,
        most_seconds: int,
    ) -> None:
        self._registry = registry
        self._store = store
        self._tokens = tokens
        self._now = now
        self._most = most_seconds

    async def create(self, call: Call, admit: Admit) -> Answer:
        """A token for the account. Raises NotFound, BadRequest, Invalid, ConflictError, and whatever policies and webhooks refuse
        with: they see what is asked for, and not the token. They may take their time, so the account is looked for after it."""
        target, options = call.target, write_options(call.query, "CreateOptions")
        asked = Target(TOKEN_REQUEST, TOKEN_REQUEST.storage, target.namespace, target.name)
        taken = await intake.received(self._registry, asked, call.body, call.content_type, options)
        for warning in taken.warnings:
            call.warn(warning)
        _check_names(target, taken.document["metadata"])
        named = {**taken.document["metadata"], "name": target.name, "namespace": target.namespace}
        wanted = {"expirationSeconds": HOUR, **(taken.document.get("spec") or {})}
        admitted = await admit(call, options, asked, {**taken.document, "metadata": named, "spec": wanted})
        metadata, spec = admitted["metadata"], admitted.get("spec") or {}
        account = self._found(target, target)
        if metadata.get("uid") not in (None, "", account.uid):
            raise _other_uid(target, "ServiceAccount", target.name, metadata["uid"])
        seconds = _seconds(spec)
        audiences = spec.get("audiences") or list(self._tokens.audiences)
        reference = spec.get("boundObjectRef")
        secret = None if reference is None else self._secret(target, reference)
        if seconds > self._most:
            call.warn(f"requested expiration of {seconds} seconds shortened to {self._most} seconds")
            seconds = self._most
        document = {
            "kind": "TokenRequest",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {
                **{key: value for key, value in metadata.items() if key in ("labels", "annotations")},
                "name": target.name,
                "namespace": target.namespace,
                "uid": account.uid,
                "creationTimestamp": format_time(self._now()),
            },
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference},
            "status": {"token": "", "expirationTimestamp": format_time(self._now() + seconds)},
        }
        if not options.dry_run:
            bound = Bound(target.namespace or "", Reference(target.name, account.uid), secret)
            document["status"] = self._status(bound, audiences, seconds)
        return Answer(201, document=document)

    def _status(self, bound: Bound, audiences: list[str], seconds: int) -> Document:
        issued = self._tokens.issue(bound, audiences, seconds)
        if len(issued.token) > LONGEST:
            too_long = f"the token would be longer than {LONGEST} bytes, and nobody takes such a token"
            raise Invalid("TokenRequest", GROUP, "", [Cause("FieldValueTooLong", f"Too long: {too_long}", "spec.audiences")])
        return {"token": issued.token, "expirationTimestamp": format_time(issued.expires)}

    def _found(self, about: Target, target: Target) -> Record:
        record = self._store.get(Key(target.kind.resource, target.namespace or "", target.name))
        if record is None:
            raise refusals.not_found(target)
        if is_deleting(record):
            raise refusals.forbidden(
                about, about.name, f"{target.kind.name} {target.name} is being deleted: no token is made for it"
            )
        return record

    def _secret(self, target: Target, reference: dict[str, Any]) -> Reference:
        """The Secret that a token is to be bound to."""
        api_version, kind, name = (reference.get(field) or "" for field in ("apiVersion", "kind", "name"))
        if (api_version, kind) != ("v1", "Secret"):
            group, _, short = api_version.rpartition("/")
            raise BadRequest(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
        found = self._found(target, Target(SECRET, SECRET.storage, target.namespace, name))
        if reference.get("uid") not in (None, "", found.uid):
            raise _other_uid(target, kind, name, reference["uid"])
        return Reference(name, found.uid)


def _check_names(target: Target, metadata: Document) -> None:
    """The name and namespace in a body are those of the path, or are not there."""
    causes = [
        invalid(f"metadata.{field}", metadata[field], f"must match the service account {field} if specified")
        for field, wanted in (("name", target.name), ("namespace", target.namespace))
        if metadata.get(field) not in (None, "", wanted)
    ]
    if causes:
        raise Invalid("TokenRequest", GROUP, target.name, causes)


def _seconds(spec: Document) -> int:
    """For how long the token is to be good. Raises Invalid."""
    asked = spec.get("expirationSeconds")
    seconds: int = HOUR if asked is None else asked
    field = "spec.expirationSeconds"
    if seconds < SHORTEST:
        raise Invalid("TokenRequest", GROUP, "", [invalid(field, seconds, "may not specify a duration less than 10 minutes")])
    if seconds > LARGEST:
        raise Invalid("TokenRequest", GROUP, "", [invalid(field, seconds, "may not specify a duration larger than 2^32 seconds")])
    return seconds


def _other_uid(target: Target, kind: str, name: str, sent: str) -> ConflictError:
    why = (
        f"the UID in the token request ({sent}) does not match the UID in record. "
        "The object might have been deleted and then recreated"
    )
    message = f'Operation cannot be fulfilled on {kind} "{name}": {why}'
    return ConflictError(message, details=details(name=name, kind=kind))
