"""What a real kube-apiserver answered is what this server answers: one test for each recorded case.

The kinds that the cases are about are defined as they were when the answers were recorded: by CustomResourceDefinitions. Cases that
are about what schemas do are played with the same kinds in a plugin as well.

The cases that the tests of this run need are played at once, by a few threads, because most of the time they watch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from _pytest.mark.structures import ParameterSet

from tests.reference.player import Case, Failure, Player, recorded
from tests.servers import REFERENCE, running

KINDS = Path(__file__).with_name("kinds.yaml")
"""The definitions of Widget and Gadget."""

# fmt: off
FEATURES = frozenset({
    "widgets", "gadgets", "builtin:namespace", "builtin:configmap", "builtin:secret", "builtin:serviceaccount", "builtin:event",
    "builtin:lease", "table", "partial-metadata", "openapi", "openapi-v2", "watch-list", "aggregated-discovery", "scale", "health",
    "exact", "compacted", "paths", "bookmarks", "watch-prefix", "apply", "strategic", "quirk",
    "gc", "namespace-controller", "builtin:rbac", "impersonation", "aggregation", "anonymous", "policies",
    "builtin:reviews", "protobuf", "token-request", "crd-api", "cel",
})
# fmt: on
"""What this server has. A case that needs anything else is not played."""

LAZY = "who owns a field is written down from the first server-side apply on, so that what is never applied costs nothing"

DIFFERENT = {
    "apply/conflict-update": LAZY,
    "apply/managed-fields": LAZY,
    "apply/user-agent": LAZY,
    "create/resource-version-set": "400: what was sent is wrong, the server is not",
    "field-validation/apply": "no 500: an unknown field is the client's mistake",
    "get/bad-resource-version": "400, as for a list: a resourceVersion that is no number is the client's mistake",
    "leases/bad-times": "a time with fewer or more digits than six is a time, and is stored with six: refusing it helps nobody",
    "partial-metadata/list-of-one": "406, which is what Accept is answered with that cannot be fulfilled",
    "scale/apply": "415: what is not taken is refused before it is looked at, and not a failure of the server",
    "update/bad-resource-version": "400: a resourceVersion that is no number is the client's mistake",
    "versions/managed-fields": LAZY,
    "watch-errors/malformed-version": "400, as for a list: a resourceVersion that is no number is the client's mistake",
}
"""Where we differ and mean to, and why."""

ADAPTED = {
    ("namespaces/terminating", "6", ".metadata.generation"): "the recorded controller lets five seconds go by before it marks what "
    "is in a namespace, which counts as a change; ours does so at once",
}
"""Single differences that come and go: the case, the step and the place, and why."""

SHAPES = {"field-validation", "openapi", "scale", "status", "table", "versions"}
IN_CODE = frozenset({"create", "discovery", "get", "patch-json", "patch-merge", "update"} | SHAPES)
"""Topics that are played with kinds of a plugin too."""

THREADS = 10

Played = dict[tuple[str, bool], Future[list[Failure]]]


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    """Plays the cases of all selected tests, on servers of their own. A case that has not begun when the tests end never does."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    chosen = [item.callspec.params for item in items if item.module is request.module]
    selected = {(params["case"].id, params["defined"]): params["case"] for params in chosen}
    with ExitStack() as stack:
        players = {defined: stack.enter_context(player(defined=defined)) for defined in {defined for _, defined in selected}}
        threads = stack.enter_context(ThreadPoolExecutor(THREADS))
        yield {(name, defined): threads.submit(players[defined].play, case) for (name, defined), case in selected.items()}
        threads.shutdown(cancel_futures=True)


@contextmanager
def player(*, defined: bool) -> Iterator[Player]:
    """One who plays on a server whose kinds are defined, or declared by a plugin."""
    plugins = () if defined else (REFERENCE,)
    with running(plugins, env={"SKEP_AUTHENTICATION_ANONYMOUS": "on"}) as server, server.client() as client:
        for document in yaml.safe_load_all(KINDS.read_text()) if defined else ():
            made = client.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=document)
            assert made.status_code == 201, made.text
        yield Player(client, server.token)


def cases(*, different: bool) -> list[ParameterSet]:
    """The cases that are to be answered as recorded, or the others, each with whether its kinds are defined."""
    ours = [case for case in recorded() if case.needs <= FEATURES and (case.id in DIFFERENT) is different]
    again = [case for case in ours if case.topic in IN_CODE]
    return [
        *(pytest.param(case, True, id=case.id) for case in ours),
        *(pytest.param(case, False, id=f"{case.id} in code") for case in again),
    ]


def _adapted(case: Case, failure: Failure) -> bool:
    return all((case.id, failure.step, difference.where) in ADAPTED for difference in failure.differences)


@pytest.mark.parametrize(("case", "defined"), cases(different=False))
def test_the_server_answers_as_recorded(case: Case, defined: bool, played: Played) -> None:
    failures = [failure for failure in played[case.id, defined].result() if not _adapted(case, failure)]
    assert not failures, "\n".join([f"{case.id}: {case.about}", *map(str, failures)])


@pytest.mark.parametrize(("case", "defined"), cases(different=True))
def test_the_server_still_differs_where_it_means_to(case: Case, defined: bool, played: Played) -> None:
    assert played[case.id, defined].result(), f"{case.id} is answered as recorded now: take it out of DIFFERENT"
