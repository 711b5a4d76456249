"""The audit log of a running server, as its settings say. Without a policy there is none, and it costs nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from apiserver import audit_policy
from apiserver.audit import Auditor
from apiserver.audit_file import Descriptor, Log, Output, RotatedFile, Writer
from apiserver.audit_policy import Policy
from apiserver.chance import PooledRandom
from apiserver.config import ConfigError, Settings, StartError
from apiserver.sections import Audit

NAME = "audit.log"
STANDARD_OUTPUT = 1


def policy_of(settings: Audit) -> Policy | None:
    """What is told; None: nothing is. Raises ConfigError."""
    if settings.policy is not None:
        return audit_policy.load(settings.policy)
    if settings.file is not None or settings.stdout:
        named = "audit.file" if settings.file is not None else "audit.stdout"
        hint = "a policy that tells who did what, of everything: {rules: [{level: Metadata}]}"
        raise ConfigError([f"{named} is set, and audit.policy is not: nothing would be written there"], hint)
    return None


@contextmanager
def auditing(settings: Settings, policy: Policy | None, folder: Path, log: Log) -> Iterator[Auditor | None]:
    """Within it requests can be told; leaving it writes what is left. `folder` is that of the data. Raises StartError."""
    if policy is None:
        yield None
        return
    audit = settings.audit
    outputs: list[Output] = [Descriptor(STANDARD_OUTPUT)] if audit.stdout else []
    with ExitStack() as opened:
        if audit.file is not None or not audit.stdout:
            outputs.append(_file(audit, audit.file or folder / NAME))
        writer = Writer(outputs, log, most=audit.queue_events, most_bytes=audit.queue_bytes)
        yield Auditor(policy, opened.enter_context(writer), now=time.time, chance=PooledRandom())


def _file(audit: Audit, path: Path) -> RotatedFile:
    file = RotatedFile(path, max_bytes=audit.max_bytes, keep=audit.keep)
    try:
        file.open()
    except OSError as error:
        raise StartError(f"the audit log {path} cannot be written: {error.strerror}", "audit.file names another place") from None
    return file
