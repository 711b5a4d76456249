"""A world behind a real socket: uvicorn with TLS on a free port of 127.0.0.1, in the loop of the test, and a kubeconfig for it."""

from __future__ import annotations

import atexit
import random
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType

from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN
from admission.tokens import TokenTable
from apiserver import kubeconfig, kubeconfig_read, tls
from apiserver.asgi import App, Timing
from apiserver.config import Address
from apiserver.discovery import Discovery
from apiserver.documents import OpenAPIDocuments
from apiserver.flow import Flow
from apiserver.health import Health, ping
from apiserver.kubeconfig_read import Credentials
from apiserver.listening import http_config, serving
from apiserver.pages import Pages
from apiserver.sections import Limits, Tls
from apiserver.serve import version_info
from apiserver.sockets import bind
from tests.apiserver.world import NOW, World

PLAIN = Timing()
Shown = Callable[[], tuple[bytes, str]]
TOKEN = "a-token-that-nobody-guesses"


@dataclass(frozen=True, slots=True)
class Served:
    """Where a world is served, as its kubeconfig says. `requests` are those of the access log: identity, verb, resource, status."""

    credentials: Credentials
    app: App
    requests: list[tuple[str, str, str, int]]
    shown: list[str]  # what the access log says of the credential of each request
    kubeconfig: Path


class Access:
    """An access log that is read by the test."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, int]] = []
        self.credentials: list[str] = []

    def record(
        self, identity: str, verb: str, resource: str, namespace: str, name: str, status: int, duration_s: float, credential: str
    ) -> None:
        self.requests.append((identity, verb, resource, status))
        self.credentials.append(credential)


@lru_cache(maxsize=1)
def certificate() -> tls.Certificate:
    """One certificate for all: making it takes a while."""
    folder = Path(mkdtemp(prefix="skep-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return tls.certificate(folder, Tls(), host="127.0.0.1", hostname="localhost", now=datetime.now(UTC))


def application(
    world: World,
    chain: AuthenticatorChain,
    access: Access,
    timing: Timing = PLAIN,
    more: Mapping[str, Shown] = MappingProxyType({}),
    flow: Flow | None = None,
) -> App:
    """The application of a world. `more` are further documents by their paths."""
    pages = Pages(
        Discovery(world.manager.catalog),
        OpenAPIDocuments(world.manager.catalog),
        Health({name: {"ping": ping} for name in ("healthz", "livez", "readyz")}, lambda *_: None),
        version_info(),
        lambda accept: (b"", "text/plain"),
        more,
    )
    return App(
        world.manager,
        world.store,
        pages,
        chain,
        access=access,
        log=world.log,
        now=lambda: NOW,
        chance=random.Random(1),
        body_limit=3 * 2**20,
        timing=timing,
        flow=flow,
    )


@asynccontextmanager
async def served(
    world: World,
    folder: Path,
    timing: Timing = PLAIN,
    *,
    chain: AuthenticatorChain | None = None,
    client_ca: Path | None = None,
) -> AsyncIterator[Served]:
    """Serves the world for the body. Without a `chain` the token of the admin is the one credential."""
    access, shown = Access(), certificate()
    app = application(world, chain or AuthenticatorChain([TokenTable([(TOKEN, ADMIN)])]), access, timing)
    config = http_config(app, cert_file=shown.cert_file, key_file=shown.key_file, limits=Limits(), grace=1, client_ca=client_ca)
    listener, address = bind(Address("127.0.0.1", 0))
    path = kubeconfig.write(folder, server=kubeconfig.server_url(address), ca_pem=shown.ca_pem, token=TOKEN)
    with listener:
        async with serving(config, listener) as server:
            yield Served(kubeconfig_read.read(path), app, access.requests, access.credentials, path)
            app.end_watches()
            server.should_exit = True
