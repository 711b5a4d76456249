"""Definitions across restarts, with many objects, with colliding names, and those that tell of kinds in code."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.identity import ADMIN, SYSTEM
from apiserver.definitions import Definitions, names_of
from apiserver.definitions_declared import declare
from registry.catalog import Catalog
from registry.custom.claims import Claims
from registry.custom.definition import Names
from registry.errors import Forbidden, NotFound
from registry.kinds import Kind
from registry.nodes import Document
from storage.store import Key
from tests.apiserver.defining import DEFINITIONS, GROUP, Defining, defining, definition, path, surroundings, versioned
from tests.apiserver.world import NOW, SOMEBODY, World, opened

pytestmark = pytest.mark.anyio
BOLT = f"bolts.{GROUP}"


def bolt(name: str) -> Document:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Bolt", "metadata": {"name": name}, "spec": {"size": 1}}


def restarted(world: World) -> Definitions:
    """What another server finds in the store."""
    catalog = Catalog(world.registry.replaced(gone=[kind.resource for kind in world.registry.kinds if kind.defined]))
    definitions = Definitions(catalog, surroundings().log)
    definitions.follow(world.store)
    return definitions


def served(definitions: Definitions) -> set[str]:
    return {name for name in definitions.names() if (entry := definitions.find(name)) is not None and entry.kind is not None}


async def test_after_a_restart_all_kinds_are_there_and_have_the_names_that_they_had() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition("zebras", "Thing"))
        await defined.define(definition("ants", "Thing"))
        await defined.define(definition())
        await defined.settled()
        assert served(restarted(world)) == served(defined.definitions) == {f"zebras.{GROUP}", BOLT}


async def test_before_a_status_is_written_the_eldest_has_the_names_after_a_restart_too() -> None:
    async with opened() as world:
        definitions = restarted(world)
        for plural in ("zebras", "ants"):
            await world.do("create", DEFINITIONS, definition(plural, "Thing"))
        assert served(restarted(world)) == served(definitions) == {f"zebras.{GROUP}"}


async def test_a_definition_that_cannot_be_read_does_not_keep_others_from_being_served() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        await defined.settled()
        record = world.store.get(Key("customresourcedefinitions.apiextensions.k8s.io", "", BOLT))
        assert record is not None
        spoilt = record.desired.replace(b'"storage":true', b'"storage":"yes"').replace(BOLT.encode(), b"odd")
        from storage.store import Put  # past the API, as an older server may have written it

        await world.store.commit(Put(record.key._replace(name="odd"), record.uid, record.api_version, spoilt, b"", 0))
        assert served(restarted(world)) == {BOLT}


async def test_the_deletion_of_many_objects_goes_on_where_a_server_was_killed() -> None:
    async with opened() as world:
        async with defining(world) as defined:
            await defined.define(definition())
            for start in range(0, 2_000, 250):
                async with anyio.create_task_group() as tasks:
                    for number in range(start, start + 250):
                        tasks.start_soon(world.do, "create", path(), bolt(f"b{number}"))
            await defined.settled()
            await world.do("delete", f"{DEFINITIONS}/{BOLT}")
            while len(world.stored(BOLT)) > 1_500:
                await anyio.sleep(0)
        assert len(world.stored(BOLT)) > 100
        async with defining(world) as again:
            while world.registry.of_resource(BOLT) is not None:
                await again.settled()
        assert world.stored(BOLT) == []
        assert world.stored("customresourcedefinitions.apiextensions.k8s.io") == []


async def test_what_is_made_while_a_definition_goes_is_refused_in_the_transaction() -> None:
    async with opened() as world, defining(world) as defined:
        await defined.define(definition())
        late = world.call("create", path(), bolt("late"))  # on its way already
        await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        with pytest.raises(Forbidden, match="terminating"):
            await world.manager.handle(late)


async def test_kinds_in_code_are_told_as_definitions_that_can_only_be_read() -> None:
    async with opened() as world, defining(world) as defined:
        await declare(world.manager, SYSTEM, NOW)
        widgets = await world.get(f"{DEFINITIONS}/widgets.reference.example.com")
        assert [version["name"] for version in widgets["spec"]["versions"]] == ["v1", "v1beta1"]
        assert widgets["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] == ["size"]
        assert {each["type"]: each["status"] for each in widgets["status"]["conditions"]} == {
            "NamesAccepted": "True",
            "Established": "True",
        }
        address = f"{DEFINITIONS}/widgets.reference.example.com"
        for verb, body in (("delete", b""), ("update", {**widgets, "spec": {**widgets["spec"], "scope": "Cluster"}})):
            with pytest.raises(Forbidden, match="the kind is declared at"):
                await world.do(verb, address, body)
        await defined.settled()
        assert await world.get(address) == widgets


async def test_an_unchanged_declaration_writes_nothing() -> None:
    async with opened() as world:
        await declare(world.manager, SYSTEM, NOW)
        revision = world.store.revision
        await declare(world.manager, SYSTEM, NOW + 60)
        assert world.store.revision == revision


async def test_what_tells_of_a_kind_that_is_no_more_goes_and_its_objects_stay() -> None:
    async with opened() as world:
        async with defining(world) as defined:
            await defined.define(definition())
            await world.do("create", path(), bolt("kept"))
            told = {"metadata": {"annotations": {"skep.dev/declared-by": "gone.py:1"}}}
            await world.merge(f"{DEFINITIONS}/{BOLT}", told, who=SYSTEM)
            await declare(world.manager, SYSTEM, NOW)
            await defined.settled()
        names = [record.key.name for record in world.stored("customresourcedefinitions.apiextensions.k8s.io")]
        assert "widgets.reference.example.com" in names
        assert BOLT not in names
        assert [record.key.name for record in world.stored(BOLT)] == ["kept"]


async def test_a_copy_of_such_a_definition_is_a_definition_like_any_other() -> None:
    async with opened() as world, defining(world) as defined:
        body = definition()
        body["metadata"]["annotations"] = {"skep.dev/declared-by": "elsewhere.py:1", "other": "kept"}
        answer = await defined.define(body)
        assert answer["metadata"]["annotations"] == {"other": "kept"}
        assert world.registry.of_resource(BOLT) is not None


async def test_who_may_write_definitions_and_their_status_is_for_roles_to_say() -> None:
    async with opened(roles=True) as world, defining(world) as defined:
        with pytest.raises(Forbidden):
            await defined.define(definition(), who=SOMEBODY)
        await defined.define(definition(), who=ADMIN)
        assert (await defined.conditions(BOLT))["Established"][0] == "True"  # written by the one whose role says so
        await world.do("create", path(), bolt("a"))
        await world.do("delete", f"{DEFINITIONS}/{BOLT}")
        while world.registry.of_resource(BOLT) is not None:
            await defined.settled()


async def test_versions_may_differ_in_what_is_below_their_objects() -> None:
    with_status = versioned(subresources={"status": {}}, schema={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    plain = versioned("v2", storage=False, schema=with_status["schema"]["openAPIV3Schema"])
    async with opened() as world, defining(world) as defined:
        await defined.define(definition(versions=[with_status, plain]))
        await world.do("create", path(), {**bolt("a"), "status": {"dropped": 1}})
        assert "status" not in await world.get(f"{path()}/a")
        await world.merge(f"{path()}/a/status", {"status": {"said": 1}})
        await world.merge(f"{path(version='v2')}/a", {"status": {"said": 2}})
        assert (await world.get(f"{path()}/a"))["status"] == {"said": 2}
        await world.merge(f"{path()}/a", {"status": {"said": 3}})
        assert (await world.get(f"{path()}/a"))["status"] == {"said": 2}


# Names.

PLURALS, KINDS, SHORTS = ("ants", "bees", "cats"), ("Ant", "Bee", "Cat"), ("ants", "aa", "bb", "cat")
Step = tuple[str, str, str, tuple[str, ...]]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("put", "put", "delete")),
        st.sampled_from(PLURALS),
        st.sampled_from(KINDS),
        st.lists(st.sampled_from(SHORTS), max_size=2, unique=True).map(tuple),
    ),
    max_size=10,
)


def shared(kinds: list[Kind]) -> set[str]:
    """Names that two of the kinds have."""
    seen: dict[str, str] = {}
    twice: set[str] = set()
    for kind in kinds:
        names: Names = names_of(kind)
        for name in {*names.resources, *names.kinds}:
            if seen.setdefault(name, kind.resource) != kind.resource:
                twice.add(name)
    return twice


async def _step(defined: Defining, step: Step) -> None:
    verb, plural, kind, short = step
    world, name = defined.world, f"{plural}.{GROUP}"
    body = definition(plural, kind, names={"shortNames": list(short)})
    there = world.store.get(Key("customresourcedefinitions.apiextensions.k8s.io", "", name)) is not None
    if verb == "put" and not there:
        await defined.define(body)
    elif there:
        with suppress(NotFound):  # it may be about to go already
            if verb == "put":
                await world.merge(f"{DEFINITIONS}/{name}", {"spec": {"names": {"shortNames": list(short)}}})
            else:
                await world.do("delete", f"{DEFINITIONS}/{name}")


@given(steps=STEPS)
@settings(max_examples=12, deadline=None)
def test_no_two_kinds_that_are_served_ever_share_a_name(steps: list[Step]) -> None:
    async def play() -> None:
        async with opened() as world, defining(world) as defined:
            for step in steps:
                await _step(defined, step)
                assert not shared([kind for kind in world.registry.of_group(GROUP) if kind.served])
                if len(step[3]) == 2:
                    await defined.settled()
            await defined.settled()
            again = restarted(world)
            assert served(again) == served(defined.definitions)
            stored: dict[str, Any] = {}
            for name in defined.definitions.names():
                stored[name] = (await world.get(f"{DEFINITIONS}/{name}"))["status"]
            for name, status in stored.items():
                established = {each["type"]: each["status"] for each in status["conditions"]}["Established"]
                assert (established == "True") == (name in served(again))

    anyio.run(play)


def test_a_name_goes_to_the_next_when_its_owner_takes_another() -> None:
    claims = Claims()
    one = claims.decide("one", Names("ants", "ant", ("a",), "Ant", "AntList"), Names())
    claims.claim("one", one.names)
    other = claims.decide("other", Names("bees", "bee", ("a",), "Bee", "BeeList"), Names())
    assert (other.accepted, other.reason, other.message) == (False, "ShortNamesConflict", '"a" is already in use')
    claims.claim("other", other.names)
    claims.claim("one", claims.decide("one", Names("ants", "ant", (), "Ant", "AntList"), one.names).names)
    assert claims.decide("other", Names("bees", "bee", ("a",), "Bee", "BeeList"), other.names).accepted
