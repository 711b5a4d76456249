"""The composition root: everything is made here, passed to what needs it, and ended in the opposite order.

    data folder, log, socket, certificate      what can be refused at once
    registry, actors                           what plugins declare
    store                                      migrations, lock, cache
    manager, application                       the request path
    uvicorn, actors, compactor                 one task group, until SIGTERM

On SIGTERM readiness drops first; then the watches end, requests in flight finish, actors finish what they are at, and the store
commits what is pending.
"""

from __future__ import annotations

import gc
import platform
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import uvicorn
import uvloop
from anyio import to_thread

import migrations
from actors.actor import Actor
from actors.builtin.pool import Surroundings
from actors.clock import SystemClock
from actors.insight import Insight
from actors.leading import Leading
from actors.lease import Epoch
from actors.runner import Runner
from admission.identity import SYSTEM, actor_identity
from admission.token_keys import KeySource
from apiserver import authenticating, client_certificates, datadir, electing, kubeconfig, tls
from apiserver.actor_objects import spec_document
from apiserver.asgi import App, Timing
from apiserver.audit import Auditor
from apiserver.audit_opening import auditing, policy_of
from apiserver.builtins import Builtins
from apiserver.chance import PooledRandom
from apiserver.client import ManagerDoor, ManagerSource
from apiserver.config import Address, Settings
from apiserver.definitions_conversions import Conversions
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.flow import Flow
from apiserver.health import Check, Health, ping, shared
from apiserver.inspecting import Inspection
from apiserver.listening import http_config, serving
from apiserver.logs import AccessLog, Logger, Sink, form_of, make_logger, other_libraries, standard_error
from apiserver.manager import Manager
from apiserver.migrating import MigrationPages, Migrator
from apiserver.pages import Pages
from apiserver.reporting import ActorObjects, Entry
from apiserver.sections import History
from apiserver.sockets import bind, open_many
from apiserver.supervision import Supervisor
from apiserver.trusting import Trusted, check_issuer, token_keys
from apiserver.watchdog import Watchdog
from apiserver.webhook_calls import Means
from apiserver.webhooks import Webhooks
from apiserver.wiring import actors_of, bootstrap, environment, make_manager
from registry.builtin import KINDS
from registry.builtin.actor import ACTOR
from registry.builtin.apikey import API_KEY
from registry.catalog import Registry
from registry.plugin import Plugin, build
from storage.feed import Limits
from storage.opening import open_store
from storage.sql import Options, SqlStore

if TYPE_CHECKING:
    from apiserver.metrics import Metrics

ANNOUNCE = 0.25
"""Seconds between the loss of readiness and the end of the watches: probes that are under way see it."""


KUBERNETES_MINOR = "33"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def serve(settings: Settings, plugins: Sequence[Plugin]) -> int:
    """Runs the server until SIGTERM or SIGINT; returns the exit code. Raises StartError, RegistryError, InvalidDatabase, Locked,
    ..."""
    policy = policy_of(settings.audit)
    with _logging(settings) as logs:
        check_issuer(settings.oidc, settings.tokens)
        registry = build(plugins, (*KINDS, ACTOR, API_KEY))
        actors = actors_of(registry) if settings.actors.run else []
        folder = datadir.prepare(settings.data_dir, logs.logger.warning)
        open_many()
        listener, address = bind(settings.listen)
        with listener, auditing(settings, policy, folder, logs.logger) as auditor:
            place = _place(settings, folder, listener, address, logs.logger)
            return uvloop.run(_run(settings, registry, actors, place, replace(logs, auditor=auditor)))


@dataclass(frozen=True, slots=True)
class Logs:
    """Where the server writes what happens, a line for every request, and, if it is asked for, who did what."""

    logger: Logger
    access: AccessLog
    auditor: Auditor | None = None


