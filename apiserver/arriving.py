"""The first thing that happens to a request: who it is from is found out, and paid for."""

from __future__ import annotations

from admission.identity import Authenticator, Credentials
from apiserver.answers import Exchange
from apiserver.flow import Flow
from registry.errors import Unauthorized


async def meet(exchange: Exchange, credentials: Credentials, authenticator: Authenticator, flow: Flow) -> None:
    """Notes who asks, and what every answer is to tell. A credential that does not hold is paid for by its address. Raises
    Unauthorized, TooManyRequests."""
    try:
        exchange.identity = await authenticator.authenticate(credentials)
    except Unauthorized:
        _, exchange.limits = flow.admit(None, credentials.address, exchange.path)
        raise
    exchange.caller, exchange.limits = flow.admit(exchange.identity, credentials.address, exchange.path)
