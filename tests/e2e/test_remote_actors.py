"""Actors in processes of their own, on a real server: one works, another takes over, and who comes too late writes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres import Postgres, postgres  # noqa: F401
from tests.servers import ROOT, Running, running

SHIFTS = ROOT / "tests/plugins/shifts.py"
MOODY = ROOT / "tests/plugins/moody.py"
PATH = "/apis/shifts.example/v1/namespaces/default/shifts"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/skep-actor-work"
MERGE = {"Content-Type": "application/merge-patch+json"}
LEASE_SECONDS = 2.0
GAP = LEASE_SECONDS / 4
"""Seconds that always lie between the last run of one leader and the first of the next, if the one does not give its lease back.

It goes on for two thirds of the lease after its last renewal, and the next waits for all of it; a little less, for lines in a file.
"""
Document = dict[str, Any]


class Remote:
    """A `skep actor run` that runs."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        self.said: list[str] = []

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def health(self) -> str:
        """Where it serves its health."""
        return next(found[0] for line in self.said if (found := re.search(r"http://\S+", line)))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has reached it."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait()


class Office:
    """A server without actors of its own, the file of all runs, and remote runners that end with the test."""

    def __init__(self, server: Running, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self.folder = folder
        self.book = folder / "book"
        self.book.touch()
        self.api = stack.enter_context(server.client())
        self._stack = stack

    def runner(self, *arguments: str, plugin: Path = SHIFTS) -> Remote:
        """A new runner that has said that it runs."""
        remote = self._stack.enter_context(started(self, plugin, arguments))
        assert remote.process.stdout is not None
        for _ in range(1 + ("--health" in arguments)):
            line = remote.process.stdout.readline()
            assert line, f"it ended with {remote.process.wait()}:\n{remote.log}"
            remote.said.append(line)
        return remote

    def runs(self) -> list[Document]:
        """What the actors have said, in order."""
        return [json.loads(line) for line in self.book.read_text().splitlines()]

    def make(self, name: str, **spec: Any) -> None:
        body = {"apiVersion": "shifts.example/v1", "kind": "Shift", "metadata": {"name": name}, "spec": spec}
        answer = self.api.post(PATH, json=body)
        assert answer.status_code == 201, answer.text

    def status(self, name: str) -> Document:
        found: Document = self.api.get(f"{PATH}/{name}").json().get("status", {})
        return found

    def lease(self) -> Document:
        found: Document = self.api.get(LEASE).json()
        return found


@contextmanager
def started(office: Office, plugin: Path, arguments: Sequence[str]) -> Iterator[Remote]:
    log = office.folder / f"remote-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "apiserver", "actor", "run", "--plugin", str(plugin), "--log-format", "json"]
    command += ["--kubeconfig", str(office.server.kubeconfig), "--lease", str(LEASE_SECONDS), *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "SHIFTS": str(office.book)}, stdout=subprocess.PIPE, stderr=file, text=True
        )
    with process:
        try:
            yield Remote(process, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        server = stack.enter_context(running([SHIFTS], "--no-actors", data_dir=tmp_path / "data"))
        yield Office(server, tmp_path, stack)


def until(holds: Callable[[], Any]) -> Any:
    """Asks again and again, until something is so; pytest's time limit ends a wait in vain."""
    while not (found := holds()):
        time.sleep(0.02)
    return found


def test_of_two_runners_one_works_and_when_it_is_stopped_the_other_takes_over_at_once(office: Office) -> None:
    one = office.runner()
    office.make("a")
    until(lambda: office.status("a").get("runs", 0) >= 3)
    two = office.runner()
    until(lambda: office.status("a").get("runs", 0) >= 10)
    assert {run["process"] for run in office.runs()} == {one.process.pid}
    assert one.stop() == 0
    assert "no longer leading" not in one.log
    until(lambda: office.status("a").get("process") == two.process.pid)
    processes = [run["process"] for run in office.runs()]
    taken = processes.index(two.process.pid)  # perhaps before the other process had ended, but never before its last run
    assert set(processes[:taken]) == {one.process.pid}
    assert set(processes[taken:]) == {two.process.pid}
    assert office.status("a")["epoch"] == 2
    assert two.stop() == 0
    assert office.lease()["spec"]["holderIdentity"] == ""


def test_a_runner_that_is_killed_is_followed_when_its_lease_has_run_out_and_not_before(office: Office) -> None:
    one = office.runner()
    office.make("a")
    until(lambda: office.status("a").get("runs", 0) >= 3)
    two = office.runner()
    one.process.kill()
    renewed = time.monotonic()
    until(lambda: office.status("a").get("process") == two.process.pid)
    runs = office.runs()
    last = max(run["at"] for run in runs if run["process"] == one.process.pid)
    first = min(run["at"] for run in runs if run["process"] == two.process.pid)
    assert first - last > GAP
    assert first > renewed


def test_a_leader_that_is_stopped_for_longer_than_its_lease_and_goes_on_is_no_leader_and_writes_nothing(office: Office) -> None:
    one = office.runner()
    for name in "abcd":
        office.make(name, lasts=0.3)
    until(lambda: office.status("d").get("runs", 0) >= 1)
    old = office.lease()
    two = office.runner()
    until(lambda: open_runs(office, one) > 0)
    one.signal(signal.SIGSTOP)
    until(one.is_stopped)
    at_stop = len(office.runs())
    until(lambda: all(office.status(name).get("process") == two.process.pid for name in "abcd"))
    one.signal(signal.SIGCONT)
    until(lambda: "no longer leading" in one.log)
    runs = office.runs()
    continued = len(runs)
    until(lambda: len(office.runs()) > continued + 20)
    assert not [run for run in office.runs()[at_stop:] if run["process"] == one.process.pid and run["what"] == "begins"]
    assert {office.status(name)["epoch"] for name in "abcd"} == {2}
    new = office.lease()
    assert (old["spec"]["leaseTransitions"], new["spec"]["leaseTransitions"]) == (1, 2)
    assert old["metadata"]["uid"] == new["metadata"]["uid"]
    assert exclusive(office.runs())

    late = write_status(office, old)
    assert late.status_code == 403
    assert late.json()["message"].startswith(
        "the epoch 1 of system:serviceaccount:kube-system:skep-actor-work is over: the lease kube-system/skep-actor-work is held by"
    )
    none = office.api.patch(
        f"{PATH}/a/status",
        json={"status": {"runs": 1}},
        headers={**MERGE, "Impersonate-User": "system:serviceaccount:kube-system:skep-actor-work"},
    )
    assert none.status_code == 403
    assert "a write needs its epoch" in none.json()["message"]
    assert write_status(office, new).status_code == 200


def open_runs(office: Office, remote: Remote) -> int:
    """How many runs have begun in a process and not ended."""
    whats = [run["what"] for run in office.runs() if run["process"] == remote.process.pid]
    return whats.count("begins") - whats.count("ends")


def exclusive(runs: list[Document]) -> bool:
    """Whether the runs of an epoch all began after those of the epoch before."""
    epochs = [run["epoch"] for run in sorted(runs, key=lambda run: run["at"]) if run["what"] == "begins"]
    return epochs == sorted(epochs)


def write_status(office: Office, lease: Document) -> httpx.Response:
    """A write as a runner makes it that held the lease as it was."""
    epoch = f"{lease['spec']['leaseTransitions']}/{lease['metadata']['uid']}"
    headers = {**MERGE, "Impersonate-User": "system:serviceaccount:kube-system:skep-actor-work", "Skep-Actor-Epoch": epoch}
    return office.api.patch(f"{PATH}/a/status", json={"status": {"saw": "late"}}, headers=headers)


def test_a_runner_outlives_the_server_and_misses_nothing_of_what_happened_meanwhile(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ExitStack() as stack, ExitStack() as first:
        server = first.enter_context(running([SHIFTS], "--no-actors", data_dir=data))
        office = Office(server, tmp_path, stack)
        remote = office.runner()
        office.make("a", every=3600, note="one")
        until(lambda: office.status("a").get("saw") == "one")
        port = server.port
        server.kill()
        again = stack.enter_context(running([SHIFTS], "--no-actors", "--listen", f"127.0.0.1:{port}", data_dir=data))
        office.api = stack.enter_context(again.client())
        answer = office.api.patch(f"{PATH}/a", json={"spec": {"note": "two"}}, headers=MERGE)
        assert answer.status_code == 200
        office.make("b", every=3600, note="three")
        until(lambda: office.status("a").get("saw") == "two" and office.status("b").get("saw") == "three")
        assert remote.stop() == 0


def test_at_sigterm_what_is_at_work_is_finished_within_the_grace_and_its_status_written(office: Office) -> None:
    remote = office.runner("--grace", "20")
    office.make("a", lasts=0.8, every=3600, note="done")
    until(lambda: open_runs(office, remote) == 1)
    assert remote.stop() == 0
    assert office.status("a")["saw"] == "done"
    assert office.lease()["spec"]["holderIdentity"] == ""


def test_the_log_of_a_runner_shows_no_token_even_when_it_tells_all(office: Office) -> None:
    remote = office.runner("--log-level", "debug")
    office.make("a")
    until(lambda: office.status("a").get("runs", 0) >= 3)
    assert remote.stop() == 0
    assert "leading" in remote.log
    assert office.server.token not in remote.log + "".join(remote.said)


def test_what_outlasts_the_grace_is_ended(office: Office) -> None:
    remote = office.runner("--grace", "0.2")
    office.make("a", lasts=3600)
    until(lambda: open_runs(office, remote) == 1)
    assert remote.stop() == 0
    assert office.status("a") == {}


def test_the_port_of_a_runner_tells_its_health_and_figures(office: Office) -> None:
    one, two = office.runner("--health", "127.0.0.1:0"), office.runner("--health", "127.0.0.1:0")
    office.make("a")
    until(lambda: office.status("a").get("runs", 0) >= 3)
    with httpx.Client(trust_env=False) as client:
        for remote in (one, two):
            assert client.get(f"{remote.health}/healthz").text == "ok"
            until(lambda: client.get(f"{remote.health}/readyz").status_code == 200)  # noqa: B023
        assert 'leader_election_master_status{name="skep-actor-work"} 1.0' in client.get(f"{one.health}/metrics").text
        assert 'leader_election_master_status{name="skep-actor-work"} 0.0' in client.get(f"{two.health}/metrics").text
        total = 'controller_runtime_reconcile_total{controller="work",result="requeue_after"} '
        assert float(client.get(f"{one.health}/metrics").text.partition(total)[2].split()[0]) >= 3
        office.server.kill()
        until(lambda: client.get(f"{one.health}/readyz").status_code == 503)
        assert client.get(f"{one.health}/healthz").text == "ok", "a restart would not bring the server back"


def test_a_server_and_a_remote_runner_of_one_plugin_never_both_act(tmp_path: Path) -> None:
    book = {"SHIFTS": str(tmp_path / "book")}
    with ExitStack() as stack:
        server = stack.enter_context(running([SHIFTS], data_dir=tmp_path / "data", env=book))
        office = Office(server, tmp_path, stack)
        office.make("a")
        until(lambda: office.status("a").get("process") == server.process.pid)
        remote = office.runner()
        runs = office.status("a")["runs"]
        until(lambda: office.status("a")["runs"] > runs + 20)
        assert {run["process"] for run in office.runs()} == {server.process.pid}
        written = office.lease()["metadata"]["resourceVersion"]
        assert office.lease()["spec"]["holderIdentity"].startswith("server:")
        port = server.port
        assert server.stop() == 0
        again = stack.enter_context(
            running([SHIFTS], "--no-actors", "--listen", f"127.0.0.1:{port}", data_dir=tmp_path / "data", env=book)
        )
        office.api = stack.enter_context(again.client())
        until(lambda: office.status("a")["process"] == remote.process.pid)
        assert int(office.lease()["metadata"]["resourceVersion"]) > int(written)
        assert exclusive(office.runs())


def test_leases_of_a_server_that_was_killed_do_not_keep_the_next_one_waiting(tmp_path: Path) -> None:
    book = {"SHIFTS": str(tmp_path / "book")}
    for epoch in (1, 2):
        with running([SHIFTS], data_dir=tmp_path / "data", env=book) as server, server.client() as api:
            if epoch == 1:
                body = {"apiVersion": "shifts.example/v1", "kind": "Shift", "metadata": {"name": "a"}, "spec": {}}
                assert api.post(PATH, json=body).status_code == 201
            until(lambda: api.get(f"{PATH}/a").json().get("status", {}).get("epoch") == epoch)  # noqa: B023
            lease = api.get(LEASE).json()
            until(lambda: api.get(f"{PATH}/a").json()["status"]["runs"] > 20 * epoch)  # noqa: B023
            assert api.get(LEASE).json() == lease, "a server that is alone writes its lease once"
            server.kill()


# What is asked wrongly


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "apiserver", "actor", "run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_mistakes_are_a_line_each_and_say_what_to_do(office: Office, tmp_path: Path) -> None:
    config = str(office.server.kubeconfig)
    plugin = ["--plugin", str(SHIFTS)]
    stranger = tmp_path / "stranger"
    stranger.write_text(office.server.kubeconfig.read_text().replace(office.server.token, "x" * 40))
    empty = tmp_path / "empty.py"
    empty.write_text("from registry.plugin import Plugin\nplugin = Plugin('empty')\n")
    for code, expected, arguments in (
        (2, "there is no context 'nowhere' in it", [*plugin, "--kubeconfig", config, "--context", "nowhere"]),
        (2, "--actor werk: no plugin declares such an actor", [*plugin, "--kubeconfig", config, "--actor", "werk"]),
        (2, "cannot be read: No such file", [*plugin, "--kubeconfig", str(tmp_path / "gone")]),
        (2, "no plugin declares an actor", ["--plugin", str(empty), "--kubeconfig", config]),
        (2, "is not a value of health", [*plugin, "--kubeconfig", config, "--health", "nowhere"]),
        (1, "refuses the credential: Unauthorized", [*plugin, "--kubeconfig", str(stranger)]),
        (
            1,
            "does not serve moods.moody.example/v1: load the plugin into the server",
            ["--plugin", str(MOODY), "--kubeconfig", config],
        ),
    ):
        done = command(*arguments)
        assert (done.returncode, expected in done.stderr) == (code, True), (arguments, done.stderr)
        assert "x" * 40 not in done.stderr + done.stdout


# PostgreSQL: nobody has the database to itself


def test_a_server_on_postgres_renews_its_leases_and_the_next_one_waits_until_they_have_run_out(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database_server: Postgres = request.getfixturevalue("postgres")
    book = tmp_path / "book"
    arguments = ["--set", f"actors.lease_seconds={LEASE_SECONDS}", "--database-url"]

    def runs() -> list[Document]:
        return [json.loads(line) for line in book.read_text().splitlines()]

    with database_server.database() as url:
        with running([SHIFTS], *arguments, url, data_dir=tmp_path / "a", env={"SHIFTS": str(book)}) as one, one.client() as api:
            body = {"apiVersion": "shifts.example/v1", "kind": "Shift", "metadata": {"name": "a"}, "spec": {}}
            assert api.post(PATH, json=body).status_code == 201
            until(lambda: api.get(f"{PATH}/a").json().get("status", {}).get("epoch") == 1)
            first = api.get(LEASE).json()["spec"]["renewTime"]
            until(lambda: api.get(LEASE).json()["spec"]["renewTime"] > first)
            one.kill()
        with running([SHIFTS], *arguments, url, data_dir=tmp_path / "b", env={"SHIFTS": str(book)}) as two, two.client() as api:
            until(lambda: api.get(f"{PATH}/a").json()["status"]["epoch"] == 2)
    assert exclusive(runs())
    last, following = (choose(run["at"] for run in runs() if run["epoch"] == epoch) for choose, epoch in ((max, 1), (min, 2)))
    assert following - last > GAP
