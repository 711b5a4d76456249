"""A kopf operator, unmodified, in a process of its own: it writes its webhook configurations, and is asked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from registry.errors import ApiError
from tests.apiserver.hooks import LOCAL, MUTATING, VALIDATING, Asking, asking, certificate
from tests.apiserver.served import served
from tests.apiserver.world import WIDGETS

pytestmark = pytest.mark.anyio
OPERATOR = Path(__file__).parent.parent / "plugins/kopf_admission.py"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def operator(asked: Asking, folder: Path) -> AsyncIterator[Path]:
    """kopf, against the world behind a socket, until the body ends. Gives its log."""
    shown, log = certificate(), folder / "kopf.log"
    (folder / "ca.crt").write_bytes(shown.ca_pem or b"")
    async with served(asked.world, folder):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "PORT": str(free_port()),
            "CERT": str(shown.cert_file),
            "KEY": str(shown.key_file),
            "CA": str(folder / "ca.crt"),
        }
        command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", "--verbose", str(OPERATOR)]
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            try:
                yield log
            finally:
                process.kill()
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(process.wait)


async def configured(asked: Asking, path: str, log: Path) -> None:
    """Waits until kopf has filled a configuration in."""
    while True:
        with contextlib.suppress(ApiError):
            if (await asked.world.get(f"{path}/auto.kopf.dev")).get("webhooks"):
                return
        assert "Traceback" not in log.read_text(), log.read_text()
        await anyio.sleep(0.02)


async def test_a_kopf_operator_registers_its_webhooks_and_is_asked(tmp_path: Path) -> None:
    async with asking(LOCAL) as asked, operator(asked, tmp_path) as log:
        await configured(asked, MUTATING, log)
        await configured(asked, VALIDATING, log)

        async def make(name: str, size: int, **more: Any) -> tuple[Any, list[str]]:
            call = asked.world.call("create", WIDGETS, {"metadata": {"name": name}, "spec": {"size": size}}, **more)
            answer = await asked.world.manager.handle(call)
            return asked.world.document(WIDGETS, answer), call.warnings

        made, warnings = await make("small", 1)
        assert made["spec"]["color"] == "green"
        assert warnings == ["seen by kopf for admin, dry run: False"]
        made, warnings = await make("big", 20, query="dryRun=All")
        assert made["spec"]["color"] == "red"
        assert warnings == ["seen by kopf for admin, dry run: True"]
        with pytest.raises(ApiError) as refused:
            await make("bad", 13)
        assert refused.value.code == 403
        assert refused.value.message.startswith('admission webhook "')
        assert refused.value.message.endswith("denied the request: 13 is unlucky")
        assert [record.key.name for record in asked.world.stored("widgets.reference.example.com")] == ["small"]
