"""A catalog under any changes against a registry that is built anew of the same kinds: equal in every answer, and in every document
that is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apiserver.discovery import AGGREGATED, Discovery
from apiserver.documents import OpenAPIDocuments
from registry.builtin import KINDS
from registry.catalog import Catalog, Registry, RegistryError, Update
from registry.kinds import Kind
from registry.plugin import build
from tests.apiserver.latecomers import late_kind
from tests.plugins.reference import plugin

DECLARED = build([plugin], KINDS[:5]).kinds
GROUPS = ("ant.example", "late.example", "reference.example.com")
NAMES = ("Comet", "Meteor", "Planet")
LATE = st.builds(
    late_kind,
    st.sampled_from(NAMES),
    st.sampled_from(["v1", "v1beta1", "v2"]),
    group=st.sampled_from(GROUPS),
    namespaced=st.booleans(),
    short=st.sampled_from(["", "x"]),
) | st.builds(late_kind, st.sampled_from(NAMES), st.just("v1"), st.just("v1alpha1"), group=st.sampled_from(GROUPS))
RESOURCES = [f"{name.lower()}s.{group}" for name in NAMES for group in GROUPS]


class CatalogModel(RuleBasedStateMachine):
    """`late` are the kinds that are there besides the declared ones."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Catalog(Registry(DECLARED))
        self.discovery = Discovery(self.catalog)
        self.documents = OpenAPIDocuments(self.catalog)
        self.late: dict[str, Kind] = {}
        self.told: list[Update] = []
        self.catalog.follow(self.told.append)

    @rule(
        kinds=st.lists(LATE, min_size=1, max_size=3, unique_by=lambda kind: kind.resource), gone=st.sets(st.sampled_from(RESOURCES))
    )
    def replace(self, kinds: list[Kind], gone: set[str]) -> None:
        before = self.catalog.registry
        self.catalog.replace(kinds, gone)
        for resource in gone:
            self.late.pop(resource, None)
        self.late |= {kind.resource: kind for kind in kinds}
        update = self.told.pop()
        assert (update.before, update.after) == (before, self.catalog.registry)
        assert set(update.changed) == {kind.resource for kind in kinds} | gone
        touched = {group for each in (before, update.after) for name in update.changed for group in groups_of(each, name)}
        for group in update.after.groups.keys() - touched:
            assert update.after.of_group(group) is before.of_group(group), "what did not change is the same"

    @rule(gone=st.sets(st.sampled_from(RESOURCES), min_size=1))
    def go(self, gone: set[str]) -> None:
        self.catalog.replace(gone=gone)
        self.late = {resource: kind for resource, kind in self.late.items() if resource not in gone}

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def put_a_twin(self, data: st.DataObject) -> None:
        """Another kind whose objects would be of the same type."""
        kind = data.draw(st.sampled_from(list(self.late.values())))
        twin = late_kind(kind.name, "v7", *(version.name for version in kind.versions), group=kind.group)
        object.__setattr__(twin, "plural", "twins")
        object.__setattr__(twin, "resource", f"twins.{kind.group}")
        before = self.catalog.registry
        with pytest.raises(RegistryError, match="declared twice"):
            self.catalog.replace(put=[twin])
        assert self.catalog.registry is before

    @invariant()
    def answers_are_those_of_a_registry_that_is_built_anew(self) -> None:
        now, anew = self.catalog.registry, Registry([*DECLARED, *self.late.values()])
        assert now.groups == anew.groups
        assert by_resource(now.kinds) == by_resource(anew.kinds)
        assert all(by_resource(now.of_group(group)) == by_resource(anew.of_group(group)) for group in (*GROUPS, *anew.groups))
        assert (now.index.served, now.index.by_type, now.index.by_model) == (
            anew.index.served,
            anew.index.by_type,
            anew.index.by_model,
        )

    @invariant()
    def documents_are_those_of_a_registry_that_is_built_anew(self) -> None:
        fresh = Catalog(Registry([*DECLARED, *self.late.values()]))
        discovery = Discovery(fresh)
        assert self.discovery.paths == discovery.paths
        for path in discovery.paths:
            assert self.discovery.find(path[1:], "") == discovery.find(path[1:], "")
        for path in ("api", "apis"):
            assert self.discovery.find(path, AGGREGATED) == discovery.find(path, AGGREGATED)
        asyncio.run(self._same(OpenAPIDocuments(fresh)))

    async def _same(self, fresh: OpenAPIDocuments) -> None:
        assert self.documents.paths == fresh.paths
        assert await self.documents.index() == await fresh.index()
        assert (await self.documents.v2("")).etag == (await fresh.v2("")).etag
        for group, versions in self.catalog.registry.groups.items():
            for version in versions if group in GROUPS[:2] else ():
                place = f"apis/{group}/{version}"
                assert await self.documents.find(place) == await fresh.find(place)


def by_resource(kinds: Iterable[Kind]) -> dict[str, Kind]:
    return {kind.resource: kind for kind in kinds}


def groups_of(registry: Registry, resource: str) -> tuple[str, ...]:
    kind = registry.of_resource(resource)
    return () if kind is None else kind.groups


CatalogModel.TestCase.settings = settings(max_examples=10, stateful_step_count=8, deadline=None)
TestCatalogModel = CatalogModel.TestCase
