"""Lease (coordination.k8s.io/v1): who is in charge, and for how long. Leader election renews one."""

from __future__ import annotations

from typing import Annotated

from registry.builtin.common import builtin, column, printer, version
from registry.errors import Cause, invalid
from registry.kinds import Document
from registry.resource import Format, Meta, MicroTime, Object, Spec

Int32 = Annotated[int, Format("int32")]


class LeaseSpec(Spec):
    """LeaseSpec says who holds a lease."""

    holder_identity: Annotated[str | None, Meta(description="Who holds the lease now; empty when nobody does.")] = None
    lease_duration_seconds: Annotated[
        Int32 | None, Meta(description="Seconds after renewTime until others may take the lease.")
    ] = None
    acquire_time: Annotated[MicroTime | None, Meta(description="When the lease was taken by its holder.")] = None
    renew_time: Annotated[MicroTime | None, Meta(description="When the holder last said that it is there.")] = None
    lease_transitions: Annotated[Int32 | None, Meta(description="How often the lease changed hands.")] = None
    strategy: Annotated[str | None, Meta(description="How the holder is chosen in coordinated election.")] = None
    preferred_holder: Annotated[str | None, Meta(description="Who should take the lease next.")] = None


class Lease(Object):
    """Lease defines a lease concept."""

    spec: Annotated[LeaseSpec | None, Meta(description="Who holds the lease.")] = None


def prepare(new: Document, old: Document | None) -> Document:
    """A lease always has a spec."""
    del old
    return new if "spec" in new else {**new, "spec": {}}


def check(new: Document, old: Document | None) -> list[Cause]:
    """Durations are positive, counts are not negative."""
    del old
    spec = new.get("spec", {})
    causes = []
    if spec.get("leaseDurationSeconds", 1) <= 0:
        causes.append(invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0"))
    if spec.get("leaseTransitions", 0) < 0:
        causes.append(invalid("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"))
    return causes


TABLE = printer(
    [column("Holder", "Who holds the lease.")], lambda document, _: [document.get("spec", {}).get("holderIdentity", "")]
)
LEASE = builtin(
    "Lease",
    "leases",
    (version(Lease, "coordination.k8s.io", "v1", "Lease", TABLE),),
    prepare=prepare,
    check=check,
    create_on_update=True,
    unconditional_update=False,
)
