"""kubectl as a person runs it: a real program, with a home, a cache and a kubeconfig of its own.

Two versions are run where they are installed beside the one on PATH (as some distributions of it do), else that one. If there is no
kubectl the tests fail: a client that was not tried is not one that works.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

VERSIONS = ("1.32", "1.33")


def programs() -> Mapping[str, Path | None]:
    """The kubectls to run, by version; None if there is none."""
    found = shutil.which("kubectl")
    if found is None:
        return {"missing": None}
    folder = Path(found).resolve().parent
    versioned = {version: folder / f"kubectl.{version}" for version in VERSIONS}
    return {version: path for version, path in versioned.items() if path.exists()} or {"plain": Path(found)}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command answered."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl in one namespace. `environment` is all that it sees of whoever runs the tests."""

    program: Path
    namespace: str
    environment: Mapping[str, str]

    def __call__(self, *words: str, stdin: Any = None) -> str:
        """Runs a command that must succeed, and returns what it printed. `stdin` is an object, or a text."""
        ran = self.run(*words, stdin=stdin)
        assert ran.code == 0, f"kubectl {' '.join(words)} ended with {ran.code}\n{ran.out}{ran.err}"
        return ran.out

    def refused(self, *words: str, stdin: Any = None) -> str:
        """Runs a command that must fail, and returns what it said about it."""
        ran = self.run(*words, stdin=stdin)
        assert ran.code == 1, f"kubectl {' '.join(words)} ended with {ran.code}\n{ran.out}{ran.err}"
        return ran.err

    def run(self, *words: str, stdin: Any = None) -> Ran:
        """Runs a command."""
        text = stdin if isinstance(stdin, str) else "" if stdin is None else json.dumps(stdin)
        done = subprocess.run(self._command(words), env=self.environment, input=text, capture_output=True, text=True, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on during the body, such as a watch. It is ended with the body."""
        process = subprocess.Popen(
            self._command(words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def get(self, *words: str) -> Any:
        """What `get -o json` shows."""
        return json.loads(self("get", *words, "-o", "json"))

    def seeing(self, **variables: str) -> Kubectl:
        """The same with more environment variables."""
        return replace(self, environment={**self.environment, **variables})

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [str(self.program), "--namespace", self.namespace, *words]


def environment(home: Path, kubeconfig: Path) -> dict[str, str]:
    """What kubectl sees: PATH (for `diff`, editors), its own home and temporary folder, and the kubeconfig."""
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home / "tmp"), "KUBECONFIG": str(kubeconfig)}


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table that are not empty. An age is `<age>`."""
    return [[re.sub(r"^(\d+[smhd])+$", "<age>", cell) for cell in line.split()] for line in text.splitlines() if line]


def next_row(process: subprocess.Popen[str]) -> list[str]:
    """The next line that a running command prints, as `rows` shows it; empty at its end."""
    assert process.stdout is not None
    return (rows(process.stdout.readline()) or [[]])[0]
