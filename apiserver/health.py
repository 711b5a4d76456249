"""Health: whether the process lives, and whether it is ready to serve, check by check.

The form is that of Kubernetes' component health endpoints: `ok`, or with `verbose` a line for each check and a verdict.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio

Check = Callable[[], Awaitable[bool]]


async def ping() -> bool:
    """The event loop answers."""
    return True


def shared(check: Check, now: Callable[[], float], seconds: float = 1.0) -> Check:
    """A check that costs something, as one that everybody may ask for at any rate: what came of it counts for so many seconds, and
    who comes while it is made waits for it. `now` never goes back."""
    lock = anyio.Lock()
    made_at, outcome = float("-inf"), False

    async def asked() -> bool:
        nonlocal made_at, outcome
        async with lock:
            if now() - made_at >= seconds:
                try:
                    outcome = await check()
                except Exception:
                    outcome, made_at = False, now()
                    raise
                made_at = now()
            return outcome

    return asked


@dataclass(frozen=True, slots=True)
class Report:
    """An answer: status code and text."""

    code: int
    text: str


class Health:
    """The checks behind `/healthz`, `/livez` and `/readyz`. A check that raises has failed; why is for the log, not for the
    caller."""

    def __init__(self, checks: Mapping[str, Mapping[str, Check]], log: Callable[[str, Exception | None], None]) -> None:
        """`checks` are by endpoint, then by name, in the order in which they are shown."""
        self._checks = checks
        self._log = log

    def has(self, endpoint: str, name: str = "") -> bool:
        """Whether there is such an endpoint, or such a check behind it."""
        return endpoint in self._checks and (not name or name in self._checks[endpoint])

    async def single(self, endpoint: str, name: str) -> Report:
        """One check alone."""
        if await self._passes(name, self._checks[endpoint][name]):
            return Report(200, "ok")
        return Report(500, "internal server error: reason withheld: see the server's log\n")

    async def all(self, endpoint: str, excluded: Sequence[str], *, verbose: bool) -> Report:
        """All checks but the excluded ones. A failure always says which."""
        lines, healthy = [], True
        checks = self._checks[endpoint]
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif await self._passes(name, check):
                lines.append(f"[+]{name} ok")
            else:
                healthy = False
                lines.append(f"[-]{name} failed: reason withheld")
        unknown = [name for name in excluded if name not in checks]
        if unknown:
            listed = ", ".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
        if healthy and not verbose:
            return Report(200, "ok")
        verdict = f"{endpoint} check {'passed' if healthy else 'failed'}"
        return Report(200 if healthy else 500, "\n".join([*lines, verdict, ""]))

    async def _passes(self, name: str, check: Check) -> bool:
        try:
            passed, error = await check(), None
        except Exception as failure:  # whatever a check raises is its way to say no
            passed, error = False, failure
        if not passed:
            self._log(name, error)
        return passed
