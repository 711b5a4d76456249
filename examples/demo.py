"""The whole job without a person: a server starts, a Probe is applied, its actor makes it ready, and the server stops.

Needs no network: what is probed is a little server in this process. Uses kubectl where there is one, and plain HTTP where not.
The exit status is 0 if the Probe became ready, with its Event or condition to show, and the server stopped cleanly.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

PATIENCE = 60.0  # seconds for each step on a slow machine; what is waited for usually takes less than one
PROBES = "/apis/uptime.example/v1/namespaces/default/probes"


class Answer(BaseHTTPRequestHandler):
    """What is probed: answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Api:
    """The server under its kubeconfig, as any client sees it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        self.client = httpx.Client(
            base_url=cluster["server"],
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
            verify=ssl.create_default_context(cadata=authority),
            timeout=PATIENCE,
            trust_env=False,
        )

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The object at the path."""
        found: dict[str, Any] = self.client.get(path, params=query).raise_for_status().json()
        return found

    def until_ready(self, path: str, name: str) -> dict[str, Any]:
        """Watches an object until its status says ready."""
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(int(PATIENCE))}
        with self.client.stream("GET", path, params=query) as events:
            for line in events.iter_lines():
                seen: dict[str, Any] = json.loads(line)["object"]
                if seen.get("status", {}).get("ready"):
                    return seen
        raise TimeoutError(f"{name} was not ready after {PATIENCE:.0f} seconds")


def main() -> int:
    """Plays the demo; 0 if everything in it worked."""
    probed = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=probed.serve_forever, daemon=True).start()
    probe = {
        "apiVersion": "uptime.example/v1",
        "kind": "Probe",
        "metadata": {"name": "home", "namespace": "default"},
        "spec": {"url": f"http://127.0.0.1:{probed.server_port}/", "intervalSeconds": 5},
    }
    with tempfile.TemporaryDirectory(prefix="skep-demo-") as folder:
        server = start(Path(folder))
        try:
            play(Path(folder), server, probe)
        finally:
            code = stop(server)
    probed.shutdown()
    say(f"server stopped with exit status {code}")
    return code


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A server on a free port with its data in the folder."""
    say("starting a server with examples/uptime.py")
    command = [sys.executable, "-P", "-m", "apiserver", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")]
    plugin = Path(__file__).with_name("uptime.py")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKEP_")}
    return subprocess.Popen([*command, "--plugin", str(plugin), "--log-access", "errors", "--log-level", "warning"], env=environ)


def play(folder: Path, server: subprocess.Popen[bytes], probe: dict[str, Any]) -> None:
    """Applies the Probe, waits for its actor, and shows what came of it."""
    kubeconfig = folder / "data" / "kubeconfig"
    api = wait_for(lambda: ready(kubeconfig), server)
    kubectl = shutil.which("kubectl")
    if kubectl:
        environ = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(folder)}  # kubectl keeps its cache in HOME
        say("kubectl apply -f -")
        subprocess.run([kubectl, "apply", "-f", "-"], input=yaml.safe_dump(probe).encode(), env=environ, check=True)
    else:
        say(f"POST {PROBES} (there is no kubectl on the PATH)")
        api.client.post(PROBES, json=probe).raise_for_status()
    say("watching until status.ready is true")
    seen = api.until_ready(PROBES, "home")
    if kubectl:
        for words in (["get", "probes"], ["get", "probe", "home", "-o", "yaml"], ["get", "events"]):
            say("kubectl " + " ".join(words))
            subprocess.run([kubectl, *words], env=environ, check=True)
    else:
        print(yaml.safe_dump(seen, sort_keys=False))
        for event in api.get("/api/v1/namespaces/default/events")["items"]:
            print(event["type"], event["reason"], event["message"])
    if seen["status"].get("lastCode") != 200:
        raise SystemExit(f"the Probe is ready without having got a 200: {seen['status']}")


def ready(kubeconfig: Path) -> Api | None:
    """The API as soon as it says that it is ready."""
    if not kubeconfig.exists():
        return None
    try:
        api = Api(kubeconfig)
        api.client.get("/readyz").raise_for_status()
    except httpx.HTTPError:
        return None
    return api


def wait_for(look: Callable[[], Api | None], server: subprocess.Popen[bytes]) -> Api:
    """What `look` finds, as soon as it finds something; SystemExit when the server ends before."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        if server.poll() is not None:
            raise SystemExit(f"the server ended with exit status {server.returncode} before it was ready")
        time.sleep(0.05)
    raise SystemExit(f"the server was not ready after {PATIENCE:.0f} seconds")


def stop(server: subprocess.Popen[bytes]) -> int:
    """Asks the server to stop, and returns its exit status."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
    try:
        return server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def say(line: str) -> None:
    """Shows a step."""
    print(f"--- {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
