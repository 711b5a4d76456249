"""What it costs a create to be guarded: a service account's token, a role and two handlers, instead of the administrator's token.

The two are measured in turns on one server. What is compared is throughput; beside it stands the processor time of the server.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks import client, load
from benchmarks.client import Connection
from benchmarks.parcels import API_VERSION
from benchmarks.servers import Server

NAMESPACE = "bench"
SENDER = "sender"
SETTINGS = ("flow.per_second=1000000", "flow.burst=10000000")
"""Its rate is counted, and high enough."""
RBAC = "rbac.authorization.k8s.io"


async def admit(server: Server) -> Server:
    """Makes a service account that may create guarded parcels and nothing else; the server as that account sees it."""
    async with client.connections(server.endpoint, 1) as (connection,):
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        await _post(connection, accounts, metadata={"name": SENDER})
        roles = f"/apis/{RBAC}/v1/namespaces/{NAMESPACE}"
        rule = {"apiGroups": [API_VERSION.partition("/")[0]], "resources": ["guardeds"], "verbs": ["create"]}
        await _post(connection, f"{roles}/roles", metadata={"name": SENDER}, rules=[rule])
        role = {"apiGroup": RBAC, "kind": "Role", "name": SENDER}
        who = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": SENDER}
        await _post(connection, f"{roles}/rolebindings", metadata={"name": SENDER}, roleRef=role, subjects=[who])
        answer = await _post(connection, f"{accounts}/{SENDER}/token", spec={"expirationSeconds": 3600})
    return replace(server, endpoint=replace(server.endpoint, token=answer["status"]["token"]), kind="Guarded")


async def _post(connection: Connection, path: str, **document: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await connection.request("POST", path, json.dumps(document).encode()))
    return found


def compare(plain: Server, guarded: Server, *, seconds: float, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """So many turns of each. `cost`: how much less is created when it is guarded, as a part of 1."""
    pairs = []
    for number in range(rounds):
        turns = [load.turn(each, "create", seconds, f"g{number}-", connections=64) for each in (plain, guarded)]
        pairs.append(turns)
        say(f"create, round {number + 1}: guarded {turns[1].per_s:,.0f}/s, plain {turns[0].per_s:,.0f}/s")
    cost = 1 - statistics.median(after.per_s / before.per_s for before, after in pairs)
    cpu = [statistics.median(pair[side].cpu_us for pair in pairs) for side in (0, 1)]
    per_s = [statistics.median(pair[side].per_s for pair in pairs) for side in (0, 1)]
    return {
        "cost": round(cost, 3),
        "plain": {"per_s": round(per_s[0]), "cpu_us": round(cpu[0], 1)},
        "guarded": {"per_s": round(per_s[1]), "cpu_us": round(cpu[1], 1)},
    }
