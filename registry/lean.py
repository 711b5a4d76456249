"""Imports without what nobody here uses: a library that uses another one if it is installed would bring that into memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """For what is imported in the body, these modules are not installed. What is loaded already stays."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # what `import` takes for "there is none", see importlib
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
