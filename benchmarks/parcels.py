"""Parcels as bytes: what clients send, and where.

A note may hold a *mark*: the number of an object and the moment at which it was sent, so that whoever gets it by
a watch knows both.
"""

from __future__ import annotations

import json
import re

API_VERSION = "bench.example.com/v1"
MARK = re.compile(rb"@(\d{8}):(\d{20})@")
MARK_LENGTH = 31


def collection(namespace: str, plural: str = "parcels") -> str:
    """The path of the parcels of a namespace."""
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{plural}"


def mark(number: int, sent_ns: int) -> str:
    """The mark of an object that was sent at a moment of the monotonic clock, in nanoseconds."""
    return f"@{number:08d}:{sent_ns:020d}@"


def parcel(name: str, note: str, kind: str = "Parcel") -> bytes:
    """A parcel to create, so long that the stored object has about 1,000 bytes."""
    items = [
        {"name": f"a thing that is number {number} of the things in this parcel", "count": number, "fragile": True}
        for number in (1, 2, 3, 4)
    ]
    return json.dumps(
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/name": "parcels", "app.kubernetes.io/part-of": "benchmarks", "shelf": "upper"},
                "annotations": {
                    "bench.example.com/why": "so that there is something to read, and something to write, a thousand bytes in all"
                },
            },
            "spec": {"to": "12 Long Street, Somewhere", "note": note, "weightGrams": 1250, "insured": True, "items": items},
        },
        separators=(",", ":"),
    ).encode()
