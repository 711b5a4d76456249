"""What a delete comes to: where its options are from, and what has to hold."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver import deleting
from apiserver.options import DeleteOptions, parse_query
from apiserver.target import resolve
from registry.builtin import KINDS
from registry.errors import ApiError, BadRequest, ConflictError, Forbidden, UnsupportedMediaType
from registry.plugin import build
from storage.store import Key, Record
from tests.plugins.reference import GROUP, plugin

REGISTRY = build([plugin], KINDS)
WIDGET = resolve(REGISTRY, ["apis", GROUP, "v1", "namespaces", "shop", "widgets", "a"])
RECORD = Record(Key(f"widgets.{GROUP}", "shop", "a"), "u", 7, f"{GROUP}/v1", b"{}", b"")


@pytest.mark.parametrize(
    ("body", "media", "query", "expected"),
    [
        (b"", "", b"", DeleteOptions()),
        (b"", "", b"dryRun=All&propagationPolicy=Foreground", DeleteOptions(dry_run=True, propagation="Foreground")),
        (b'{"propagationPolicy":"Orphan"}', "", b"dryRun=All", DeleteOptions(propagation="Orphan")),
        (b'{"kind":"DeleteOptions","apiVersion":"v1"}', "application/json", b"dryRun=All", DeleteOptions(dry_run=True)),
        (b"propagationPolicy: Background", "application/yaml", b"", DeleteOptions(propagation="Background")),
        (b'{"preconditions":{"uid":"u","resourceVersion":"7"}}', "", b"", DeleteOptions(uid="u", resource_version="7")),
        (b'{"gracePeriodSeconds":0,"preconditions":null}', "", b"", DeleteOptions()),
    ],
)
def test_options_are_read_from_the_body_or_else_from_the_query(
    body: bytes, media: str, query: bytes, expected: DeleteOptions
) -> None:
    assert deleting.options_of(body, media, parse_query(query)) == expected


def test_options_of_a_client_in_this_process_are_a_document() -> None:
    assert deleting.options_of({"preconditions": {"uid": "u"}}, "", {}) == DeleteOptions(uid="u")


@pytest.mark.parametrize(
    ("body", "media", "expected", "said"),
    [
        (b"{", "", BadRequest, ""),
        (b'{"kind":"Widget"}', "", BadRequest, 'no kind "Widget" is registered for version "v1" in scheme'),
        (b"{}", "text/plain", UnsupportedMediaType, "unknown format"),
    ],
)
def test_what_is_no_options_is_refused(body: bytes, media: str, expected: type[ApiError], said: str) -> None:
    with pytest.raises(expected) as caught:
        deleting.options_of(body, media, {})
    assert said in caught.value.message


def test_preconditions_that_hold_let_the_object_go() -> None:
    deleting.check(WIDGET, RECORD, DeleteOptions(uid="u", resource_version="7"))
    deleting.check(WIDGET, RECORD, DeleteOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (DeleteOptions(uid="v"), "the UID in the precondition (v) does not match the UID in record (u)"),
        (
            DeleteOptions(resource_version="6"),
            "the ResourceVersion in the precondition (6) does not match the ResourceVersion in record (7)",
        ),
    ],
)
def test_preconditions_that_do_not_hold_are_a_conflict(options: DeleteOptions, said: str) -> None:
    with pytest.raises(ConflictError) as caught:
        deleting.check(WIDGET, RECORD, options)
    assert said in caught.value.message


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_the_first_namespaces_are_protected(name: str) -> None:
    target = resolve(REGISTRY, ["api", "v1", "namespaces", name])
    with pytest.raises(Forbidden, match="this namespace may not be deleted"):
        deleting.check(target, Record(Key("namespaces", "", name), "u", 1, "v1", b"{}", b""), DeleteOptions())


def test_success_names_what_went() -> None:
    assert deleting.gone(WIDGET, RECORD) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "group": GROUP, "kind": "widgets", "uid": "u"},
    }


def held_by(*finalizers: str, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", **({"finalizers": list(finalizers)} if finalizers else {}), **metadata}}


@pytest.mark.parametrize(
    ("before", "propagation", "after"),
    [
        ((), "", ()),
        (("x/y",), "", ("x/y",)),
        (("orphan",), "", ("orphan",)),
        ((), "Background", ()),
        (("x/y", "orphan", "foregroundDeletion"), "Background", ("x/y",)),
        (("orphan",), "Background", ()),
        ((), "Foreground", ("foregroundDeletion",)),
        (("orphan", "x/y"), "Foreground", ("x/y", "foregroundDeletion")),
        (("foregroundDeletion",), "Orphan", ("orphan",)),
        (("orphan",), "Orphan", ("orphan",)),
    ],
)
def test_a_deletion_asks_for_the_finalizer_of_its_propagation_and_never_for_both(
    before: tuple[str, ...], propagation: str, after: tuple[str, ...]
) -> None:
    document = held_by(*before)
    kept = held_by(*before)
    assert deleting.propagated(WIDGET.kind, document, propagation) == held_by(*after)
    assert document == kept


def test_a_deletion_that_has_begun_is_not_turned_into_another() -> None:
    going = held_by("foregroundDeletion", deletionTimestamp="2026-01-02T03:04:05Z")
    assert deleting.propagated(WIDGET.kind, going, "Orphan") == going


def test_what_takes_no_part_in_garbage_collection_is_just_deleted() -> None:
    event = REGISTRY.of_resource("events")
    assert event is not None
    assert deleting.propagated(event, held_by(), "Foreground") == held_by()
