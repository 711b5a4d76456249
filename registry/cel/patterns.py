"""Regular expressions: RE2, whose time is linear in the text, whatever the pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from registry.cel.values import EvaluationError, Meter

LONGEST = 1_000
"""Characters that a pattern may have."""
MEMORY = 1 << 18
"""Bytes that a compiled pattern may take: one that needs more is refused."""
COMPILING = 10_000
"""Steps that it costs to compile a pattern that is not remembered: the worst take about 3 ms."""


def search(meter: Meter, pattern: str, text: str) -> Any:
    """The first match, or None. Raises EvaluationError for a pattern that is none, or too large."""
    found = compiled(meter, pattern)
    meter.spend(1 + len(text) * (1 + len(pattern) // 10) // 10)
    return found.search(text)


def compiled(meter: Meter, pattern: str) -> Any:
    """A pattern. Raises EvaluationError."""
    if len(pattern) > LONGEST:
        raise EvaluationError(f"a pattern may have at most {LONGEST} characters")
    before = _compiled.cache_info().misses
    found = _compiled(pattern)
    meter.spend(1 if _compiled.cache_info().misses == before else COMPILING)
    if isinstance(found, str):
        raise EvaluationError(f"error parsing regexp: {found}")
    return found


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """The pattern, or what is wrong with it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
