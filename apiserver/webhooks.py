"""Webhooks, wired: configurations are followed in the store, questions go out over HTTPS, answers count in admission.

webhooks = Webhooks(store, settings.webhooks, log, ...)
make_manager(..., admitters=[webhooks.admitter])
...
await webhooks.aclose()
"""

from __future__ import annotations

import re
import ssl
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from admission.matching_rules import Labels
from admission.review import Authorizer
from admission.signing import SHORTEST
from admission.webhook_index import Webhook, WebhookIndex
from admission.webhooks import Known, WebhookAdmission
from apiserver import scaling, sections
from apiserver.config import StartError
from apiserver.conversion_webhooks import ConversionWebhooks
from apiserver.following import follow
from apiserver.outbound import Networks, Place
from apiserver.stored import document_of
from apiserver.webhook_calls import Bounds, Callee, Means, Unready, View, Ways, WebhookCalls
from registry.builtin.webhooks import MUTATING, VALIDATING
from registry.kinds import Document, Kind, Version
from storage.sql import SqlStore
from storage.store import Key, Record

SECRET_TYPE = "skep.dev/webhook-signing"  # noqa: S105  the name of a type
"""The type of a Secret that requests may be signed with: nobody can have others' secrets tried out by naming them."""
SECRET_KEYS = ("secret", "previous")
"""What is looked for in such a Secret. Requests are signed with both, if both are there."""


class Log(Protocol):
    """Where it is told what went wrong with webhooks."""

    def warning(self, event: str, /, **values: Any) -> object: ...
    def error(self, event: str, /, **values: Any) -> object: ...


class Webhooks:
    """All webhooks of a server. Raises StartError for settings that do not hold."""

    def __init__(
        self,
        store: SqlStore,
        settings: sections.Webhooks,
        log: Log,
        means: Means,
    ) -> None:
        self._store = store
        self._index = WebhookIndex()
        self._own = server_secrets(settings)
        bounds = Bounds(
            concurrency=settings.concurrency,
            queue=settings.queue,
            failures=settings.breaker_failures,
            open_seconds=settings.breaker_seconds,
            answer_bytes=settings.answer_bytes,
        )
        reached = ways(settings)
        self._calls = WebhookCalls(reached, bounds, self._secrets, means, log)
        self.conversions = ConversionWebhooks(WebhookCalls(reached, bounds, self._secrets, means, log, forgiving=True))
        self._total = settings.total_seconds
        self._log = log
        for kind, of in ((MUTATING, "mutating"), (VALIDATING, "validating")):
            follow(store, kind.resource, _Configurations(of, self._index, self._calls, log))

    def admitter(self, authorizer: Authorizer) -> WebhookAdmission:
        """Who asks them about writes. Their conditions may ask the authorizer."""
        known = Known(self._labels, authorizer, Scales())
        return WebhookAdmission(self._index, self._calls, known, self._log, total=self._total)

    def webhooks(self) -> Sequence[Webhook]:
        """All that are configured, in the order in which they are asked."""
        return tuple(self._index.webhooks())

    def views(self) -> list[View]:
        """How the webhooks stand that were called."""
        return [*self._calls.views(), *self.conversions.views()]

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._calls.aclose()
        await self.conversions.aclose()

    def _labels(self, namespace: str) -> Labels | None:
        record = self._store.get(Key("namespaces", "", namespace))
        return None if record is None else _read_labels(record.desired).metadata.labels

    def _secrets(self, webhook: Callee) -> Sequence[bytes]:
        if not webhook.signed_by:
            return self._own
        namespace, _, name = webhook.signed_by.partition("/")
        record = self._store.get(Key("secrets", namespace, name))
        document = {} if record is None else document_of(record)
        if document.get("type") != SECRET_TYPE:
            raise Unready(f'secret "{namespace}/{name}", to sign its requests with, is not there or not of the type {SECRET_TYPE}')
        data = document.get("data") or {}
        found = [b64decode(data[key]) for key in SECRET_KEYS if key in data]
        if not found or any(len(secret) < SHORTEST for secret in found):
            said = f"one of {' and '.join(SECRET_KEYS)} at least, each with {SHORTEST} bytes or more"
            raise Unready(f'secret "{namespace}/{name}", to sign its requests with, has to have {said}')
        return found


