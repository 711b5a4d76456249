"""Tests for people who write actors. What it promises stands where it is: in `apiserver.testing`.

An actor is tested in the server that it is to run in, so this is the one module of `actors` that sees `apiserver`. Nothing of
`actors` imports it.
"""

from apiserver.testing import (
    Killed,
    Line,
    Ran,
    Restless,
    Said,
    Server,
    Written,
    every_crash,
    fixture,
    seeds,
    serving,
)

__all__ = ["Killed", "Line", "Ran", "Restless", "Said", "Server", "Written", "every_crash", "fixture", "seeds", "serving"]
