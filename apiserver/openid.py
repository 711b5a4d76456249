"""What others need to check tokens of service accounts by themselves, at the paths and in the form of kube-apiserver."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from admission.token_keys import KeySource

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"

Document = tuple[bytes, str]
"""A body and its media type."""


def documents(issuer: str, base: str, keys: KeySource) -> Mapping[str, Callable[[], Document]]:
    """The documents by their paths. `base` is the URL below which others reach this server."""
    configuration = msgspec.json.encode(
        {
            "issuer": issuer,
            "jwks_uri": base.rstrip("/") + KEYS,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
    )
    return {
        CONFIGURATION: lambda: (configuration, "application/json"),
        KEYS: lambda: (keys.latest().public(), "application/jwk-set+json"),
    }
