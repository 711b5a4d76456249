"""The first thing that happens to a request: who it is from is found out, and paid for."""

from __future__ import annotations

from admission.authentication import AuthenticatorChain
from admission.identity import NOBODY
from apiserver.answers import Exchange
from apiserver.flow import Flow
from registry.errors import TooManyRequests, Unauthorized


async def meet(exchange: Exchange, authenticator: AuthenticatorChain, flow: Flow) -> None:
    """Notes who asks, and what every answer is to tell. Whoever is nobody, or shows what does not hold, is paid for by the address.
    Raises Unauthorized, TooManyRequests."""
    address = exchange.credentials.address
    try:
        exchange.identity = await authenticator.authenticate(exchange.credentials)
    except (Unauthorized, TooManyRequests):  # the second: of logins that failed, there were too many
        _, exchange.limits = flow.admit(None, address, exchange.path)
        raise
    payer = None if exchange.identity is NOBODY else exchange.identity
    exchange.caller, exchange.limits = flow.admit(payer, address, exchange.path)
