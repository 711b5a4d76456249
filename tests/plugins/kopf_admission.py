"""An operator of kopf, as its users write them: it registers its own webhooks and answers them. Run by `kopf run`.

Where it is told to: PORT, CERT and KEY are those of its webhook server, CA what that is checked by; the API is that of KUBECONFIG.
"""

from __future__ import annotations

import os
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Admission as kopf's documentation has it, with a certificate of our own."""
    settings.posting.enabled = False
    settings.admission.managed = "auto.kopf.dev"
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1",
        port=int(os.environ["PORT"]),
        host="127.0.0.1",
        certfile=os.environ["CERT"],
        pkeyfile=os.environ["KEY"],
        cafile=os.environ["CA"],
    )


@kopf.on.mutate("reference.example.com", "v1", "widgets", operations=["CREATE"])
def paint(patch: kopf.Patch, spec: kopf.Spec, **_: Any) -> None:
    """Small widgets are green."""
    if spec["size"] < 10:
        patch.spec["color"] = "green"


@kopf.on.validate("reference.example.com", "v1", "widgets")
def check(spec: kopf.Spec, warnings: list[str], userinfo: kopf.UserInfo, dryrun: bool, **_: Any) -> None:
    """No widget is of the size 13."""
    warnings.append(f"seen by kopf for {userinfo['username']}, dry run: {dryrun}")
    if spec["size"] == 13:
        raise kopf.AdmissionError("13 is unlucky", code=403)
