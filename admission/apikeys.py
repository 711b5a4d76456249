"""API keys: what they look like, and who is behind one.

A key is `skep_live_` (or `skep_test_`), 32 letters and digits of chance (190 bits), and 6 of a checksum. The prefix lets scanners
of source code find a key that was left somewhere; the checksum tells a key from a text that looks like one, without asking anybody.

What it promises: a key is in nobody's memory but for the request that shows it; here are digests. A digest is looked up by its
SHA-256, so the time of the lookup tells nothing of the key. A key that is forgotten, or over, is refused from that moment on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from zlib import crc32

from admission.identity import CREDENTIAL_ID, Credentials, Identity, authenticated
from admission.tokens import bearer
from registry.errors import Unauthorized

LIVE = "skep_live_"
TEST = "skep_test_"
HEADER = b"x-api-key"
CHANCE = 32
"""Letters and digits of a key that are left to chance."""
SHOWN = 4
"""How many of them are shown, in logs and lists."""
RESOLUTION = 60.0
"""Seconds between two uses of a key that are told apart."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKED = 6
_LENGTH = len(LIVE) + CHANCE + _CHECKED
_KEY = re.compile(rb"skep_(?:live|test)_[0-9A-Za-z]{38}").fullmatch
_OURS = b"skep_"
_INSIDE = re.compile(rb"(skep_(?:live|test)_[0-9A-Za-z]{4})([0-9A-Za-z]+)")


def make_key(choice: Callable[[str], str], *, test: bool = False) -> str:
    """A new key. `choice` picks a letter, as `secrets.choice` does."""
    text = (TEST if test else LIVE) + "".join(choice(_ALPHABET) for _ in range(CHANCE))
    return text + _checksum(text.encode())


def hint_of(key: str) -> str:
    """What may be shown of a key: its prefix and four letters."""
    return key[: len(LIVE) + SHOWN]


def digest_of(key: str) -> str:
    """What is stored of a key: its SHA-256, in hex. The key has 190 bits of chance, so a slow hash would add nothing."""
    return sha256(key.encode()).hexdigest()


def without_keys(data: bytes) -> bytes:
    """The same number of bytes, with stars for what of keys is not shown. For what is answered, whose insides clients sent."""
    return _INSIDE.sub(lambda found: found[1] + b"*" * len(found[2]), data) if _OURS in data else data


def attempted(credentials: Credentials) -> str:
    """What may be shown of the key of a request that was refused; empty if it has none that looks like one."""
    headers = credentials.headers
    shown = headers.get(HEADER) or bearer(headers.get(b"authorization")) or b""
    return shown[: len(LIVE) + SHOWN].decode() if _KEY(shown) else ""


def is_key(text: bytes) -> bool:
    """Whether it has the form of a key, and its checksum is right."""
    return len(text) == _LENGTH and _KEY(text) is not None and _checksum(text[:-_CHECKED]).encode() == text[-_CHECKED:]


def _checksum(text: bytes) -> str:
    number, digits = crc32(text), ""
    for _ in range(_CHECKED):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key. `digest` is in hex; `expires` in seconds since 1970, None: never. `name` is that of its object."""

    name: str
    digest: str
    hint: str
    user: str
    groups: tuple[str, ...] = ()
    expires: float | None = None


class _Known:
    """A key as it is kept: what is asked of it for each request is here, ready."""

    __slots__ = ("digest", "expires", "hint", "identity", "key", "used")

    def __init__(self, key: ApiKey, used: float) -> None:
        self.key = key
        self.digest = bytes.fromhex(key.digest)
        self.hint = key.hint.encode()
        self.expires = key.expires
        self.identity = authenticated(Identity(key.user, groups=key.groups, extra=((CREDENTIAL_ID, (key.hint,)),)))
        self.used = used


class ApiKeys:
    """An authenticator over the keys that it was told of. `now` is the time in seconds since 1970.

    `test`: whether keys that begin with `skep_test_` are taken. `used` is called with a name and a time when a key was good, at
    most once in `RESOLUTION` seconds for each.
    """

    def __init__(
        self, now: Callable[[], float], *, test: bool = True, used: Callable[[str, float], None] = lambda _name, _time: None
    ) -> None:
        self._now = now
        self._test = test
        self._used = used
        self._by_digest: dict[bytes, _Known] = {}
        self._by_name: dict[str, _Known] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def learn(self, key: ApiKey) -> bool:
        """There is a key, or another state of one; whether anything is new. Of two with one digest, the first is the one that
        counts."""
        before = self._by_name.get(key.name)
        if before is not None and before.key == key:
            return False
        self.forget(key.name)
        known = _Known(key, before.used if before is not None else 0.0)
        if self._by_digest.setdefault(known.digest, known) is known:
            self._by_name[key.name] = known
        return True

    def forget(self, name: str) -> bool:
        """A key is revoked; whether it was known."""
        known = self._by_name.pop(name, None)
        if known is not None:
            del self._by_digest[known.digest]
        return known is not None

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Who is behind the key in `Authorization: Bearer` or `X-API-Key`.

        None: there is no key. Raises Unauthorized: it is none, is not known, or is over.
        """
        headers = credentials.headers
        key = headers.get(HEADER)
        if key is None:
            key = bearer(headers.get(b"authorization"))
            if key is None or not key.startswith(_OURS):
                return None
        known = self._find(key)
        if known is None:
            raise Unauthorized
        now = self._now()
        if known.expires is not None and known.expires <= now:
            raise Unauthorized
        if now - known.used >= RESOLUTION:
            known.used = now
            self._used(known.key.name, now)
        return known.identity

    def _find(self, key: bytes) -> _Known | None:
        """The key, if it is known, and begins as its object says: logs name it by that."""
        if len(key) != _LENGTH or not (self._test or key.startswith(LIVE.encode())):
            return None
        digest = sha256(key).digest()
        known = self._by_digest.get(digest)
        return known if known is not None and compare_digest(known.digest, digest) and key.startswith(known.hint) else None