@contextmanager
def _logging(settings: Settings) -> Iterator[Logs]:
    descriptor = standard_error()
    form = form_of(settings.log.format, descriptor)
    with Sink(descriptor) as sink:
        logger = make_logger(sink, level=settings.log.level, form=form, colours=form == "console")
        with other_libraries(logger, level=settings.log.level):
            yield Logs(logger, AccessLog(sink, which=settings.log.access, form=form))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is: its socket, its certificate, and how clients find it."""

    listener: socket.socket
    url: str
    certificate: tls.Certificate
    client_ca: Path | None
    token: str
    keys: KeySource
    kubeconfig: str


def _place(settings: Settings, folder: Path, listener: socket.socket, address: Address, log: Logger) -> Place:
    token = datadir.admin_token(folder, log.warning)
    now = datetime.now(UTC)
    certificate = tls.certificate(folder, settings.tls, host=settings.listen.host, hostname=socket.gethostname(), now=now)
    client_ca = client_certificates.authority_file(folder, settings.authentication, now)
    url = kubeconfig.server_url(address)
    keys = token_keys(folder, settings.tokens, log, time.monotonic)
    pair = authenticating.admin_pair(folder, settings.authentication, now)
    path = kubeconfig.write(folder, server=url, ca_pem=certificate.ca_pem, token=token, client=pair)
    return Place(listener, url, certificate, client_ca, token, keys, kubeconfig.export_line(path))


async def _run(settings: Settings, registry: Registry, actors: Sequence[Actor], place: Place, logs: Logs) -> int:
    if settings.database_url.startswith("sqlite"):
        await to_thread.run_sync(migrations.upgrade, settings.database_url)
    options = Options(window=Limits(settings.watch.window_changes, settings.watch.window_bytes))
    async with open_store(settings.database_url, options) as store:
        server = Server(settings, registry, store, actors, place, logs)
        await server.bootstrap()
        gc.collect()
        gc.freeze()  # what is loaded stays: it need not be looked at again and again
        gc.set_threshold(100_000, 20, 50)
        try:
            await server.run()
        finally:
            await server.webhooks.aclose()
    logs.logger.info("stopped")
    return 0


class Server:
    """The parts of a running server, wired together."""

    def __init__(
        self, settings: Settings, registry: Registry, store: SqlStore, actors: Iterable[Actor], place: Place, logs: Logs
    ) -> None:
        self._settings = settings
        self._store = store
        self._place = place
        self._log = logs.logger
        self._ready = False
        self._metrics: Metrics | None = None
        chance = PooledRandom()
        self._auditor = logs.auditor
        self._trusted = Trusted(settings.tokens, settings.oidc, place.keys, store, logs.logger.bind(), time.time, time.monotonic)
        self._logins = self._authentication(logs.logger)
        self.webhooks = Webhooks(store, settings.webhooks, logs.logger, Means(time.monotonic, time.time))
        self.manager = self._manager(registry, chance)
        entries = [Entry(self._supervisor(actor, chance), spec_document(actor, registry)) for actor in actors]
        self._supervisors = [entry.supervisor for entry in entries]
        self._actor_objects = ActorObjects(
            entries,
            ManagerDoor(self.manager, SYSTEM),
            ManagerSource(self.manager),
            SystemClock(),
            chance,
            logs.logger.bind(),
            period=settings.insight.report_seconds,
        )

        def surroundings(name: str) -> Surroundings:
            return Surroundings(SystemClock(), chance, logs.logger.bind(actor=name))

        conversions = Conversions(self.webhooks.conversions)
        events = settings.events.ttl_seconds
        self._builtins = Builtins(self.manager, store, surroundings, event_seconds=events, call_of=conversions.call_of)
        conversions.follow(self._builtins.definitions)
        self._watchdog = Watchdog(logs.logger, settings.insight.blocked_seconds)
        self.app = self._app(logs.access, chance)

    def _manager(self, registry: Registry, chance: random.Random) -> Manager:
        return make_manager(
            registry,
            self._store,
            self._log,
            now=time.time,
            chance=chance,
            body_bytes=self._settings.limits.body_bytes,
            auditor=self._auditor,
            webhooks=self.webhooks.admitter,
            subresources=self._trusted.subresources(registry),
            tokens=self._trusted.reviews(self._logins.tables),
        )

    def _authentication(self, log: Logger) -> authenticating.Logins:
        """Every kind of credential, followed as it changes."""
        others = self._trusted.authenticators
        logins = authenticating.Logins(self._settings.authentication, self._place.token, SystemClock(), log.bind(), others)
        logins.follow(self._store)
        self._trusted.follow(self._store, logins.changed)
        return logins

    def _app(self, access: AccessLog, chance: random.Random) -> App:
        settings = self._settings
        checks = self._checks()
        health = Health({"healthz": checks, "livez": {"ping": ping}, "readyz": checks}, self._unhealthy)
        return App(
            self.manager,
            self._store,
            MigrationPages(
                Pages(
                    Discovery(self.manager.catalog),
                    OpenAPIDocuments(self.manager.catalog),
                    health,
                    version_info(),
                    self._scrape,
                    self._trusted.documents(self._place.url),
                    Inspection(lambda: self.manager.registry, self._store),
                ),
                Migrator(self.manager.catalog, self._store),
            ),
            self._logins.chain,
            access=access,
            log=self._log,
            now=time.time,
            chance=chance,
            body_limit=settings.limits.body_bytes,
            timing=Timing(settings.watch.bookmark_seconds, settings.watch.timeout_seconds, settings.limits.request_seconds),
            auditor=self._auditor,
            flow=Flow(settings.flow, time.monotonic, {actor.identity for actor in actors_of(self.manager.registry)}),
        )

    def _scrape(self, accept: str) -> tuple[bytes, str]:
        """The metrics. What they need is imported when they are first asked for: it is memory that many servers never use."""
        if self._metrics is None:
            from apiserver.metrics import Metrics

            self._metrics = Metrics(
                self._supervisors,
                now=SystemClock().now,
                version=distribution_version("skep"),
                blockages=lambda: self._watchdog.blockages,
                watches=lambda: self.app.watchers,
                failures=self._logins.failures,
                webhooks=self.webhooks.views,
                audit=self._auditor,
            )
        return self._metrics.scrape(accept)

    def _supervisor(self, actor: Actor, chance: random.Random) -> Supervisor:
        """The actor, for as long as this process leads it, started again whenever it breaks."""
        alone = electing.alone(self._settings.database_url)
        terms = electing.server_terms(self._settings, alone=alone)
        door = ManagerDoor(self.manager, actor_identity(actor.name))
        clock, log = SystemClock(), self._log.bind(actor=actor.name)

        def make(insight: Insight) -> Leading:
            elector = electing.elector(actor, door, terms, chance, log, server=alone)

            def lead(epoch: Epoch) -> Runner:
                led = environment(self.manager, actor, clock=clock, chance=chance, log=log, epoch=epoch, leads=elector.leading)
                return Runner(actor, led, insight)

            return Leading(actor, elector, lead, insight)

        return Supervisor(actor.name, make, clock, chance, self._log.bind())

    def _checks(self) -> dict[str, Check]:
        async def store() -> bool:
            await self._store.check()
            return True

        async def serving() -> bool:
            return self._ready

        async def actors() -> bool:
            return self._builtins.synced and all(supervisor.view().snapshot.synced for supervisor in self._supervisors)

        each = {f"actor-{supervisor.name}": supervisor.healthy for supervisor in self._supervisors}
        return {"ping": ping, "store": shared(store, time.monotonic), "actors-synced": actors, **each, "shutdown": serving}

    def _unhealthy(self, name: str, error: Exception | None) -> None:
        if self._ready:
            self._log.warning("a health check failed", check=name, error=str(error) if error else "")

    async def bootstrap(self) -> None:
        """Makes what is there from the first start on, and frees what servers before this one held and cannot hold any more."""
        names = [actor.name for actor in self.manager.registry.actors]

        async def free() -> None:
            if electing.alone(self._settings.database_url):
                await electing.free_abandoned(self.manager, SYSTEM)

        await bootstrap(self.manager, self._store, time.time(), lambda: self._actor_objects.prepare(names), free)

    async def run(self) -> None:
        """Serves until a signal comes. One that comes after it changes nothing: the end takes no longer than the grace anyway."""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals, self._watchdog:
            await self._serve(signals)

    async def _serve(self, signals: AsyncIterator[signal.Signals]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._compact, self._settings.history)
            tasks.start_soon(self._actor_objects.run)
            tasks.start_soon(self._trusted.run)
            tasks.start_soon(self._logins.run, ManagerDoor(self.manager, SYSTEM), self.app.check_watches)
            async with anyio.create_task_group() as actors, serving(self._http(), self._place.listener) as http:
                actors.start_soon(self._builtins.run)
                for supervisor in self._supervisors:
                    actors.start_soon(supervisor.run, name=f"actor {supervisor.name}")
                self._announce()
                number = await anext(signals)
                self._log.info("stopping", signal=signal.Signals(number).name)
                self._ready = False
                await anyio.sleep(ANNOUNCE)
                for supervisor in self._supervisors:
                    supervisor.stop(self._settings.shutdown_grace_seconds)
                self._builtins.stop(self._settings.shutdown_grace_seconds)
                self.app.end_watches()
                http.should_exit = True
            await self._logins.finish(ManagerDoor(self.manager, SYSTEM))
            self._store.end_watches()
            tasks.cancel_scope.cancel()

    def _http(self) -> uvicorn.Config:
        certificate, settings = self._place.certificate, self._settings
        return http_config(
            self.app,
            cert_file=certificate.cert_file,
            key_file=certificate.key_file,
            limits=settings.limits,
            grace=settings.shutdown_grace_seconds,
            client_ca=self._place.client_ca,
        )

    def _announce(self) -> None:
        """Says that everything is there, to the log and to whoever started the server."""
        self._ready = True
        self._log.info("serving", url=self._place.url, actors=len(self._supervisors), kinds=len(self.manager.registry.kinds))
        print(f"Skep serves {self._place.url}\n{self._place.kubeconfig}", file=sys.stdout, flush=True)  # noqa: T201

    async def _compact(self, history: History) -> None:
        await self._store.compactor(
            interval=history.compact_seconds, max_age=history.max_age_seconds, max_count=history.max_changes
        )


def version_info() -> dict[str, str]:
    """What `/version` answers: a Kubernetes version that clients understand, and ours after the plus (semver build metadata)."""
    ours = distribution_version("skep")
    return {
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "emulationMajor": "1",
        "emulationMinor": KUBERNETES_MINOR,
        "gitVersion": f"v1.{KUBERNETES_MINOR}.0+skep-{ours}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{MACHINES.get(platform.machine(), platform.machine())}",
    }
