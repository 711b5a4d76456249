"""Whether one more object may be made under the quotas of its namespace. Plain values: where quotas and counts come from, and that
they hold until the object is made, is up to the caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def refusal(quotas: Iterable[tuple[str, Mapping[str, int]]], used: int) -> str | None:
    """Why there may not be one more than `used`, in the words of Kubernetes; None if there may.

    Each quota has a name, and the most that each name of its `spec.hard` allows which counts these objects. The first that is
    exceeded answers.
    """
    for quota, limits in quotas:
        over = sorted(name for name, most in limits.items() if used >= most)
        if over:
            requested = ",".join(f"{name}=1" for name in over)
            limited = ",".join(f"{name}={limits[name]}" for name in over)
            taken = ",".join(f"{name}={used}" for name in over)
            return f"exceeded quota: {quota}, requested: {requested}, used: {taken}, limited: {limited}"
    return None
