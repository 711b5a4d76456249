"""Which objects a list or a watch is about, and what a change is to whoever selects."""

from __future__ import annotations

import pytest

from apiserver.matching import Matcher, labels_of
from apiserver.target import resolve
from registry.builtin import KINDS
from registry.errors import BadRequest
from registry.plugin import build
from registry.selectors import FieldSelector, LabelSelector
from storage.store import Change, Key, Op, Record
from tests.plugins.reference import GROUP, plugin

REGISTRY = build([plugin], KINDS)
WIDGETS = ["apis", GROUP, "v1", "widgets"]


def matcher(path: list[str], labels: str = "", fields: str = "", namespace: str | None = None) -> Matcher:
    target = resolve(REGISTRY, path)
    return Matcher(target.kind, target.version, namespace, LabelSelector.parse(labels), FieldSelector.parse(fields))


def widget(labels: str = "{}", color: str = "red", namespace: str = "shop", name: str = "a", status: bytes = b"") -> Record:
    desired = (
        f'{{"apiVersion":"{GROUP}/v1","kind":"Widget","metadata":{{"labels":{labels},"name":"{name}"}},"spec":{{"color":{color}}}}}'
    )
    return Record(Key(f"widgets.{GROUP}", namespace, name), "u", 5, f"{GROUP}/v1", desired.encode(), status)


def red(labels: str = "{}") -> Record:
    return widget(labels, '"red"')


@pytest.mark.parametrize(
    ("labels", "fields", "namespace", "expected"),
    [
        ("", "", None, True),
        ("", "", "shop", True),
        ("", "", "bank", False),
        ("app=x", "", None, True),
        ("app!=x", "", None, False),
        ("app=x", "spec.color=red", "shop", True),
        ("app=x", "spec.color!=red", "shop", False),
        ("", "metadata.name=a", None, True),
        ("", "metadata.name!=a", None, False),
        ("", "metadata.namespace=shop,metadata.name=a,spec.color=red", None, True),
        ("", "metadata.namespace=bank", None, False),
    ],
)
def test_an_object_is_wanted_if_all_that_was_asked_holds(labels: str, fields: str, namespace: str | None, expected: bool) -> None:
    asked = matcher(WIDGETS, labels, fields, namespace)
    record = red('{"app":"x"}')
    assert asked.matches(record) is expected
    assert asked.matches_change(Change(5, Op.ADDED, record, None), before=False) is expected
    assert not asked.matches_change(Change(5, Op.ADDED, record, None), before=True)


@pytest.mark.parametrize(("value", "text"), [("true", "true"), ("false", "false"), ("5", "5"), ("null", ""), ('"x"', "x")])
def test_the_value_of_a_field_is_compared_as_text(value: str, text: str) -> None:
    assert matcher(WIDGETS, fields=f"spec.color={text}").matches(widget(color=value))
    assert not matcher(WIDGETS, fields=f"spec.color!={text}").matches(widget(color=value))


def test_a_field_that_is_not_there_is_empty() -> None:
    bare = Record(Key(f"widgets.{GROUP}", "shop", "a"), "u", 5, f"{GROUP}/v1", b'{"metadata":{}}', b"")
    assert matcher(WIDGETS, fields="spec.color=").matches(bare)
    assert labels_of(bare) == {}


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        (WIDGETS, "spec.size=1", "field label not supported: spec.size"),
        (["apis", GROUP, "v1", "gadgets"], "metadata.namespace=a", "field label not supported: metadata.namespace"),
        (["api", "v1", "configmaps"], "data=1", '"data" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        (["api", "v1", "secrets"], "data=1", "field label not supported: data"),
        (["api", "v1", "namespaces"], "metadata.namespace=a", "metadata.namespace"),
    ],
)
def test_a_field_that_cannot_be_selected_by_is_refused(path: list[str], fields: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        matcher(path, fields=fields)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ("", None),
        ("metadata.name=a", "a"),
        ("metadata.name==a,spec.color=red", "a"),
        ("metadata.name!=a", None),
        ("spec.color=a", None),
    ],
)
def test_a_selector_that_demands_a_name_tells_it(fields: str, name: str | None) -> None:
    assert matcher(WIDGETS, fields=fields).name == name


IN, OUT = '{"app":"x"}', '{"app":"y"}'


@pytest.mark.parametrize(
    ("op", "before", "after", "expected"),
    [
        (Op.ADDED, None, IN, Op.ADDED),
        (Op.ADDED, None, OUT, None),
        (Op.MODIFIED, IN, IN, Op.MODIFIED),
        (Op.MODIFIED, OUT, IN, Op.ADDED),
        (Op.MODIFIED, IN, OUT, Op.DELETED),
        (Op.MODIFIED, OUT, OUT, None),
        (Op.DELETED, IN, IN, Op.DELETED),
        (Op.DELETED, OUT, OUT, None),
    ],
)
def test_what_comes_to_match_is_added_and_what_ceases_to_match_is_deleted(
    op: Op, before: str | None, after: str, expected: Op | None
) -> None:
    change = Change(5, op, red(after), None if before is None else red(before))
    assert matcher(WIDGETS, "app=x").seen_as(change) is expected
    assert matcher(WIDGETS, "app=x", namespace="bank").seen_as(change) is None
    assert matcher(WIDGETS).seen_as(change) is op
    assert matcher(WIDGETS, namespace="shop").seen_as(change) is op
    assert matcher(WIDGETS, namespace="bank").seen_as(change) is None


def test_what_is_read_from_a_change_is_read_once_for_all_watchers() -> None:
    change = Change(5, Op.MODIFIED, red(IN), red(OUT))
    watchers = [matcher(WIDGETS, f"app in (x,y{n})", "spec.color=red") for n in range(3)]
    assert [watcher.seen_as(change) for watcher in watchers] == [Op.ADDED] * 3
    kept = dict(change.derived)
    assert len(kept) == 3  # labels before and after, the document after
    watchers[0].seen_as(change)
    assert all(change.derived[key] is value for key, value in kept.items())
