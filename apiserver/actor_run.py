"""The composition root of `skep actor run`: the actors of plugins in a process of their own, against a server over HTTPS.

    registry, actors        what plugins declare, and what of it is to run here
    connection              checked once: the credential is accepted, the server has the kinds
    electors, runners       one of each for each actor, until SIGTERM
    health                  on a port of its own, if wanted

On SIGTERM no more runs begin, those under way finish within the grace, and the leases are given back.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version as distribution_version
from random import Random, SystemRandom

import anyio
import uvloop

from actors.actor import Actor, from_declaration
from actors.clock import SystemClock
from actors.insight import Insight
from actors.leading import Leading
from actors.lease import Epoch
from actors.recorder import EventRecorder, presentable
from actors.runner import Environment, Runner
from actors.workqueue import Backoff
from apiserver import electing
from apiserver.bearer import keep_fresh
from apiserver.config import Address, ConfigError, StartError
from apiserver.kubeconfig_read import Credentials
from apiserver.logs import Logger, Sink, form_of, make_logger, other_libraries, standard_error
from apiserver.remote import Api, RemoteDoor, RemoteEvents, model_of, open_api, unserved
from apiserver.remote_watch import RemoteSource, Streams
from apiserver.runner_health import serving_health
from apiserver.sections import Log
from registry.builtin import KINDS
from registry.builtin.lease import Lease
from registry.catalog import Registry
from registry.errors import ApiError, Forbidden, ServiceUnavailable, Timeout, Unauthorized
from registry.plugin import Plugin, build

_BACKOFF = Backoff(base=0.5, limit=30.0)


@dataclass(frozen=True, slots=True)
class Options:
    """What `skep actor run` is told. `only`: names of actors (none: all); `health`: where to serve it (None: nowhere)."""

    only: tuple[str, ...] = ()
    health: Address | None = None
    lease_seconds: float = 15.0
    grace: float = 10.0
    log: Log = field(default_factory=Log)


def run_actors(plugins: Sequence[Plugin], credentials: Credentials, options: Options) -> int:
    """Runs the actors until SIGTERM or SIGINT; returns the exit code. Raises StartError, RegistryError, DeclarationError."""
    registry = build(plugins, KINDS)
    actors = _chosen([from_declaration(declaration) for declaration in registry.actors], options.only)
    descriptor = standard_error()
    form = form_of(options.log.format, descriptor)
    with Sink(descriptor) as sink:
        log = make_logger(sink, level=options.log.level, form=form, colours=form == "console")
        with other_libraries(log, level=options.log.level):
            uvloop.run(_Process(registry, actors, credentials, options, log).run())
            log.info("stopped")
    return 0


def _chosen(actors: Sequence[Actor], only: Sequence[str]) -> Sequence[Actor]:
    known = {actor.name: actor for actor in actors}
    there = f"actors in the plugins: {', '.join(sorted(known)) or 'none'}"
    unknown = [f"--actor {name}: no plugin declares such an actor" for name in only if name not in known]
    if unknown:
        raise ConfigError(unknown, there)
    if not actors:
        raise StartError("there is nothing to run: no plugin declares an actor", "--plugin names a plugin with one", exit_code=2)
    return [known[name] for name in dict.fromkeys(only)] if only else actors


class _Process:
    """The parts, wired together."""

    def __init__(
        self, registry: Registry, actors: Sequence[Actor], credentials: Credentials, options: Options, log: Logger
    ) -> None:
        self._registry = registry
        self._actors = actors
        self._credentials = credentials
        self._options = options
        self._log = log
        self._chance = Random(SystemRandom().getrandbits(64))
        self._connected = False

    async def run(self) -> None:
        """Until a signal comes. One that comes after it changes nothing: the end takes no longer than the grace anyway."""
        agent = f"skep-actor/{distribution_version('skep')}"
        async with AsyncExitStack() as stack:
            signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
            api = await stack.enter_async_context(open_api(self._credentials, agent))
            leads = [self._leading(actor, api) for actor in self._actors]
            where = await stack.enter_async_context(serving_health(self._options.health, leads, self._ready(leads)))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stop, signals, leads, tasks.cancel_scope)
                await self._connect(api)
                tasks.start_soon(keep_fresh, api.bearer, api, SystemClock(), self._chance, self._log)
                self._announce(where)
                async with anyio.create_task_group() as running:
                    for leading in leads:
                        running.start_soon(supervise, leading, self._log)
                tasks.cancel_scope.cancel()

    async def _stop(self, signals: AsyncIterator[signal.Signals], leads: Sequence[Leading], scope: anyio.CancelScope) -> None:
        """On a signal the actors come to their end; if they have not begun yet, there is nothing to end."""
        number = await anext(signals)
        self._log.info("stopping", signal=signal.Signals(number).name)
        for leading in leads:
            leading.stop(self._options.grace)
        if not self._connected:
            scope.cancel()

    async def _connect(self, api: Api) -> None:
        """Returns when the server has accepted the credential and has the kinds. StartError when it never will."""
        failures = 0
        while True:
            try:
                problems = [why for actor in self._actors for why in await self._missing(api, actor)]
            except (Unauthorized, Forbidden) as error:
                hint = f"it must be a token of {self._actors[0].identity}, or of somebody who may impersonate that account"
                raise StartError(f"{api.server} refuses the credential: {error.message}", hint) from error
            except (ServiceUnavailable, Timeout) as error:
                failures += 1
                pause = _BACKOFF.delay(failures, self._chance)
                self._log.warning("the server cannot be reached yet", error=presentable(error.message), pause=round(pause, 1))
                await anyio.sleep(pause)
                continue
            except ApiError as error:
                raise StartError(f"{api.server}: {error.message}", "is it a Skep server?") from error
            if problems:
                raise StartError("\n".join(dict.fromkeys(problems)))
            self._connected = True
            return

    async def _missing(self, api: Api, actor: Actor) -> list[str]:
        acting = api.acting_as(actor.identity)
        models = [actor.model, *(each.model for each in actor.observes), *actor.writes, Lease]
        return [why for model in dict.fromkeys(models) if (why := await unserved(acting, model_of(self._registry, model)))]

    def _leading(self, actor: Actor, api: Api) -> Leading:
        """The actor, for as long as this process leads it."""
        insight = Insight()
        registry, chance, clock = self._registry, self._chance, SystemClock()
        log = self._log.bind(actor=actor.name)
        streams = Streams()
        acting = api.acting_as(actor.identity)
        terms = electing.terms(self._options.lease_seconds)
        elector = electing.elector(actor, RemoteDoor(acting, registry, streams.watch), terms, chance, log, server=False)

        def make(epoch: Epoch) -> Runner:
            fenced = api.acting_as(actor.identity, epoch.token)
            environment = Environment(
                source=RemoteSource(fenced, registry, streams),
                door=RemoteDoor(fenced, registry, streams.watch),
                recorder=EventRecorder(RemoteEvents(fenced), actor.name, clock, chance, log),
                clock=clock,
                chance=chance,
                log=log,
                leads=elector.leading,
                epoch=epoch.number,
            )
            return Runner(actor, environment, insight)

        return Leading(actor, elector, make, insight)

    def _ready(self, leads: Sequence[Leading]) -> Callable[[], dict[str, bool]]:
        """Whether each actor is led here or elsewhere, as the server said not long ago, and has seen all its objects if it is."""

        def ready() -> dict[str, bool]:
            recently = anyio.current_time() - self._options.lease_seconds
            return {each.actor.name: each.heard >= recently and each.snapshot().synced for each in leads}

        return ready

    def _announce(self, health: Address | None) -> None:
        names = ", ".join(actor.name for actor in self._actors)
        self._log.info("running", server=self._credentials.server, actors=names)
        lines = [f"Skep runs {names} of {self._credentials.server}"] + ([f"health on http://{health}"] if health else [])
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


async def supervise(leading: Leading, log: Logger) -> None:
    """Runs an actor until it is stopped. One that breaks is started again; the others go on."""
    pause = 1.0
    while True:
        try:
            await leading.run()
            return
        except Exception as error:
            log.error("an actor broke; it is started again", actor=leading.actor.name, pause=pause, exc_info=error)
        await anyio.sleep(pause)
        pause = min(pause * 2, 60.0)
