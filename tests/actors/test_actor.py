"""What a declaration may be, and the one line that says why it may not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from actors import Client, Done, Observation, Outcome, Run
from actors.actor import Shape, from_declaration
from registry.builtin.configmap import ConfigMap
from registry.declarations import ActorDeclaration, DeclarationError
from tests.actors.world import Job, Part


def declare(reconcile: Callable[..., Any], **options: Any) -> ActorDeclaration:
    return ActorDeclaration(**{"name": "test", "model": Job, "reconcile": reconcile, "source": "plugin.py:7"} | options)


async def two(job: Job, client: Client) -> Outcome:
    return Done()


async def three(job: Job, client: Client, run: Run) -> Outcome:
    return Done()


def plain(job, client):
    return None


async def optional(job: Job, client: Client, extra: int = 5) -> None: ...


async def bound_later(factor: int, job: Job, client: Client) -> None: ...


async def unknown_types(job: Nowhere, client: Nothing) -> None: ...  # noqa: F821


class Keeper:
    async def setup(self, client: Client) -> None: ...
    async def reconcile(self, job: Job, client: Client, run: Run) -> None: ...
    async def teardown(self) -> None: ...


class Plain:
    def reconcile(self, job: Job, client: Client) -> None: ...


class Callable2:
    async def __call__(self, job: Job, client: Client) -> None: ...


@pytest.mark.parametrize(
    ("reconcile", "threaded", "takes_run"),
    [
        (two, False, False),
        (three, False, True),
        (plain, True, False),
        (optional, False, False),
        (partial(bound_later, 3), False, False),
        (unknown_types, False, False),
        (Keeper, False, True),
        (Plain, True, False),
        (Callable2(), False, False),
    ],
)
def test_functions_classes_and_callables_of_two_or_three_arguments_are_actors(
    reconcile: Callable[..., Any], threaded: bool, takes_run: bool
) -> None:
    actor = from_declaration(declare(reconcile))
    assert (actor.threaded, actor.takes_run) == (threaded, takes_run)


def test_each_start_makes_an_object_of_its_own_from_a_class() -> None:
    actor = from_declaration(declare(Keeper))
    assert actor.start().reconcile != actor.start().reconcile


def test_its_identity_is_made_of_its_name() -> None:
    assert (
        from_declaration(declare(two, name="uptime-check")).identity == "system:serviceaccount:kube-system:skep-actor-uptime-check"
    )


def test_a_kind_is_observed_by_its_type_or_with_a_mapping() -> None:
    mapped = Observation(Part, to=lambda part: [("shop", part.spec.job)])
    actor = from_declaration(declare(two, observes=[Part, mapped]))
    assert actor.observes == (Observation(Part, to=None), mapped)


async def one(job: Job) -> None: ...


async def four(job: Job, client: Client, run: Run, more: int) -> None: ...


async def keyword(job: Job, client: Client, *, more: int) -> None: ...


async def other_kind(part: Part, client: Client) -> None: ...


class NoReconcile: ...


class NeedsArguments:
    def __init__(self, client: Client) -> None: ...
    async def reconcile(self, job: Job, client: Client) -> None: ...


class SetupWithoutClient:
    async def setup(self) -> None: ...
    async def reconcile(self, job: Job, client: Client) -> None: ...


class CleansTwice:
    async def reconcile(self, job: Job, client: Client) -> None: ...
    async def cleanup(self, job: Job, client: Client) -> None: ...


class CleansWrongly:
    async def reconcile(self, job: Job, client: Client) -> None: ...
    async def cleanup(self, job: Job) -> None: ...


class TeardownWithClient:
    async def reconcile(self, job: Job, client: Client) -> None: ...
    async def teardown(self, client: Client) -> None: ...


@pytest.mark.parametrize(
    ("reconcile", "options", "says"),
    [
        (one, {}, "one(job: 'Job') must take (object, client) or (object, client, run)"),
        (four, {}, "must take (object, client) or (object, client, run)"),
        (keyword, {}, "must take (object, client) or (object, client, run)"),
        (other_kind, {}, "other_kind takes a Part, but the actor is declared for Job"),
        (NoReconcile, {}, "class NoReconcile needs a method"),
        (NeedsArguments, {}, "NeedsArguments must be made without arguments"),
        (SetupWithoutClient, {}, "SetupWithoutClient.setup must take (self, client)"),
        (TeardownWithClient, {}, "TeardownWithClient.teardown must take (self)"),
        ("two", {}, "is not callable"),
        (two, {"concurrency": 0}, "concurrency is 0"),
        (two, {"timeout": 0}, "timeout is 0 s"),
        (two, {"resync": -1.0}, "resync is -1 s"),
        (two, {"backoff": (10.0, 1.0)}, "backoff is (10, 1)"),
        (two, {"backoff": (0.0, 1.0)}, "backoff is (0, 1)"),
        (two, {"observes": ["parts"]}, "observes 'parts'"),
        (two, {"observes": Part}, "must be a list, as in observes=[Kind]"),
        (two, {"writes": Part}, "must be a list, as in writes=[Kind]"),
        (two, {"writes": ["parts"]}, "writes 'parts'"),
        (two, {"observes": [Observation(Part, to=lambda part: [], label="a")]}, "by to=... or by label=..., not by both"),
        (two, {"observes": [Observation(Part, to="name")]}, "to must be a function"),  # type: ignore[arg-type]
        (two, {"observes": [Observation(Part, label="a b")]}, "Observation(Part): label 'a b'"),
        (two, {"observes": [Observation(Part, namespace_label="a")]}, "goes with label=..."),
        (two, {"concurrency": "4"}, "concurrency is '4'; it must be a number"),
        (two, {"concurrency": 1.5}, "concurrency is 1.5"),
        (two, {"timeout": None}, "timeout is None; it must be a number"),
        (two, {"timeout": float("nan")}, "timeout is nan; it must be a number"),
        (two, {"backoff": 5}, "backoff is 5; it must be the first wait and the longest wait"),
        (two, {"backoff": ("a", "b")}, "backoff is ('a', 'b')"),
        (two, {"labels": "a in b"}, "selector labels='a in b'"),
        (two, {"fields": "status.seen=1"}, "cannot select by the field 'status.seen'"),
        (two, {"cleanup": one}, "one(job: 'Job') must take (object, client) or (object, client, run)"),
        (two, {"cleanup": other_kind}, "other_kind takes a Part, but the actor is declared for Job"),
        (two, {"cleanup": "away"}, "cleanup is 'away'; it must be a function"),
        (two, {"cleanup": Keeper}, "it must be a function"),
        (CleansTwice, {"cleanup": two}, "class CleansTwice has a method cleanup; leave out cleanup=..."),
        (CleansWrongly, {}, "cleanup(job: 'Job') must take (object, client) or (object, client, run)"),
        (two, {"finalizer": "goods"}, "finalizer 'goods' needs a domain of yours"),
        (two, {"finalizer": "shop.example/a b"}, "finalizer 'shop.example/a b'"),
        (two, {"finalizer": 5}, "finalizer is 5"),
        (two, {"name": "x" * 64, "cleanup": two}, "finalizer 'skep.dev/xxx"),
    ],
)
def test_what_cannot_work_is_one_line_with_file_and_line(reconcile: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        from_declaration(declare(reconcile, **options))
    message = str(caught.value)
    assert message.startswith(f"plugin.py:7: actor {options.get('name', 'test')!r}: ")
    assert says in message
    assert "\n" not in message


def test_what_it_has_to_be_allowed_is_made_of_what_it_says() -> None:
    actor = from_declaration(declare(two, observes=[Part, Observation(ConfigMap, label="a")], writes=[Part]))
    assert [(each.model.__name__, each.subresource, set(each.verbs)) for each in actor.permissions()] == [
        ("Job", "", {"get", "list", "watch", "patch"}),
        ("Job", "status", {"get", "update", "patch"}),
        ("Job", "finalizers", {"update"}),
        ("Part", "", {"get", "list", "watch", "create", "update", "patch", "delete"}),
        ("ConfigMap", "", {"get", "list", "watch"}),
        ("CoreEvent", "", {"create", "patch"}),
    ]


def test_a_finalizer_is_named_after_the_actor() -> None:
    assert from_declaration(declare(two, name="shop-keep")).finalizer == "skep.dev/shop-keep"


def test_a_cleanup_may_be_of_another_form_than_the_reconcile() -> None:
    actor = from_declaration(declare(three, cleanup=plain))
    assert actor.cleanup == Shape(threaded=True, takes_run=False)
    assert (actor.threaded, actor.takes_run) == (False, True)
