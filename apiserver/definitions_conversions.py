"""Who converts the objects of defined kinds: the webhooks that definitions name."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from apiserver.conversion_webhooks import ConversionWebhooks
from apiserver.definitions import Definitions
from registry.custom.conversion import Call
from registry.custom.definition import Definition


class Conversions:
    """The webhooks of all definitions: those that are there, and no others."""

    def __init__(self, webhooks: ConversionWebhooks) -> None:
        self._webhooks = webhooks

    def call_of(self, definition: Definition) -> Call | None:
        """See `registry.custom.kinds.CallOf`. Raises ValueError for a webhook that cannot be asked."""
        webhook = definition.conversion.webhook
        if definition.conversion.strategy != "Webhook" or not bytes(webhook):
            self._webhooks.forget(definition.name)
            return None
        try:
            return self._webhooks.call(definition.name, msgspec.json.decode(webhook))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its conversion webhook cannot be asked: {error}") from error

    def follow(self, definitions: Definitions) -> None:
        """Forgets the webhooks of definitions that go."""

        def told(names: Iterable[str]) -> None:
            for name in names:
                if definitions.find(name) is None:
                    self._webhooks.forget(name)

        definitions.listen(told)
