"""Actors: what runs when objects change. This is what somebody who writes one imports."""

from actors.actor import Again, Done, Outcome, Run, Terminal
from actors.children import NotTheOwnerError
from actors.client import BlockingClient, Client, Listed, Op, Preconditions, WatchEvent
from actors.workqueue import Wake
from registry.declarations import Observation, Place

__all__ = [
    "Again",
    "BlockingClient",
    "Client",
    "Done",
    "Listed",
    "NotTheOwnerError",
    "Observation",
    "Op",
    "Outcome",
    "Place",
    "Preconditions",
    "Run",
    "Terminal",
    "Wake",
    "WatchEvent",
]
