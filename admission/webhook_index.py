"""Webhooks as they are asked: configurations that are read once, when they are stored, in the order in which they are asked.

What it promises: mutating webhooks by the name of their configuration, then as they stand in it. Which of them could be about a
kind, an operation and a subresource is looked up, not searched; the answer is remembered until a configuration changes.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from admission.conditions import Conditions
from admission.matching_rules import Constraints, exempt
from admission.review import Review
from registry.kinds import Kind

Document = dict[str, Any]

SIGNED_BY = "skep.dev/signing-secret"
"""The annotation of a configuration that names the Secret its requests are signed with, as NAMESPACE/NAME."""


class Service(NamedTuple):
    """A service that a webhook is reached by."""

    namespace: str
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a webhook is. `authorities` are PEM certificates; empty: those of the system."""

    url: str
    service: Service | None
    authorities: bytes = b""


class Identifier(NamedTuple):
    """A webhook's name in full. `type` is `mutating` or `validating`, as Kubernetes' metrics have it."""

    type: str
    configuration: str
    name: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """An entry of a configuration. `fails`: what it cannot be asked about is refused. `again`: asked once more when others changed
    the object after it. `signed_by`: see `SIGNED_BY`; empty: the server's own secret, if it has one."""

    id: Identifier
    endpoint: Endpoint
    constraints: Constraints
    conditions: Conditions
    fails: bool
    again: bool
    dry: bool
    seconds: float
    signed_by: str = ""

    @property
    def url(self) -> str:
        """What it is asked at: it is told how long it has."""
        return f"{self.endpoint.url}?timeout={max(1, round(self.seconds))}s"

    @property
    def mutating(self) -> bool:
        """Whether it may change the object."""
        return self.id.type == "mutating"


class Found(NamedTuple):
    """The webhooks that could be asked about a kind of request."""

    mutating: tuple[Webhook, ...]
    validating: tuple[Webhook, ...]


NOBODY = Found((), ())
REMEMBERED = 4_096
"""Kinds of requests of which it is remembered whom they concern."""


class WebhookIndex:
    """All webhooks that are configured."""

    def __init__(self) -> None:
        self._configurations: dict[tuple[str, str], tuple[Webhook, ...]] = {}
        self._remembered: dict[tuple[int, str, str, str], tuple[Kind, Found]] = {}

    def put(self, type: str, document: Document) -> None:
        """A configuration is there, new or changed."""
        key = (type, document["metadata"]["name"])
        self._remembered.clear()
        self._configurations[key] = tuple(self._compiled(type, document))

    def remove(self, type: str, name: str) -> None:
        """A configuration is gone."""
        self._remembered.clear()
        self._configurations.pop((type, name), None)

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._configurations

    def webhooks(self) -> Iterator[Webhook]:
        """All of them, in the order in which they are asked."""
        for key in sorted(self._configurations):
            yield from self._configurations[key]

    def about(self, review: Review[Any]) -> Found:
        """Who could be asked, as far as can be told without the object."""
        kind, version = review.kind, review.path_version
        if not self._configurations or kind is None or version is None or exempt(kind):
            return NOBODY
        key = (id(kind), version.name, review.operation, review.subresource)
        remembered = self._remembered.get(key)
        if remembered is not None and remembered[0] is kind:
            return remembered[1]
        found = [each for each in self.webhooks() if each.constraints.about(review.operation, kind, version, review.subresource)]
        answer = Found(tuple(w for w in found if w.mutating), tuple(w for w in found if not w.mutating))
        if len(self._remembered) >= REMEMBERED:  # kinds that are not there any more among them
            self._remembered.clear()
        self._remembered[key] = (kind, answer)
        return answer

    @staticmethod
    def _compiled(type: str, document: Document) -> Iterator[Webhook]:
        metadata = document["metadata"]
        for webhook in document.get("webhooks") or ():
            yield Webhook(
                id=Identifier(type, metadata["name"], webhook["name"]),
                endpoint=endpoint_of(webhook["clientConfig"]),
                constraints=Constraints.of_webhook(webhook),
                conditions=Conditions.of(webhook.get("matchConditions")),
                fails=webhook.get("failurePolicy", "Fail") != "Ignore",
                again=webhook.get("reinvocationPolicy", "Never") == "IfNeeded",
                dry=webhook.get("sideEffects") in ("None", "NoneOnDryRun"),
                seconds=float(webhook.get("timeoutSeconds", 10)),
                signed_by=(metadata.get("annotations") or {}).get(SIGNED_BY, ""),
            )


def endpoint_of(config: Mapping[str, Any]) -> Endpoint:
    """Where a `clientConfig` says that a webhook is."""
    authorities = b64decode(config.get("caBundle") or "")
    service = config.get("service")
    if service is None:
        return Endpoint(config["url"], None, authorities)
    named = Service(service["namespace"], service["name"], service.get("port", 443))
    path = (service.get("path") or "/").removeprefix("/")
    return Endpoint(f"https://{named.name}.{named.namespace}.svc:{named.port}/{path}", named, authorities)
