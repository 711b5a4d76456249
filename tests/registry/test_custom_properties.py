"""What holds of every schema that arrives at run time, and of every document."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.custom.junctors import Junctors
from registry.custom.schema import custom_schema
from registry.custom.structural import problems

NAMES = ("a", "b", "c")
names = st.sampled_from(NAMES)
quickly = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([0.5, 2.0])
    | st.sampled_from(["", "x", "xy", "b", "1.2.3.4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


def some(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A schema with some of the keywords."""
    return st.fixed_dictionaries({}, optional=keywords)


narrowing = some(
    minimum=st.integers(-2, 9),
    maximum=st.integers(-2, 9),
    exclusiveMinimum=st.booleans(),
    minLength=st.integers(0, 2),
    maxLength=st.integers(0, 2),
    pattern=st.sampled_from(["^x", "y$", "^$"]),
    format=st.sampled_from(["ipv4", "unheard-of"]),
    enum=st.lists(st.sampled_from(["x", "b", 2, True]), min_size=1, max_size=3),
    required=st.lists(names, min_size=1, max_size=2, unique=True),
    minProperties=st.integers(0, 2),
    maxProperties=st.integers(0, 2),
    minItems=st.integers(0, 2),
    maxItems=st.integers(0, 2),
)


@st.composite
def nested(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """What may be within a junctor."""
    schema = draw(narrowing.filter(lambda said: len(said) < 4))
    if depth:
        inner = nested(depth - 1)
        schema |= draw(
            some(
                properties=st.dictionaries(names, inner, min_size=1, max_size=2),
                items=inner,
                allOf=st.lists(inner, min_size=1, max_size=2),
                anyOf=st.lists(inner, min_size=1, max_size=2),
                oneOf=st.lists(inner, min_size=1, max_size=2),
                **{"not": inner},
            ).filter(lambda said: len(said) < 3)
        )
    return schema


joined = some(
    allOf=st.lists(nested(), min_size=1, max_size=2),
    anyOf=st.lists(nested(), min_size=1, max_size=3),
    oneOf=st.lists(nested(), min_size=1, max_size=3),
    **{"not": nested()},
).filter(lambda said: len(said) < 3)

SCALARS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "maxLength": 1},
    {"type": "string", "default": "x"},
    {"type": "string", "nullable": True},
    {"type": "string", "pattern": "^x"},
    {"type": "integer"},
    {"type": "integer", "minimum": 2, "default": 3},
    {"type": "number", "nullable": True},
    {"type": "boolean"},
    {"x-kubernetes-int-or-string": True},
    {"x-kubernetes-preserve-unknown-fields": True},
]


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """A structural schema."""
    if not depth or draw(st.booleans()):
        schema = dict(draw(st.sampled_from(SCALARS)))
    elif draw(st.booleans()):
        schema = {"type": "array", "items": draw(schemas(depth - 1))}
    elif draw(st.booleans()):
        schema = {"type": "object", "additionalProperties": draw(schemas(depth - 1))}
    else:
        schema = {"type": "object", "properties": draw(st.dictionaries(names, schemas(depth - 1), min_size=1, max_size=3))}
        schema |= draw(some(required=st.lists(names, max_size=2, unique=True)))
        if draw(st.integers(0, 3)) == 0:
            schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema | (draw(joined) if "default" not in schema and draw(st.integers(0, 2)) == 0 else {})


roots = st.fixed_dictionaries({"type": st.just("object"), "properties": st.fixed_dictionaries({"spec": schemas()})})


def thing(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "e.com/v1", "kind": "Thing", "spec": spec}


@quickly
@given(roots, values)
def test_to_apply_a_schema_again_to_its_outcome_changes_nothing(source: dict[str, Any], spec: Any) -> None:
    assert problems(source, "") == []
    schema = custom_schema(source)
    once = schema.apply(thing(spec))
    twice = schema.apply(once.document)
    assert twice.document == once.document
    assert twice.unknown == ()
    assert twice.causes == once.causes


