"""What a decision by roles costs: microseconds, with many bindings, for users whose decisions are remembered and for others."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from admission.identity import Identity, authenticated
from admission.rbac import Binding, Place, Rbac, Role, Subject
from admission.review import Attributes
from admission.rules import Rule

BINDINGS = 10_000
USERS = 2_000
NAMESPACES = 200
ROLES = 100
DECISIONS = 50_000
TURNS = 5


def measure() -> dict[str, Any]:
    """Times of decisions in microseconds. `fresh`: nothing is remembered; `again`: asked a second time; `crowd`: somebody who has
    every role, most of them many times."""
    rbac = many()
    chance = random.Random(1)
    asked = [one(chance) for _ in range(DECISIONS)]
    crowd = [Attributes(Identity("crowd"), "get", "kind1.bench.example", "", f"ns{number % NAMESPACES}") for number in range(2_000)]
    fresh = _best(rbac, asked, forget=True)
    again = _best(rbac, asked[:10_000], forget=False)
    return {"bindings": BINDINGS, "fresh_us": fresh, "again_us": again, "crowd_us": _best(rbac, crowd, forget=True)}


def many() -> Rbac:
    """Users with some roles each in some namespaces, some everywhere, and one with all."""
    rbac, chance = Rbac(), random.Random(0)
    for number in range(ROLES):
        rules = tuple(
            Rule(("get", "list", "watch"), ("bench.example",), (f"kind{chance.randrange(50)}",), names)
            for names in ((), ("a", "b"), ("c",))
        )
        rbac.put_role(Place("", f"role{number}"), Role(rules))
    for number in range(BINDINGS):
        namespace = f"ns{chance.randrange(NAMESPACES)}" if number % 10 else ""
        name = "crowd" if number % 5 == 0 else f"user{chance.randrange(USERS)}"
        subjects = (Subject("User", name), Subject("Group", f"group{chance.randrange(500)}"))
        rbac.put_binding(Place(namespace, f"b{number}"), Binding("ClusterRole", f"role{number % ROLES}", subjects))
    return rbac


def one(chance: random.Random) -> Attributes:
    """A request of a user with a few groups."""
    groups = tuple(f"group{chance.randrange(500)}" for _ in range(3))
    who = authenticated(Identity(f"user{chance.randrange(USERS)}", groups=groups))
    resource = f"kind{chance.randrange(50)}.bench.example"
    return Attributes(who, chance.choice(("get", "list", "update")), resource, "", f"ns{chance.randrange(NAMESPACES)}", "a")


def _best(rbac: Rbac, asked: Sequence[Attributes], *, forget: bool) -> float:
    """The best of some turns, in time of the processor: others may have it in between. A binding of nobody makes it forget."""
    best = float("inf")
    for _ in range(TURNS):
        if forget:
            rbac.put_binding(Place("", "nobody"), Binding("ClusterRole", "role0"))
        begun = time.process_time()
        for each in asked:
            rbac.decide(each)
        best = min(best, (time.process_time() - begun) / len(asked))
    return round(best * 1e6, 2)
