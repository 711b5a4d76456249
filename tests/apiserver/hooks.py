"""Webhooks for tests: real HTTPS servers on 127.0.0.1, in the loop of the test, that answer what a test says - also what they must
not - and a world that asks them."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from admission.review import Review
from admission.webhooks import WebhookAdmission
from apiserver import sections, tls
from apiserver.webhook_calls import Means
from apiserver.webhooks import Webhooks
from registry.errors import Cause
from tests.apiserver.world import World, opened

Document = dict[str, Any]
MUTATING = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
VALIDATING = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
EVERYTHING = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
LOCAL = sections.Webhooks(allow=("127.0.0.1",))
Reply = Callable[[Document], Any]
"""Makes of the `request` of an AdmissionReview its `response` (without the uid), or bytes to be sent as they are."""


@dataclass
class Hook:
    """A webhook that runs. `asked` are the questions, `headers` those of the requests (names in lower case), `bodies` theirs."""

    port: int
    asked: list[Document] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0

    def entry(self, name: str = "a", **changes: Any) -> Document:
        """It as an entry of a configuration: about all that happens to widgets."""
        rule = {**EVERYTHING, "resources": ["widgets"]}
        return {
            "name": f"{name}.hooks.example",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{name}", "caBundle": bundle()},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **changes,
        }


@lru_cache(maxsize=1)
def certificate() -> tls.Certificate:
    """One for all hooks."""
    folder = Path(mkdtemp(prefix="skep-hooks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    names = sections.Tls(names=("kopf.hooks.svc", "hook.example"))
    return tls.certificate(folder, names, host="127.0.0.1", hostname="localhost", now=datetime.now(UTC))


def bundle() -> str:
    """Their authority, as a `caBundle`."""
    return b64encode(authority()).decode()


def authority() -> bytes:
    """The certificate that theirs is checked by."""
    return certificate().ca_pem or b""


def client_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for a client, signed by itself, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skep")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1))
    cert = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    (folder / "client.crt").write_bytes(cert.public_bytes(Encoding.PEM))
    (folder / "client.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "client.crt", folder / "client.key"


def patch(*operations: Document) -> Document:
    """A response that allows, with a patch."""
    return {"allowed": True, "patchType": "JSONPatch", "patch": b64encode(msgspec.json.encode(operations)).decode()}


def answered(request: Document, response: Document) -> bytes:
    """An AdmissionReview as an HTTP answer."""
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": request["uid"], **response}}
    return http(msgspec.json.encode(review))


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]).encode() + body


@asynccontextmanager
async def hook(reply: Reply, *, client_ca: Path | None = None, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Hook]:
    """Runs one for the body. With `client_ca` it talks to those alone who show its certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate().cert_file, certificate().key_file)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    made = Hook(port)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head.split("\r\n")[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                request = msgspec.json.decode(body)["request"]
                made.headers.append(headers)
                made.bodies.append(body)
                made.asked.append(request)
                response = reply(request)
                response = await response if isinstance(response, Awaitable) else response
                writer.write(response if isinstance(response, bytes) else answered(request, response))
                await writer.drain()
                if response == b"":
                    break
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, port, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


class _Later:
    """An admitter that is made after the manager: it needs the store."""

    def __init__(self) -> None:
        self.admitter: WebhookAdmission | None = None

    def concerns(self, review: Review[Document]) -> bool:
        return self.admitter is not None and self.admitter.concerns(review)

    async def mutate(self, review: Review[Document]) -> Document:
        assert self.admitter is not None
        return await self.admitter.mutate(review)

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        assert self.admitter is not None
        return await self.admitter.validate(review)


@dataclass
class Asking:
    """A world with webhooks. `clock` is what circuit breakers go by; `told` is the log."""

    world: World
    webhooks: Webhooks
    clock: list[float]
    told: Told

    async def mutating(self, name: str, *entries: Document) -> Document:
        """Stores a configuration."""
        return await self.world.make(MUTATING, name, webhooks=list(entries))

    async def validating(self, name: str, *entries: Document, **metadata: Any) -> Document:
        """Stores a configuration."""
        return await self.world.make(VALIDATING, name, metadata=metadata, webhooks=list(entries))


@dataclass
class Told:
    """A log that is read by the test."""

    lines: list[tuple[str, Document]] = field(default_factory=list)

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))

    error = warning


@asynccontextmanager
async def asking(settings: sections.Webhooks = LOCAL, *, resolve: Any = None) -> AsyncIterator[Asking]:
    """A world whose webhooks are asked."""
    later, clock, told = _Later(), [0.0], Told()
    more = {} if resolve is None else {"resolve": resolve}
    async with opened(admitters=[later]) as world:
        means = Means(lambda: clock[0], lambda: 1_700_000_000.0 + clock[0], **more)
        webhooks = Webhooks(world.store, settings, told, means)
        later.admitter = webhooks.admitter(world.manager.authorization)
        try:
            yield Asking(world, webhooks, clock, told)
        finally:
            await webhooks.aclose()
