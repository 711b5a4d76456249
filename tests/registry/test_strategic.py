"""Strategic merge patches of built-in kinds: recorded answers, directives, and patches that a client computes of two documents."""

from __future__ import annotations

import contextlib
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.builtin import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT
from registry.errors import ApiError, BadRequest
from registry.kinds import Kind
from registry.nodes import same
from registry.strategic import strategic_merge

Document = dict[str, Any]


def patched(kind: Kind, document: Document, patch: Document) -> Document:
    """What a patch makes of a document; neither is changed by it."""
    before = deepcopy((document, patch))
    result = strategic_merge(document, patch, kind.storage.schema.node)
    assert (document, patch) == before
    return result


def accounts(*names: str) -> Document:
    return {"secrets": [{"name": name} for name in names]}


def finalizers(*names: str) -> Document:
    return {"metadata": {"finalizers": list(names)}}


# As a real server answered, and as its documentation says.


@pytest.mark.parametrize(
    ("kind", "document", "patch", "result"),
    [
        (CONFIG_MAP, {"data": {"a": "1", "b": "2"}}, {"data": {"a": None, "c": "3"}}, {"data": {"b": "2", "c": "3"}}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "replace", "z": "26"}}, {"data": {"z": "26"}}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "delete"}}, {"data": {}}),
        (CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "merge", "b": "2"}}, {"data": {"a": "1", "b": "2"}}),
        (CONFIG_MAP, {}, {"data": {"$patch": "replace", "a": "1", "b": None}}, {"data": {"a": "1"}}),
        (
            CONFIG_MAP,
            {"data": {"a": "1", "b": "2"}},
            {"data": {"$retainKeys": ["b", "c"], "c": "3"}},
            {"data": {"b": "2", "c": "3"}},
        ),
        (CONFIG_MAP, {"data": None}, {"data": {"a": "1"}}, {"data": {"a": "1"}}),
        (CONFIG_MAP, finalizers("a"), finalizers("b"), finalizers("b", "a")),
        (CONFIG_MAP, finalizers("a", "b"), finalizers("b", "a", "b"), finalizers("b", "a")),
        (CONFIG_MAP, finalizers("a", "b"), {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "c"]}}, finalizers("b")),
        (CONFIG_MAP, {"metadata": {}}, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, {"metadata": {}}),
        (CONFIG_MAP, finalizers("a", "b"), {"metadata": {"$setElementOrder/finalizers": ["b", "a"]}}, finalizers("b", "a")),
        (
            CONFIG_MAP,
            finalizers("x", "a", "y"),
            {"metadata": {"$setElementOrder/finalizers": ["y", "a"]}},
            finalizers("x", "y", "a"),
        ),
        (SERVICE_ACCOUNT, accounts("a", "b"), accounts("c"), accounts("c", "a", "b")),
        (SERVICE_ACCOUNT, accounts("a", "b"), accounts("c", "b"), accounts("c", "a", "b")),
        (SERVICE_ACCOUNT, accounts("a", "b"), {"secrets": [{"name": "a", "$patch": "delete"}]}, accounts("b")),
        (SERVICE_ACCOUNT, accounts("a", "b"), {"secrets": [{"$patch": "replace"}, {"name": "z"}]}, accounts("z")),
        (SERVICE_ACCOUNT, accounts("a"), {"secrets": [{"$patch": "replace"}]}, accounts()),
        (
            SERVICE_ACCOUNT,
            {"secrets": [{"name": "a", "uid": "1"}, {"uid": "2"}]},
            {"secrets": [{"name": "a", "uid": None, "kind": "Secret"}]},
            {"secrets": [{"name": "a", "kind": "Secret"}, {"uid": "2"}]},
        ),
        (
            SERVICE_ACCOUNT,
            {"imagePullSecrets": [{"name": "a"}]},
            {"imagePullSecrets": [{"name": "c"}]},
            {"imagePullSecrets": [{"name": "c"}]},
        ),
        (
            NAMESPACE,
            {"status": {"conditions": [{"type": "A", "status": "True"}]}},
            {"status": {"conditions": [{"type": "B", "status": "True"}, {"type": "A", "status": "False"}]}},
            {"status": {"conditions": [{"type": "B", "status": "True"}, {"type": "A", "status": "False"}]}},
        ),
        (
            CONFIG_MAP,
            {"metadata": {"ownerReferences": [{"uid": "1", "name": "a", "kind": "K"}]}},
            {"metadata": {"ownerReferences": [{"uid": "1", "name": "b"}, {"uid": "2", "name": "c"}]}},
            {"metadata": {"ownerReferences": [{"uid": "1", "name": "b", "kind": "K"}, {"uid": "2", "name": "c"}]}},
        ),
    ],
)
def test_a_patch_does_what_kubernetes_does(kind: Kind, document: Document, patch: Document, result: Document) -> None:
    assert same(patched(kind, document, patch), result)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"data": {"$patch": "destroy"}}, 'unknown patch type: "destroy"'),
        ({"secrets": [{"name": "a", "$patch": 5}]}, "unknown patch type: 5"),
        ({"secrets": [{"uid": "1"}]}, 'map: {"uid":"1"} does not contain declared merge key: name'),
        ({"secrets": ["a"]}, "an item of a list that is merged by name must be an object"),
        ({"$retainKeys": "a"}, "invalid patch format: $retainKeys must be a list"),
        ({"$retainKeys": ["a"], "b": 1}, "invalid patch format of $retainKeys: the patch sets a field that it does not retain"),
        (
            {"metadata": {"$deleteFromPrimitiveList/finalizers": {}}},
            "invalid patch format: $deleteFromPrimitiveList/finalizers must be a list",
        ),
        ({"$setElementOrder/secrets": 1}, "invalid patch format: $setElementOrder/secrets must be a list"),
        ({"$setElementOrder/secrets": [{}]}, "map: {} does not contain declared merge key: name"),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(patch: Document, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        patched(SERVICE_ACCOUNT, accounts("a"), patch)
    assert refused.value.message == message


# The patch that a client computes of two documents.

names = st.sampled_from("abcde")
texts = st.dictionaries(names, names, max_size=3)
sets = st.lists(names, unique=True, max_size=4)


def keyed(key: str, *others: str) -> st.SearchStrategy[list[Document]]:
    items = st.fixed_dictionaries({key: names}, optional=dict.fromkeys(others, names))
    return st.lists(items, unique_by=lambda item: item[key], max_size=4)


documents = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": texts, "finalizers": sets, "ownerReferences": keyed("uid", "name", "kind")}
        ),
        "secrets": keyed("name", "uid", "kind"),
        "imagePullSecrets": st.lists(st.fixed_dictionaries({}, optional={"name": names}), max_size=2),
        "automountServiceAccountToken": st.booleans(),
    },
)
KEYS = {"ownerReferences": "uid", "secrets": "name"}


