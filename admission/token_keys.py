"""The keys that sign service-account tokens: EC keys on the curve P-256 (ES256), as a text of PEM blocks.

The first key signs, all of them verify: so a new one is put in front, and the one before stays until its tokens are gone. A key is
named by its thumbprint (RFC 7638). A public key verifies and cannot sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

MOST = 8
"""Keys in one ring. Two are enough for any rotation; more are a mistake, and each is tried by who reads the public ones."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----\n.*?-----END \1-----", re.DOTALL)
_KEYS = ("EC PRIVATE KEY", "PRIVATE KEY", "PUBLIC KEY")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by name; the first signs."""

    keys: tuple[ECKey, ...] = field(repr=False)
    by_name: dict[str, ECKey] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {key.thumbprint(): key for key in self.keys})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys; the first is that of the one which signs."""
        return tuple(self.by_name)

    @property
    def signing(self) -> ECKey:
        """The key that signs."""
        return self.keys[0]

    def find(self, name: str) -> ECKey | None:
        """The key of a name."""
        return self.by_name.get(name)

    def public(self) -> bytes:
        """The public keys, as a JSON Web Key Set (RFC 7517)."""
        keys = [
            {"use": "sig", "kty": "EC", "kid": name, "crv": "P-256", "alg": "ES256", "x": shown["x"], "y": shown["y"]}
            for name, key in self.by_name.items()
            for shown in (key.as_dict(private=False),)
        ]
        return msgspec.json.encode({"keys": keys})


class KeySource(Protocol):
    """Where the keys come from. They can change at any time."""

    def current(self) -> KeyRing:
        """The keys as they were not long ago. Cheap: it is asked for every token."""
        ...

    def latest(self) -> KeyRing:
        """The keys as they are now: asked for a token that names an unknown key."""
        ...


def ring(text: str) -> KeyRing:
    """The keys in a text of PEM blocks. ValueError says which of them cannot be used, and why, and never shows any of it."""
    keys: list[ECKey] = []
    for number, block in enumerate(_BLOCK.finditer(text), 1):
        if block[1] == "EC PARAMETERS":
            continue
        if block[1] not in _KEYS:
            raise ValueError(f"block {number} is no key without a pass phrase: {block[1]!r}")
        try:
            key = ECKey.import_key(block[0])
            fits = key.curve_name == "P-256"
        except (JoseError, ValueError, TypeError):
            fits = False
        if not fits:
            raise ValueError(f"block {number} is no EC key on the curve P-256")
        keys.append(key)
    if not keys:
        raise ValueError("there is no key in it")
    if len(keys) > MOST:
        raise ValueError(f"there are {len(keys)} keys in it; at most {MOST} make sense")
    if not keys[0].is_private:
        raise ValueError("the first key signs, and this one is public: put a private key in front")
    return KeyRing(tuple(keys))


def new_key() -> ECKey:
    """A new private key."""
    return ECKey.generate_key("P-256")


def rotated(before: KeyRing | None) -> KeyRing:
    """The ring with a new key in front. Of those that were there the one that signed stays; all others are dropped."""
    return KeyRing((new_key(), *(before.keys[:1] if before is not None else ())))


def text_of(keys: Sequence[ECKey]) -> str:
    """The keys as a text that `ring` reads."""
    return "".join(key.as_pem(private=key.is_private).decode() for key in keys)
