"""Whose a bearer token is, whatever kind of token: for those who were handed one and may ask (TokenReview)."""

from __future__ import annotations

from collections.abc import Sequence

from admission.identity import Authenticator, Credentials, Identity
from admission.service_tokens import ServiceTokens
from registry.errors import Unauthorized


class TokenReviews:
    """Implements `TokenReviewer`. A token of a service account says for whom it was made; any other kind that `others` know is for
    this server, and for nobody else."""

    def __init__(self, accounts: ServiceTokens, others: Sequence[Authenticator]) -> None:
        self._accounts = accounts
        self._others = tuple(others)

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[Identity, tuple[str, ...]]:
        """See `TokenReviewer`."""
        try:
            raw = token.encode("ascii")
        except UnicodeEncodeError:
            raise Unauthorized("invalid bearer token") from None
        if self._accounts.issued(raw):
            return await self._accounts.review(token, audiences)
        mine = self._accounts.audiences
        meant = tuple(each for each in audiences if each in mine) if audiences else mine
        shown = Credentials({b"authorization": b"Bearer " + raw})
        for authenticator in self._others:
            identity = await authenticator.authenticate(shown)
            if identity is not None:
                if not meant:
                    raise Unauthorized(f"the token is for the audiences {list(mine)}, not for {list(audiences)}")
                return identity, meant
        raise Unauthorized("invalid bearer token")