def undeclared(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """Fields of a value that its schema does not declare."""
    found: list[str] = []
    if isinstance(value, dict) and schema.get("type") in (None, "object"):
        for key, item in value.items():
            child = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if child is not None:
                found += undeclared(child, item, f"{path}.{key}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields") and schema.get("type"):
                found.append(f"{path}.{key}")
    elif isinstance(value, list) and schema.get("type") == "array":
        for index, item in enumerate(value):
            found += undeclared(schema["items"], item, f"{path}[{index}]")
    return found


@quickly
@given(roots, values)
def test_pruning_keeps_what_is_declared_and_nothing_else(source: dict[str, Any], spec: Any) -> None:
    outcome = custom_schema(source).apply(thing(spec))
    assert undeclared(source["properties"]["spec"], outcome.document.get("spec")) == []
    assert sorted(f".{path}" for path in outcome.unknown) == sorted(undeclared(source["properties"]["spec"], spec, ".spec"))


@quickly
@given(roots, values, values)
def test_what_is_not_new_is_no_fault(source: dict[str, Any], spec: Any, other: Any) -> None:
    schema = custom_schema(source)
    document, changed = schema.apply(thing(spec)), schema.apply(thing(other))
    assert schema.apply(document.document, old=document.document).causes == ()
    ratcheted = schema.apply(changed.document, old=document.document).causes
    assert not ratcheted or changed.causes


# An oracle: what junctors mean, said once more and as plainly as can be.


def obeys(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value obeys what is within a junctor."""
    if "enum" in schema and not any(type(value) is type(choice) and value == choice for choice in schema["enum"]):
        return False
    if isinstance(value, str) and not _text_obeys(schema, value):
        return False
    if type(value) in (int, float) and not _number_obeys(schema, value):
        return False
    if isinstance(value, dict):
        most, least = schema.get("maxProperties", 99), schema.get("minProperties", 0)
        if not least <= len(value) <= most or any(name not in value for name in schema.get("required", ())):
            return False
        if not all(obeys(child, value[name]) for name, child in schema.get("properties", {}).items() if name in value):
            return False
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 99):
            return False
        if "items" in schema and not all(obeys(schema["items"], item) for item in value):
            return False
    return value is None or junctors_hold(schema, value)


def _text_obeys(schema: dict[str, Any], value: str) -> bool:
    if schema.get("format") == "ipv4" and not re.fullmatch(r"1\.2\.3\.4", value):
        return False
    fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 99)
    return fits and ("pattern" not in schema or bool(re.search(schema["pattern"], value)))


def _number_obeys(schema: dict[str, Any], value: float) -> bool:
    least, most = schema.get("minimum", -99), schema.get("maximum", 99)
    return least <= value <= most and not (schema.get("exclusiveMinimum") and value == least)


def junctors_hold(schema: dict[str, Any], value: Any) -> bool:
    every = all(obeys(branch, value) for branch in schema.get("allOf", ()))
    some_one = "anyOf" not in schema or any(obeys(branch, value) for branch in schema["anyOf"])
    just_one = "oneOf" not in schema or sum(obeys(branch, value) for branch in schema["oneOf"]) == 1
    return every and some_one and just_one and not ("not" in schema and obeys(schema["not"], value))


def all_hold(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value obeys the junctors of a structural schema, and all that is in it those below."""
    if value is None:
        return True
    inner: list[bool] = []
    if isinstance(value, dict):
        children = {key: schema.get("properties", {}).get(key, schema.get("additionalProperties")) for key in value}
        inner = [all_hold(child, value[key]) for key, child in children.items() if child]
    if isinstance(value, list) and "items" in schema:
        inner = [all_hold(schema["items"], item) for item in value]
    return junctors_hold(schema, value) and all(inner)


@settings(quickly, max_examples=200)
@given(schemas(), joined, values)
def test_three_who_judge_by_junctors_agree(source: dict[str, Any], said: dict[str, Any], value: Any) -> None:
    source = source | said
    junctors = Junctors.of(source)
    expected = all_hold(source, value)
    if junctors is None:
        assert expected
        return
    assert junctors.hold(value) == expected
    assert (not junctors.causes(value, None)) == expected
