"""Skep with several callers who are no administrators: its own parts on a socket, with a table of tokens (`caller-0`, ...), and the
settings of flow control that are asked for. A process of its own; prints its port, and serves until SIGTERM."""

from __future__ import annotations

import argparse
import random
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
import uvloop

import migrations
from admission.authentication import AuthenticatorChain
from admission.identity import SYSTEM, Identity, authenticated
from admission.tokens import TokenTable
from apiserver import tls
from apiserver.asgi import App
from apiserver.calls import Call
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.flow import Flow
from apiserver.health import Health
from apiserver.listening import http_config, serving
from apiserver.manager import Manager
from apiserver.pages import Pages
from apiserver.sections import Flow as Settings
from apiserver.sections import Limits, Tls
from apiserver.serve import version_info
from apiserver.sockets import open_many
from apiserver.target import Target
from apiserver.wiring import bootstrap, make_manager
from benchmarks.plugin import plugin
from registry.builtin import CLUSTER_ROLE_BINDING, KINDS
from registry.builtin.actor import ACTOR
from registry.builtin.rbac import GROUP
from registry.plugin import build
from storage.opening import open_store

CALLERS = 16
CROWD = "crowd"
"""The group of all of them."""


class Unheard:
    """A log, and an access log, that nobody reads."""

    def record(self, *_: object) -> None:
        """A request."""

    def error(self, event: str, **values: Any) -> None:
        """Something that nobody expected: the measurement is void."""
        raise SystemExit(f"{event}: {values}")

    warning = error


async def let_in(manager: Manager) -> None:
    """Gives the callers the rights of administrators, by a binding: they are no administrators by their group."""
    kind = CLUSTER_ROLE_BINDING
    role = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": CROWD}, "roleRef": role, "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": CROWD}]}
    await manager.handle(Call(SYSTEM, "create", Target(kind, kind.storage, None), body=body))


async def serve(folder: Path, settings: Settings) -> None:
    """Serves until SIGTERM."""
    url, unheard, chance = f"sqlite:///{folder / 'skep.db'}", Unheard(), random.Random(1)
    migrations.upgrade(url)
    registry = build([plugin], (*KINDS, ACTOR))
    shown = tls.certificate(folder, Tls(), host="127.0.0.1", hostname="localhost", now=datetime.now(UTC))
    open_many()
    async with open_store(url) as store:
        manager = make_manager(registry, store, unheard, now=time.time, chance=chance, body_bytes=3 * 2**20)
        await bootstrap(manager, store, time.time())
        await let_in(manager)
        app = App(
            manager,
            store,
            Pages(
                Discovery(manager.catalog),
                OpenAPIDocuments(manager.catalog),
                Health({}, lambda *_: None),
                version_info(),
                lambda _: (b"", ""),
            ),
            AuthenticatorChain(
                [TokenTable([(f"caller-{n}", authenticated(Identity(f"caller-{n}", "", (CROWD,)))) for n in range(CALLERS)])]
            ),
            access=unheard,
            log=unheard,
            now=time.time,
            chance=chance,
            body_limit=3 * 2**20,
            flow=Flow(settings, time.monotonic),
        )
        config = http_config(app, cert_file=shown.cert_file, key_file=shown.key_file, limits=Limits(), grace=1)
        with (
            socket.create_server(("127.0.0.1", 0), backlog=2048) as listener,
            anyio.open_signal_receiver(signal.SIGTERM) as signals,
        ):
            async with serving(config, listener) as server:
                print(listener.getsockname()[1], flush=True)
                await anext(signals)
                server.should_exit = True


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", help="the table [flow], as JSON")
    arguments = parser.parse_args()
    settings = msgspec.convert(msgspec.json.decode(arguments.settings), Settings)
    runner: Callable[[Any], object] = uvloop.run
    runner(serve(arguments.folder, settings))


if __name__ == "__main__":
    main()