class _Configurations:
    """Follows the configurations of one type."""

    def __init__(self, type: str, index: WebhookIndex, calls: WebhookCalls, log: Log) -> None:
        self._type = type
        self._index = index
        self._calls = calls
        self._log = log

    def put(self, record: Record) -> None:
        """A configuration is there, or is another than it was. One that cannot be read is what it was before: what it had refused
        does not pass because of that."""
        try:
            self._index.put(self._type, document_of(record))
        except Exception as error:  # what is stored has been checked: this is a bug, and must not stop the store
            self._log.error("a webhook configuration cannot be read", configuration=record.key.name, exc_info=error)
        self._calls.retain(self._index.webhooks())

    def remove(self, record: Record) -> None:
        """A configuration is gone."""
        self._index.remove(self._type, record.key.name)
        self._calls.retain(self._index.webhooks())


class Scales:
    """Implements `admission.webhooks.Scales`."""

    def shown(self, kind: Kind, document: Document) -> Document:
        """The Scale of an object."""
        return scaling.scale_of(kind, document)

    def taken(self, kind: Kind, version: Version, document: Document, scale: Document) -> Document:
        """The object with the replicas of a Scale. Raises Invalid."""
        return scaling.rescaled(kind, version, document, scaling.patched(lambda _: scale, scale))


class _Labelled(msgspec.Struct):
    labels: dict[str, str] = {}


class _Namespace(msgspec.Struct):
    metadata: _Labelled


_read_labels = msgspec.json.Decoder(_Namespace).decode

_SERVICE = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)=(?:\[([0-9a-fA-F:]+)\]|([^:\[\]\s=/]+))(?::([0-9]{1,5}))?").fullmatch


def ways(settings: sections.Webhooks) -> Ways:
    """How webhooks are reached, as the settings say. Raises StartError."""
    try:
        networks = Networks(settings.allow)
    except ValueError as error:
        raise StartError(f"webhooks.allow: {error}", "networks are written as 10.1.0.0/16 or fd00::/8", exit_code=2) from None
    services = {}
    for line in settings.services:
        found = _SERVICE(line)
        if found is None or int(found[5] or 1) not in range(1, 65536):
            raise StartError(f"webhooks.services: {line!r} is not NAME.NAMESPACE=HOST or NAME.NAMESPACE=HOST:PORT", exit_code=2)
        services[found[1], found[2]] = Place(found[3] or found[4], int(found[5]) if found[5] else None)
    certificate = None
    if settings.client_cert is not None and settings.client_key is not None:
        for path in (settings.client_cert, settings.client_key):
            _read(path, "webhooks.client_cert, webhooks.client_key")
        certificate = (str(settings.client_cert), str(settings.client_key))
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*certificate, password="")
        except ssl.SSLError as error:
            raise StartError(f"webhooks.client_cert, webhooks.client_key: no certificate and its key: {error}") from None
    return Ways(networks, services, certificate)


def server_secrets(settings: sections.Webhooks) -> Sequence[bytes]:
    """What requests are signed with when their configuration names no Secret. Raises StartError."""
    paths = (("signing_secret", settings.signing_secret), ("signing_secret_previous", settings.signing_secret_previous))
    found = [(name, _read(path, f"webhooks.{name}").strip()) for name, path in paths if path is not None]
    for name, secret in found:
        if len(secret) < SHORTEST:
            raise StartError(f"webhooks.{name}: the file has fewer than {SHORTEST} bytes", "openssl rand -hex 32 makes one")
    return [secret for _, secret in found]


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"{setting}: {path}: {error.strerror}") from None
