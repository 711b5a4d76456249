"""Definitions of well-known projects, as `crds/README.md` tells where they are from, and objects of their kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "crds"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "README.md")

CONTAINER = {"name": "worker", "image": "ghcr.io/dask/dask:latest", "args": ["dask-worker"], "ports": [{"containerPort": 8786}]}
PORT = {"name": "tcp", "port": 8786, "protocol": "TCP", "targetPort": "tcp"}
SERVICE = {"type": "ClusterIP", "selector": {"a": "b"}, "ports": [PORT]}
COOKIES = {"consistentHash": {"httpCookie": {"name": "user"}, "maglev": {"tableSize": 65537}}}
OUTLIERS = {"outlierDetection": {"consecutive5xxErrors": None}}
OBJECTS: dict[str, dict[str, Any]] = {
    "prometheusrule": {
        "groups": [
            {
                "name": "disks",
                "interval": "1m30s",
                "partial_response_strategy": "WARN",
                "rules": [
                    {"alert": "DiskFull", "expr": "disk_free < 1", "for": "5m", "labels": {"severity": "page"}},
                    {"record": "one", "expr": 1},
                ],
            }
        ]
    },
    "referencegrant": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
        "to": [{"group": "", "kind": "Service"}],
    },
    "certificaterequest": {"csr": "aGk=", "issuerRef": {"name": "ca"}, "usages": ["digital signature", "server auth"]},
    "destinationrule": {
        "host": "reviews",
        "trafficPolicy": {"loadBalancer": COOKIES},
        "subsets": [{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": OUTLIERS}],
    },
    "daskautoscaler": {"cluster": "simple", "minimum": 1, "maximum": 10},
    "daskcluster": {
        "worker": {"replicas": 2, "spec": {"containers": [CONTAINER]}},
        "scheduler": {"spec": {"containers": [CONTAINER]}, "service": SERVICE},
    },
}
"""Of each definition, by the beginning of its file's name: the spec of an object. Constant."""


def definition(name: str) -> Any:
    """A definition, by its file or the beginning of that."""
    path = FOLDER / next(file for file in FILES if file.startswith(name))
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