def difference(old: Document, new: Document) -> Document:
    """The patch that makes `new` of `old`, as kubectl computes it: with deletions and with the order of lists."""
    patch: Document = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict):
            patch[key] = difference(before or {}, value)
        elif key == "finalizers":
            patch[f"$deleteFromPrimitiveList/{key}"] = [item for item in before or [] if item not in value]
            patch[f"$setElementOrder/{key}"] = value
            patch[key] = [item for item in value if item not in (before or [])]
        elif key in KEYS:
            patch |= keyed_difference(key, before or [], value)
        elif before != value:
            patch[key] = value
    return patch


def keyed_difference(field: str, old: list[Document], new: list[Document]) -> Document:
    key = KEYS[field]
    before, after = {item[key]: item for item in old}, {item[key]: item for item in new}
    gone = [{key: name, "$patch": "delete"} for name in before if name not in after]
    changed = [{**difference(before.get(name, {}), item), key: name} for name, item in after.items() if before.get(name) != item]
    return {field: [*changed, *gone], f"$setElementOrder/{field}": [{key: name} for name in after]}


@given(documents, documents)
def test_the_patch_of_two_documents_makes_one_of_the_other(old: Document, new: Document) -> None:
    assert same(patched(SERVICE_ACCOUNT, old, difference(old, new)), new)


@given(documents, documents)
def test_what_a_patch_did_it_does_not_do_again(old: Document, new: Document) -> None:
    patch = difference(old, new)
    once = patched(SERVICE_ACCOUNT, old, patch)
    assert same(patched(SERVICE_ACCOUNT, once, patch), once)


@given(documents, documents)
def test_a_patch_without_directives_loses_nothing_but_whole_lists(old: Document, new: Document) -> None:
    result = patched(SERVICE_ACCOUNT, old, new)
    assert result.keys() == old.keys() | new.keys()
    by_name = {item["name"] for item in result.get("secrets", [])}
    assert by_name == {item["name"] for document in (old, new) for item in document.get("secrets", [])}
    assert result.get("imagePullSecrets") == new.get("imagePullSecrets", old.get("imagePullSecrets"))


# Hostile patches.

fields = st.sampled_from(
    ["metadata", "finalizers", "ownerReferences", "secrets", "name", "uid", "imagePullSecrets", "$patch", "$retainKeys"]
    + [f"${directive}/{name}" for directive in ("setElementOrder", "deleteFromPrimitiveList") for name in ("finalizers", "secrets")]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["replace", "delete", "merge", "a", "metadata"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=16,
)


@given(st.dictionaries(fields, anything), st.dictionaries(fields, anything), documents)
def test_a_hostile_patch_is_refused_or_done_and_nothing_else(patch: Document, odd: Document, document: Document) -> None:
    for target in (document, odd):
        with contextlib.suppress(ApiError):
            patched(SERVICE_ACCOUNT, target, patch)


@pytest.mark.parametrize("levels", [255, 300, 100_000])
def test_a_patch_of_any_depth_is_refused_or_done(levels: int) -> None:
    patch: Any = {"a": "b"}
    for _ in range(levels - 1):
        patch = {"a": patch}
    with contextlib.nullcontext() if levels < 256 else pytest.raises(BadRequest, match="max depth"):
        strategic_merge({}, patch, CONFIG_MAP.storage.schema.node)
