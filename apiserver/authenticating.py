"""Authentication as the server has it: every kind of credential in one chain, and what goes on beside the requests for it.

Beside them: keys are followed as they change, their last uses are written, and watches whose credential is over are ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

import anyio

from actors.clock import Clock
from actors.door import Door
from actors.recorder import Log, presentable
from admission.apikeys import ApiKeys
from admission.authentication import AuthenticatorChain, Failures
from admission.certificates import ClientCertificates
from admission.identity import ADMIN, AUTHENTICATED, Authenticator
from admission.key_rules import RESOURCE
from admission.tokens import TokenTable
from apiserver import client_certificates
from apiserver.apikeys import KeyFollower, LastUses
from apiserver.following import follow
from apiserver.kubeconfig import ClientPair
from apiserver.sections import Authentication
from storage.sql import SqlStore


class Logins:
    """The chain of a server, and what it needs. `others` know further credentials; keys and the admin's token go before."""

    def __init__(
        self, settings: Authentication, admin_token: str, clock: Clock, log: Log, others: Sequence[Authenticator] = ()
    ) -> None:
        self._clock = clock
        self._log = log
        self._period = settings.recheck_seconds
        self._changed = anyio.Event()
        self._last_uses = LastUses(clock, log)
        self.keys = ApiKeys(clock.time, test=settings.test_keys, used=self._last_uses.note)
        self.failures = Failures(settings.failures, settings.failures_per_second, clock.now, tell=self._slowed)
        self.tables: Sequence[Authenticator] = (self.keys, TokenTable([(admin_token, ADMIN)]))
        known: Sequence[Authenticator] = (*self.tables, *others, ClientCertificates(clock.time))
        self.chain = AuthenticatorChain(known, anonymous=settings.anonymous, failures=self.failures)

    def _slowed(self, address: str) -> None:
        self._log.warning("failed logins are slowed", address=address, failed=self.failures.total, slowed=self.failures.slowed)

    def changed(self) -> None:
        """A credential is revoked, or may be: open watches are looked at soon."""
        if not self._changed.is_set():
            self._changed.set()

    def follow(self, store: SqlStore) -> Callable[[], None]:
        """Learns the keys that there are, and every change from now on, until the function that is returned is called."""
        return follow(store, RESOURCE, KeyFollower(self.keys, self._log, self.changed))

    async def finish(self, door: Door, seconds: float = 1.0) -> None:
        """Writes the last uses that are not written yet, as far as that goes within the time."""
        with anyio.move_on_after(seconds):
            await self._last_uses.write(door)

    async def run(self, door: Door, check: Callable[[], Awaitable[None]]) -> None:
        """Writes last uses through `door`, and has open watches checked, until it is cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._last_uses.run, door)
            while True:
                with self._clock.deadline(self._clock.now() + self._period):
                    await self._changed.wait()
                self._changed = anyio.Event()
                try:
                    await check()
                except Exception as error:  # one that cannot be asked now is asked again: nothing else may end with it
                    self._log.error("open watches could not be checked", error=presentable(f"{type(error).__name__}: {error}"))


def admin_pair(folder: Path, settings: Authentication, now: datetime) -> ClientPair | None:
    """The certificate that the admin shows; None: it is the token. Raises StartError."""
    if settings.admin_credential == "token":
        return None
    groups = tuple(group for group in ADMIN.groups if group != AUTHENTICATED)
    return client_certificates.admin_pair(folder, settings, groups, now)
