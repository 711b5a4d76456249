"""Tests for people who write actors: a real server in process, a virtual clock, faults by request, and the order of things by seed.

Import it as `actors.testing`. `docs/testing-actors.md` says how it is used.
"""

from apiserver.testing.activity import Ran, Written
from apiserver.testing.crashes import every_crash
from apiserver.testing.faults import Killed
from apiserver.testing.fixtures import fixture
from apiserver.testing.logs import Line
from apiserver.testing.order import seeds
from apiserver.testing.server import Said, Server, serving
from apiserver.testing.settling import Restless

__all__ = ["Killed", "Line", "Ran", "Restless", "Said", "Server", "Written", "every_crash", "fixture", "seeds", "serving"]
