"""Handlers and admitters in a real manager: what they are asked about, in which order, what they may change, what is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import anyio
import pytest
from msgspec.structs import replace as changed

from admission.review import Review
from apiserver.calls import Kept
from registry.builtin.configmap import ConfigMap
from registry.builtin.event import CoreEvent
from registry.catalog import RegistryError
from registry.errors import Cause, Forbidden, InternalError, Invalid
from registry.kinds import Scale
from registry.plugin import Plugin, build
from registry.resource import ListSet, Resource, Spec, Status, Time, replace
from tests.apiserver.world import CONFIGMAPS, OWNER, SOMEBODY, TRINKETS, Trinket, opened, trinkets

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
CRANES = "/apis/cranes.example/v1/namespaces/shop/cranes"


class CraneSpec(Spec):
    replicas: int = 1
    load: int = 0
    note: str | None = None
    tags: Annotated[list[str] | None, ListSet] = None
    since: Time | None = None


class CraneStatus(Status):
    replicas: int = 0
    height: int = 0


class Crane(Resource[CraneSpec, CraneStatus]):
    """Crane is a kind with all that is below objects."""


def cranes() -> Plugin:
    plugin = Plugin("cranes")
    plugin.kind(Crane, group="cranes.example", version="v1", plural="cranes", scale=Scale(), owner="external")
    return plugin


class Other:
    """An admitter that a test makes of functions."""

    def __init__(
        self,
        mutate: Callable[[Review[Document]], Document] = lambda review: review.new,
        validate: Callable[[Review[Document]], Sequence[Cause]] = lambda review: (),
    ) -> None:
        self._mutate, self._validate = mutate, validate
        self.asked: list[Review[Document]] = []

    def concerns(self, review: Review[Document]) -> bool:
        return review.kind is not None and review.kind.plural in ("cranes", "trinkets")

    async def mutate(self, review: Review[Document]) -> Document:
        self.asked.append(review)
        return self._mutate(review)

    async def validate(self, review: Review[Document]) -> Sequence[Cause]:
        self.asked.append(review)
        return self._validate(review)


def with_spec(document: Document, **spec: Any) -> Document:
    return {**document, "spec": {**document["spec"], **spec}}


async def test_a_validator_of_deletes_is_asked_about_each_of_them_with_who_asks() -> None:
    plugin = cranes()

    @plugin.validates(Crane, operations="delete")
    def unloaded(review: Review[Crane]) -> list[Cause]:
        assert review.operation == "DELETE"
        assert review.old == review.new
        return [Cause("Loaded", f"{review.identity.username} waits", "spec.load")] if review.new.spec.load else []

    async with opened(plugin) as world:
        for name, load in (("a", 0), ("b", 3)):
            await world.make(CRANES, name, spec={"load": load})
        with pytest.raises(Invalid, match="somebody waits"):
            await world.do("delete", f"{CRANES}/b", who=SOMEBODY)
        with pytest.raises(Invalid):
            await world.do("deletecollection", CRANES)
        assert [record.key.name for record in world.stored("cranes.cranes.example")] == ["b"]
        await world.merge(f"{CRANES}/b", {"spec": {"load": 0}})
        await world.do("delete", f"{CRANES}/b")


async def test_whom_a_delete_concerns_is_asked_by_name_and_who_is_concerned_sees_what_goes() -> None:
    class Careful(Other):
        def concerns(self, review: Review[Document]) -> bool:
            return super().concerns(review) and review.operation == "DELETE" and review.new == {"metadata": {"name": "b"}}

    other = Careful(validate=lambda review: [Cause("Loaded", "no", "spec.load")] if review.new["spec"]["load"] else [])
    async with opened(cranes(), admitters=[other]) as world:
        for name in ("a", "b"):
            await world.make(CRANES, name, spec={"load": 3})
        await world.do("delete", f"{CRANES}/a")
        with pytest.raises(Invalid, match=r"spec\.load: no"):
            await world.do("delete", f"{CRANES}/b")
    assert [(review.name, review.old is review.new) for review in other.asked] == [("b", True)]


async def test_a_handler_is_asked_about_the_subresources_that_it_names_and_changes_nothing_else_there() -> None:
    plugin, seen = cranes(), []

    @plugin.mutates(Crane, subresources=["status", "scale"])
    def meddles(review: Review[Crane]) -> Crane:
        seen.append((review.subresource, review.operation))
        spec = replace(review.new.spec, replicas=review.new.spec.replicas + 1, load=99)
        status = replace(review.new.status or CraneStatus(), height=7)
        metadata = replace(review.new.metadata, labels={"mine": "yes"}, uid="other", name="other")
        return replace(review.new, metadata=metadata, spec=spec, status=status)

    async with opened(plugin) as world:
        made = await world.make(CRANES, "a", spec={"replicas": 2})
        assert seen == []
        await world.merge(f"{CRANES}/a/status", {"status": {"replicas": 2}})
        found = await world.get(f"{CRANES}/a")
        assert (found["spec"], found["status"]) == ({"replicas": 2, "load": 0}, {"replicas": 2, "height": 7})
        answer = await world.do(
            "patch", f"{CRANES}/a/scale", {"spec": {"replicas": 4}}, content_type="application/merge-patch+json"
        )
        assert answer.document is not None
        assert answer.document["spec"] == {"replicas": 5}
        found = await world.get(f"{CRANES}/a")
        assert (found["spec"], found["status"]["height"]) == ({"replicas": 5, "load": 0}, 7)
        assert "labels" not in found["metadata"]
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        assert seen == [("status", "UPDATE"), ("scale", "UPDATE")]


async def test_handlers_of_several_plugins_are_called_in_one_order_that_the_registry_shows() -> None:
    one, two = trinkets(), Plugin("two")

    def step(plugin: Plugin, name: str, **options: Any) -> None:
        def add(review: Review[Trinket]) -> Trinket:
            return replace(review.new, spec=replace(review.new.spec, steps=[*(review.new.spec.steps or ()), name]))

        add.__name__ = name
        plugin.mutates(Trinket, **options)(add)

    for plugin, name, options in ((two, "c", {}), (one, "a", {}), (one, "z", {"order": 5}), (two, "first", {"order": -1})):
        step(plugin, name, **options)
    async with opened(one, two) as world:
        made = await world.make(TRINKETS, "t", spec={})
        assert made["spec"]["steps"] == ["first", "a", "c", "z"]
        kind = world.target(TRINKETS).kind
        assert [each.name for each in world.registry.mutators(kind)] == ["two.first", "trinkets.a", "two.c", "trinkets.z"]


async def test_causes_of_the_schema_of_handlers_and_of_admitters_are_one_answer() -> None:
    plugin = cranes()

    @plugin.validates(Crane)
    def light(review: Review[Crane]) -> list[Cause]:
        return [Cause("Heavy", "too heavy", "spec.load")]

    @plugin.validates(Crane)
    async def quiet(review: Review[Crane]) -> list[Cause]:
        await anyio.lowlevel.checkpoint()
        return [Cause("Loud", "too loud", "spec.note")]

    other = Other(validate=lambda review: [Cause("Other", "no", "spec")])
    async with opened(plugin, admitters=[other]) as world:
        with pytest.raises(Invalid) as caught:
            await world.make(CRANES, "NotAName", spec={}, metadata={"labels": {"-": "b"}})
        assert [cause.field for cause in caught.value.causes] == [
            "metadata.name",
            "metadata.labels",
            "spec.load",
            "spec.note",
            "spec",
        ]
        with pytest.raises(Invalid) as caught:  # the types are right, so handlers of the plugin are asked
            await world.make(CRANES, "a", spec={"tags": ["a", "a"], "since": "yesterday"})
        assert [cause.field for cause in caught.value.causes] == ["spec.tags[1]", "spec.since", "spec.load", "spec.note"]
        with pytest.raises(Invalid) as caught:  # what its type does not take no handler can be given
            await world.make(CRANES, "a", spec={"load": "three"})
        assert [cause.field for cause in caught.value.causes] == ["spec.load"]


async def test_a_mutator_may_mend_what_the_schema_refuses() -> None:
    mend = Other(lambda review: with_spec(review.new, load=3))
    async with opened(cranes(), admitters=[mend]) as world:
        made = await world.make(CRANES, "a", spec={"load": "three"})
    assert made["spec"] == {"replicas": 1, "load": 3}


async def test_defaults_fill_what_nobody_set_also_after_others() -> None:
    plugin = cranes()

    @plugin.defaults(Crane)
    def noted(review: Review[Crane]) -> Crane:
        return replace(review.new, spec=replace(review.new.spec, note=f"load {review.new.spec.load}"))

    @plugin.mutates(Crane)
    def keeps(review: Review[Crane]) -> None:
        assert review.new.spec.note is not None

    def forget(review: Review[Document]) -> Document:
        spec = {key: value for key, value in review.new["spec"].items() if key != "note"}
        return {**review.new, "spec": {**spec, "load": 5}}

    async with opened(plugin) as world:
        assert (await world.make(CRANES, "a", spec={"load": 2}))["spec"]["note"] == "load 2"
        assert (await world.make(CRANES, "b", spec={"load": 2, "note": "mine"}))["spec"]["note"] == "mine"
    async with opened(plugin, admitters=[Other(forget)]) as world:
        assert (await world.make(CRANES, "a", spec={"load": 2}))["spec"]["note"] == "load 5"


async def test_who_was_changed_after_is_asked_once_more() -> None:
    first = Other(lambda review: with_spec(review.new, note=f"{review.new['spec']['load']}{'!' if review.again else ''}"))
    second = Other(lambda review: with_spec(review.new, load=8))
    last = Other()
    async with opened(cranes(), admitters=[first, second, last]) as world:
        made = await world.make(CRANES, "a", spec={"load": 2})
    assert made["spec"] == {"replicas": 1, "load": 8, "note": "8!"}
    # Twice the first; the second as well, since the first changed it again; validations are one each.
    assert [[review.again for review in each.asked] for each in (first, second, last)] == [[False, True, False]] * 2 + [
        [False, True, False]
    ]


async def test_admitters_that_wait_do_so_at_the_same_time() -> None:
    here = [anyio.Event(), anyio.Event()]

    class Waits(Other):
        def __init__(self, mine: int) -> None:
            super().__init__()
            self.mine = mine

        async def validate(self, review: Review[Document]) -> Sequence[Cause]:
            here[self.mine].set()
            await here[1 - self.mine].wait()
            return [Cause(str(self.mine), "", "spec")]

    async with opened(cranes(), admitters=[Waits(0), Waits(1)]) as world:
        with anyio.fail_after(10), pytest.raises(Invalid) as caught:
            await world.make(CRANES, "a", spec={})
        assert [cause.reason for cause in caught.value.causes] == ["0", "1"]


async def test_admitters_are_told_of_the_request() -> None:
    other = Other()
    async with opened(cranes(), admitters=[other]) as world:
        await world.do("create", CRANES, {"metadata": {"name": "a"}, "spec": {}}, query="dryRun=All&fieldManager=me")
        await world.make(CRANES, "a", spec={})
        await world.do("delete", f"{CRANES}/a", {"propagationPolicy": "Background"})
    dry, _, _, made, gone = other.asked
    assert dry.dry_run
    assert dry.options == {
        "kind": "CreateOptions",
        "apiVersion": "meta.k8s.io/v1",
        "dryRun": ["All"],
        "fieldManager": "me",
        "fieldValidation": "Warn",
    }
    assert made.options == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
    assert (gone.operation, gone.options["propagationPolicy"], gone.name, gone.namespace) == ("DELETE", "Background", "a", "shop")


async def test_what_an_admitter_makes_unreadable_is_not_the_fault_of_who_asked() -> None:
    def spoil(review: Review[Document]) -> Document:
        return {**review.new, "metadata": {**review.new["metadata"], "labels": 3}}

    async with opened(cranes(), admitters=[Other(spoil)]) as world:
        with pytest.raises(InternalError, match="admission made what cannot be read"):
            await world.make(CRANES, "a", spec={})


async def test_nobody_makes_another_object_of_it() -> None:
    def swap(review: Review[Document]) -> Document:
        metadata = {"name": "b", "namespace": "default", "uid": "x", "labels": {"l": "1"}}
        return {**review.new, "apiVersion": "other/v1", "kind": "Other", "metadata": metadata, "status": {"height": 5}}

    async with opened(cranes(), admitters=[Other(swap)]) as world:
        made = await world.make(CRANES, "a", spec={})
    assert (made["apiVersion"], made["kind"]) == ("cranes.example/v1", "Crane")
    assert made["metadata"] | {"name": "a", "namespace": "shop", "labels": {"l": "1"}} == made["metadata"]
    assert made["metadata"]["uid"] != "x"
    assert "status" not in made


async def test_what_was_changed_and_noted_is_kept_for_who_wants_to_know() -> None:
    plugin = cranes()

    @plugin.mutates(Crane)
    def raise_load(review: Review[Crane]) -> Crane:
        review.note("why", "it was low")
        return replace(review.new, spec=replace(review.new.spec, load=4))

    other = Other(lambda review: with_spec(review.new, note="seen"))
    async with opened(plugin, admitters=[other]) as world:
        call = changed(world.call("create", CRANES, {"metadata": {"name": "a"}, "spec": {}}), kept=Kept())
        await world.manager.handle(call)
    assert call.kept == Kept(
        {"cranes.raise_load/why": "it was low"},
        [
            ("cranes.raise_load", [{"op": "replace", "path": "/spec/load"}]),
            ("Other", [{"op": "add", "path": "/spec/note"}]),
        ],
    )


async def test_a_refusal_of_the_owner_of_a_status_reaches_it() -> None:
    plugin = trinkets()

    @plugin.validates(Trinket, subresources="status")
    def dull(review: Review[Trinket]) -> None:
        raise Forbidden("it does not shine")

    async with opened(plugin) as world:
        await world.make(TRINKETS, "t", spec={})
        with pytest.raises(Forbidden, match="does not shine"):
            await world.merge(f"{TRINKETS}/t/status", {"status": {"shine": 1}}, who=OWNER)


async def _async(review: Review[Crane]) -> None: ...


def _plain(review: Review[Crane]) -> None: ...


@pytest.mark.parametrize(
    ("role", "function", "options", "why"),
    [
        ("validates", _plain, {"operations": "remove"}, "operations='remove' is none; there are create, update, delete"),
        ("validates", _plain, {"operations": ()}, "operations is empty"),
        ("mutates", _plain, {"operations": "delete"}, "nothing that mutates it; use @plugin.validates"),
        ("defaults", _plain, {"operations": ("create", "delete")}, "nothing that defaults it"),
        ("validates", _plain, {"operations": "delete", "subresources": "status"}, "only objects are deleted"),
        ("validates", _plain, {"subresources": "logs"}, r"no subresource 'logs' \(it has scale, status\)"),
        ("validates", _plain, {"subresources": ()}, "subresources is empty"),
        ("validates", _plain, {"order": "first"}, "order='first' is no whole number"),
        ("validates", _plain, {"timeout_seconds": 3}, "cannot be ended: make it async, or say thread=True"),
        ("validates", _async, {"timeout_seconds": 0}, "timeout_seconds=0 is no number above 0 up to 300"),
        ("validates", _async, {"timeout_seconds": float("nan")}, "timeout_seconds=nan is no number"),
        ("validates", _async, {"thread": True}, "thread=True is for plain functions"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said_at_the_start(
    role: str, function: Callable[..., Any], options: Document, why: str
) -> None:
    plugin = cranes()
    getattr(plugin, role)(Crane, **options)(function)
    with pytest.raises(RegistryError, match=why) as caught:
        build([plugin])
    assert "test_admitting.py:" in str(caught.value)


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"test_admitting.py:\d+: cranes._plain: there is no option timeout; there are operations"):
        cranes().mutates(Crane, timeout=3)(_plain)
    with pytest.raises(ValueError, match="a handler is declared for a kind"):
        cranes().mutates("Crane")(_plain)  # type: ignore[arg-type]


async def test_whom_an_object_concerns_is_asked_of_the_object_as_it_has_become() -> None:
    plugin = cranes()

    @plugin.mutates(Crane)
    def label(review: Review[Crane]) -> Crane:
        return replace(review.new, metadata=replace(review.new.metadata, labels={"checked": "yes"}))

    class OfLabelled(Other):
        def concerns(self, review: Review[Document]) -> bool:
            return super().concerns(review) and review.new["metadata"].get("labels") == {"checked": "yes"}

    other = OfLabelled(validate=lambda review: [Cause("Labelled", "no", "metadata.labels")])
    async with opened(plugin, admitters=[other]) as world:
        with pytest.raises(Invalid, match=r"metadata\.labels: no"):
            await world.make(CRANES, "a", spec={})
    assert len(other.asked) == 2


async def test_an_event_that_comes_in_the_new_version_is_shown_in_that_of_the_handler_and_goes_back() -> None:
    plugin = Plugin("events")

    @plugin.mutates(CoreEvent)
    def shorten(review: Review[CoreEvent]) -> CoreEvent:
        assert (review.new.api_version, review.new.message) == ("v1", "It was so, once upon a time.")
        return replace(review.new, message="It was so.")

    path = "/apis/events.k8s.io/v1/namespaces/shop/events"
    said = {
        "eventTime": "2023-11-14T22:13:20.000000Z",
        "reason": "Told",
        "action": "Tell",
        "type": "Normal",
        "reportingController": "c.example",
        "reportingInstance": "c-1",
        "regarding": {"kind": "Namespace", "name": "shop", "namespace": "shop"},
        "note": "It was so, once upon a time.",
    }
    async with opened(plugin) as world:
        made = await world.make(path, "e", **said)
        assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "It was so.")
        assert {key: made[key] for key in said} == said | {"note": "It was so."}
        assert (await world.get("/api/v1/namespaces/shop/events/e"))["message"] == "It was so."


async def test_a_plugin_may_have_rules_for_built_in_kinds() -> None:
    plugin = Plugin("rules")

    @plugin.validates(ConfigMap, operations=["create", "delete"])
    def plain(review: Review[ConfigMap]) -> list[Cause]:
        return [Cause("Kept", "stays", "data.keep")] if review.operation == "DELETE" and "keep" in (review.new.data or {}) else []

    async with opened(plugin) as world:
        await world.make(CONFIGMAPS, "a", data={"keep": "1"})
        with pytest.raises(Invalid, match="stays"):
            await world.do("delete", f"{CONFIGMAPS}/a")
