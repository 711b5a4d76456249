"""Real servers for tests: `skep serve` as a process of its own, on a free port of 127.0.0.1, with its own data folder.

What a test is given is a server that has said that it serves. It is ended by SIGTERM when the body of the `with` ends, and killed
if a test wants it so; no server outlives its `with`. Settings of whoever runs the tests do not reach it.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests/plugins/reference.py"
"""The plugin with the kinds Widget and Gadget."""

_SERVES = re.compile(r"Skep serves (https://\S+)")


class Running:
    """A server that serves. Its files are in `data_dir`; what it logged is `log`."""

    def __init__(self, process: subprocess.Popen[str], url: str, data_dir: Path, log_file: Path) -> None:
        self.process = process
        self.url = url
        self.data_dir = data_dir
        self.ca = data_dir / "ca.crt"
        self.kubeconfig = data_dir / "kubeconfig"
        self.token = (data_dir / "admin.token").read_text().strip()
        self._log_file = log_file

    @property
    def port(self) -> int:
        """The port that it listens on, on 127.0.0.1."""
        return httpx.URL(self.url).port or 443

    @property
    def log(self) -> str:
        """Everything that it has written to its log so far."""
        return self._log_file.read_text(errors="replace")

    @property
    def trust(self) -> ssl.SSLContext:
        """Verifies the server's certificate."""
        return ssl.create_default_context(cafile=self.ca)

    def client(self, timeout: float = 60.0) -> httpx.Client:
        """A new client with the administrator's token. The caller closes it."""
        return httpx.Client(base_url=self.url, headers=self._headers, verify=self.trust, timeout=timeout, trust_env=False)

    def async_client(self, timeout: float = 60.0) -> httpx.AsyncClient:
        """The same for asynchronous tests. The caller closes it."""
        return httpx.AsyncClient(base_url=self.url, headers=self._headers, verify=self.trust, timeout=timeout, trust_env=False)

    def stop(self) -> int:
        """Asks it to stop (SIGTERM), waits until it has, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()

    def kill(self) -> None:
        """Ends it in the middle of what it does (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def running(
    plugins: Sequence[str | Path] = (REFERENCE,),
    *arguments: str,
    data_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Runs `skep serve` for the body. Without a `data_dir` it has a temporary one, which is removed afterwards.

    `arguments` are further flags; `--listen` among them goes before the free port that is the default. Fails the test, with the
    server's log, if it ends before it serves.
    """
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-data-")))
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skep-log-")))
        process = stack.enter_context(_started(plugins, arguments, folder, logs / "log", env or {}))
        server = Running(process, _announced(process, logs / "log"), folder, logs / "log")
        try:
            yield server
        finally:
            if process.poll() is None:
                server.stop()


@contextmanager
def _started(
    plugins: Sequence[str | Path], arguments: Sequence[str], folder: Path, log_file: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "apiserver", "serve", "--data-dir", str(folder), "--log-format", "json"]
    command += [word for plugin in plugins for word in ("--plugin", str(plugin))]
    command += [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, env={**clean, **env}, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _announced(process: subprocess.Popen[str], log_file: Path) -> str:
    """The URL that it prints when it serves."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := _SERVES.match(line):
            return found[1]
    pytest.fail(f"the server ended with {process.wait()} before it served:\n{log_file.read_text(errors='replace')}")
