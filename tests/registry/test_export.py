"""What is exported is valid in its own language, takes what the server takes, and loses nothing, whatever the kinds are called."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import tree_sitter
import tree_sitter_typescript
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from apiserver import exported_client
from examples import shop, uptime
from registry.builtin import KINDS
from registry.custom import structural
from registry.description import Description, KindDescription, VersionDescription, describe
from registry.description_names import NoSuchKind
from registry.export.choosing import ExportError, Form, chosen
from registry.export.crds import definition, definitions
from registry.export.jsonschemas import ALL, bundled, json_schemas
from registry.export.openapi import openapi_file, openapi_files, place_of
from registry.export.python import identifier, python
from registry.export.typescript import typescript
from registry.nodes import ListType, Node
from registry.openapi import Served, openapi_v3
from registry.openapi_schemas import schema_of_node
from registry.plugin import Plugin, build
from registry.resource import Metadata
from registry.schema import Schema
from registry.typed import node_of
from tests.plugins import gauges
from tests.plugins.reference import plugin as reference

Document = dict[str, Any]
CLIENT = Path(exported_client.__file__).read_text("utf-8")
TYPESCRIPT = tree_sitter.Parser(tree_sitter.Language(tree_sitter_typescript.language_typescript()))
HOSTILE = """
class type none None a-b a_b aB a.b $ref größe str list self 1st __init__ ﬁ fi 日本 import match metadata kind apiVersion
constructor field tuple msgspec */ int float lambda PLACE default_factory UNSET ᪵ ³ İ quo"te back\\slash { '
"""
HOSTILE_NAMES = (*HOSTILE.split(), "x y", "new\nline", "", " ", "\u2028", '"""')
COUNT = itertools.count()


def described(*plugins: Plugin) -> tuple[KindDescription, ...]:
    return describe(build(plugins, KINDS)).kinds


def forms_of(*plugins: Plugin, **choice: Any) -> tuple[Form, ...]:
    return chosen(described(*plugins), **choice)


def root_of(spec: Node) -> Node:
    properties = {"apiVersion": Node(type="string"), "kind": Node(type="string"), "metadata": node_of(Metadata), "spec": spec}
    return Node(type="object", properties=properties)


def form_of(root: Node, *, kind: str = "Thing", plural: str = "things", name: str = "v1") -> Form:
    """A kind of a node."""
    version = VersionDescription(name=name, group="x.example", api_version=f"x.example/{name}", schema=schema_of_node(root))
    described = KindDescription(
        resource=f"{plural}.x.example",
        kind=kind,
        list_kind=f"{kind}List",
        singular=kind.lower(),
        plural=plural,
        group="x.example",
        storage=name,
        versions=(version,),
    )
    return Form(described, version)


@contextmanager
def loaded(text: str) -> Iterator[ModuleType]:
    """The module of a text."""
    name = f"exported_{next(COUNT)}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.py"
        path.write_text(text, "utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            yield module
        finally:
            del sys.modules[name]


def is_typescript(text: str) -> bool:
    return not TYPESCRIPT.parse(text.encode()).root_node.has_error


# Random kinds

names = st.one_of(st.sampled_from(HOSTILE_NAMES), st.text(max_size=5), st.from_regex(r"[a-z]{1,6}[A-Z]?[a-z]{0,3}", fullmatch=True))
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.one_of(
    st.builds(Node, type=st.just("string"), description=words),
    st.builds(Node, type=st.just("string"), enum=st.lists(words, min_size=1, max_size=3, unique=True).map(tuple)),
    st.just(Node(type="string", max_length=4)),
    st.just(Node(type="integer", minimum=-5, maximum=9, exclusive_maximum=True)),
    st.just(Node(type="integer", enum=(1, 2, 30))),
    st.just(Node(type="number", minimum=0)),
    st.just(Node(type="boolean")),
    st.just(Node(int_or_string=True)),
    st.just(Node(preserve=True, nullable=True)),
    st.just(Node(type="object", preserve=True)),
    st.just(Node(type="array", items=Node(type="string"), list_type=ListType.SET)),
)


def objects(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    @st.composite
    def made(draw: st.DrawFn) -> Node:
        properties = draw(st.dictionaries(names.filter(lambda name: not _surrogate(name)), inner, max_size=4))
        required = tuple(name for name in properties if draw(st.booleans()))
        return Node(type="object", properties=properties, required=required, preserve=draw(st.integers(0, 9)) == 0)

    return made()


def _surrogate(name: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in name)


def more(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        objects(inner),
        st.builds(Node, type=st.just("array"), items=inner, max_items=st.sampled_from([None, 2])),
        st.builds(Node, type=st.just("object"), additional=inner, max_properties=st.sampled_from([None, 2])),
        st.builds(lambda node: replace(node, nullable=True), inner),
        defaulted(inner),
    )


@st.composite
def defaulted(draw: st.DrawFn, inner: st.SearchStrategy[Node]) -> Node:
    node = draw(inner)
    return replace(node, default=draw(values(node)))


def values(node: Node) -> st.SearchStrategy[Any]:
    """Values of a node; nearly all are valid."""
    found = _values(node)
    return st.one_of(found, st.none()) if node.nullable else found


def _values(node: Node) -> st.SearchStrategy[Any]:
    if node.enum:
        return st.sampled_from(node.enum)
    if node.int_or_string:
        return st.one_of(st.integers(-9, 9), words)
    match node.type:
        case "string":
            return words.map(lambda text: text[: node.max_length])
        case "integer":
            return st.integers(-5, 8)
        case "number":
            return st.one_of(st.integers(0, 2**53), st.floats(0, 1e300))
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(values(node.items or Node()), max_size=2, unique_by=repr)
        case "object" if node.additional is not None:
            return st.dictionaries(words, values(node.additional), max_size=2)
        case "object" if not node.preserve:
            return fields(node)
        case _:
            return st.recursive(
                st.one_of(st.integers(-9, 9), words, st.booleans()), lambda each: st.dictionaries(words, each), max_leaves=3
            ).map(lambda value: value if not node.type or isinstance(value, dict) else {"k": value})


@st.composite
def fields(draw: st.DrawFn, node: Node) -> Document:
    """An object, with a null here and there that the server drops."""
    found: Document = {}
    for name, child in node.properties.items():
        must = name in node.required and not child.has_default
        chance = draw(st.integers(0, 5))
        if must or chance > 2:
            found[name] = draw(values(child))
        elif chance == 2:
            found[name] = None
    return found


nodes = st.recursive(scalars, more, max_leaves=8)


@st.composite
def kinds(draw: st.DrawFn) -> tuple[Node, Document]:
    """A root that is valid, and an object of it that the server takes without a warning."""
    spec = draw(objects(nodes))
    try:
        schema = Schema(root_of(spec))
    except ValueError:
        assume(False)
    document = {"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": draw(values(spec))}
    outcome = schema.apply(document)
    assume(not outcome.causes and not outcome.unknown and not outcome.unreadable)
    return schema.node.properties["spec"], document  # with defaults in their one form, as a registry has it


@settings(max_examples=40, deadline=None)
@given(kinds())
def test_any_kind_makes_a_python_module_whose_values_lose_nothing(found: tuple[Node, Document]) -> None:
    root, document = root_of(found[0]), found[1]
    settled = Schema(root).apply(document).document
    text = python([form_of(root)], CLIENT)
    with loaded(text) as module:
        model = module.ThingV1
        value = msgspec.json.decode(json.dumps(settled), type=model)
        assert json.loads(msgspec.json.encode(value)) == settled
        assert hasattr(module.Client, "things_v1")
    assert text == python([form_of(root)], CLIENT)


@settings(max_examples=70, deadline=None)
@given(kinds())
def test_json_schema_takes_whatever_the_server_takes(found: tuple[Node, Document]) -> None:
    root, document = root_of(found[0]), found[1]
    [(_, text), _] = json_schemas([form_of(root)]).items()
    validator = jsonschema_rs.Draft202012Validator(json.loads(text))
    for each in (document, Schema(root).apply(document).document):
        assert [str(error) for error in validator.iter_errors(each)] == []


@settings(max_examples=40, deadline=None)
@given(kinds())
def test_any_kind_makes_typescript_that_a_parser_takes(found: tuple[Node, Document]) -> None:
    root = root_of(found[0])
    text = typescript([form_of(root)])
    assert is_typescript(text), text


@settings(max_examples=40, deadline=None)
@given(kinds())
def test_schemas_of_definitions_are_structural_and_mean_the_same(found: tuple[Node, Document]) -> None:
    root = root_of(found[0])
    document = definition([form_of(root)])
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert structural.problems(schema, "schema", status=True) == []
    assert schema["properties"]["metadata"] == {"type": "object"}
    assert schema["properties"]["spec"].get("required", []) == list(root.properties["spec"].required)
    assert yaml.safe_load(definitions([form_of(root)])["things.x.example.yaml"]) == json.loads(json.dumps(document))


# Python


def test_hostile_names_are_valid_and_differ() -> None:
    taken: set[str] = set()
    found = [identifier(name, taken) for name in HOSTILE_NAMES]
    assert len(set(found)) == len(HOSTILE_NAMES)
    for name in found:
        ast.parse(f"class A:\n    {name}: int = 1")
        assert not name.startswith("_")
    assert identifier("lastProbeTime", set()) == "last_probe_time"
    assert identifier("podCIDRs", set()) == "pod_cid_rs"
    assert identifier("größe", set()) == "größe"


@pytest.mark.parametrize("odd", ['a"b', "", "a\\b", "a\nb"], ids=["quote", "empty", "backslash", "line"])
def test_an_object_that_no_struct_can_hold_is_a_map_and_keeps_everything(odd: str) -> None:
    root = root_of(Node(type="object", properties={"odd": Node(type="object", properties={odd: Node(type="string")})}))
    with loaded(python([form_of(root)], CLIENT)) as module:
        document = {"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"odd": {odd: "c"}}}
        value = msgspec.convert(document, module.ThingV1)
        assert msgspec.to_builtins(value) == document


def test_kinds_of_one_name_have_types_of_their_own() -> None:
    spec = root_of(Node(type="object", properties={"spec": Node(type="object", properties={"a": Node(type="string")})}))
    twins = [form_of(spec), form_of(spec, plural="others"), form_of(spec, kind="ThingV1Spec", plural="specs")]
    text = python(twins, CLIENT)
    with loaded(text) as module:
        models = {form.kind.plural: getattr(module.Client, f"{form.kind.plural}_v1") for form in twins}
        assert len(models) == 3
        places = {each.PLACE for each in vars(module).values() if hasattr(each, "PLACE") and each.__name__ != "Object"}
        assert {place.plural for place in places} == {"things", "others", "specs"}
    assert is_typescript(typescript(twins))


def test_what_is_null_by_default_differs_from_what_is_not_there_only_where_that_means_something() -> None:
    properties = {
        "may": Node(type="string", nullable=True),
        "plain": Node(type="string"),
        "any": Node(preserve=True, nullable=True),
    }
    with loaded(python([form_of(root_of(Node(type="object", properties=properties)))], CLIENT)) as module:
        spec = module.ThingV1Spec
        assert msgspec.to_builtins(spec()) == {}
        assert msgspec.to_builtins(spec(may=None, plain=None, any=None)) == {"may": None, "any": None}


# JSON Schema


def test_json_schema_finds_what_an_editor_should_mark() -> None:
    files = json_schemas(forms_of(uptime.plugin))
    assert list(files) == [*(f"uptime.example/probe_{version}.json" for version in ("v1", "v1beta1", "v1alpha1")), ALL]
    validator = jsonschema_rs.Draft202012Validator(json.loads(files["uptime.example/probe_v1.json"]))
    good = {"apiVersion": "uptime.example/v1", "kind": "Probe", "metadata": {"name": "a"}, "spec": {"url": "http://a"}}
    assert validator.is_valid(good)
    wrong: list[Document] = [
        {"spec": {"url": "http://a", "interval": 3}},
        {"spec": {"url": "http://a", "intervalSeconds": 0}},
        {"spec": {}},
        {"spec": {"url": 3}},
        {"apiVersion": "uptime.example/v2"},
        {"metadata": {"name": "a", "lables": {}}},
    ]
    for each in wrong:
        assert not validator.is_valid(good | each), each
    whole = jsonschema_rs.Draft202012Validator(json.loads(bundled(json_schemas(forms_of(uptime.plugin, reference)))))
    assert whole.is_valid(good)
    assert not whole.is_valid(good | wrong[0])


# Definitions


def test_a_definition_says_all_that_a_definition_can() -> None:
    forms = forms_of(gauges.plugin(), versions=["v1"])
    document = definition(forms)
    assert document["metadata"] == {"name": "gauges.gauges.example"}
    spec = document["spec"]
    assert spec["names"] == {"plural": "gauges", "singular": "gauge", "kind": "Gauge", "listKind": "GaugeList"}
    [version] = spec["versions"]
    assert (version["served"], version["storage"]) == (True, True)
    assert version["subresources"] == {
        "status": {},
        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    }
    assert version["selectableFields"] == [{"jsonPath": ".spec.target.url"}]
    assert version["additionalPrinterColumns"][0] == {"name": "URL", "type": "string", "jsonPath": ".spec.target.url"}


def test_versions_of_different_shapes_are_refused_with_what_to_do() -> None:
    with pytest.raises(ExportError, match="different shapes") as caught:
        definitions(forms_of(gauges.plugin()))
    assert caught.value.hint == "export one of them, as gauges.v1.gauges.example"


def test_versions_of_one_shape_are_one_definition() -> None:
    plugin = Plugin("two")
    for version in ("v1", "v1beta1"):
        plugin.kind(
            gauges.Gauge, group="two.example", version=version, plural="gauges", owner="external", deprecated=version != "v1"
        )
    [text] = definitions(forms_of(plugin)).values()
    spec = yaml.safe_load(text)["spec"]
    assert [(each["name"], each["storage"], each.get("deprecated", False)) for each in spec["versions"]] == [
        ("v1", True, False),
        ("v1beta1", False, True),
    ]
    assert spec["conversion"] == {"strategy": "None"}


def test_sets_of_objects_and_keys_of_lists_say_what_kubernetes_wants_to_hear() -> None:
    pair = Node(type="object", properties={"a": Node(type="string")})
    of = lambda kind, **more: Node(type="object", properties={"l": Node(type="array", items=pair, list_type=kind, **more)})  # noqa: E731
    schema = definition([form_of(root_of(of(ListType.SET)))])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["spec"]["properties"]["l"]["items"]["x-kubernetes-map-type"] == "atomic"
    with pytest.raises(ExportError, match=r"spec\.l: 'a' is a key of a list, and may be left out"):
        definition([form_of(root_of(of(ListType.MAP, list_map_keys=("a",))))])


def test_what_may_be_anything_may_be_null_in_a_definition_too() -> None:
    anything = Node(type="object", properties={"any": Node(preserve=True, nullable=True)}, required=("any",), default={"any": None})
    root = Schema(root_of(Node(type="object", properties={"o": anything}))).node
    schema = definition([form_of(root)])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert structural.problems(schema, "schema", status=True) == []
    assert schema["properties"]["spec"]["properties"]["o"]["properties"]["any"]["nullable"] is True


# OpenAPI


def documents_of(forms: tuple[Form, ...], *plugins: Plugin) -> dict[str, Document]:
    found: dict[str, list[Served]] = {}
    for kind in build(plugins, KINDS).kinds:
        for version in kind.served:
            served = Served(
                group=version.group,
                version=version.name,
                kind=kind.name,
                list_kind=kind.list_kind,
                plural=kind.plural,
                node=version.schema.node,
                namespaced=kind.namespaced,
            )
            found.setdefault(f"{version.group}/{version.name}", []).append(served)
    return {place_of(form): openapi_v3(found[form.api_version]) for form in forms}


def test_an_openapi_document_has_the_chosen_kinds_and_what_they_refer_to() -> None:
    plugins = (uptime.plugin, shop.plugin, gauges.plugin())
    everything = forms_of(*plugins)
    documents = documents_of(everything, *plugins)
    one = json.loads(openapi_file(forms_of(*plugins, names=["probes"]), documents))
    assert {path.split("/")[2] for path in one["paths"]} == {"uptime.example"}
    assert "example.uptime.v1.Probe" in one["components"]["schemas"]
    assert not any("shop" in name for name in one["components"]["schemas"])
    whole = json.loads(openapi_file(everything, documents))
    text = json.dumps(whole)
    for name in (part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in whole["components"]["schemas"]
    assert whole["components"]["schemas"]["example.uptime.v1.Probe"] == one["components"]["schemas"]["example.uptime.v1.Probe"]
    assert set(openapi_files(everything, documents)) == {f"{place}.json" for place in documents}


# What is chosen


def test_the_order_of_declarations_changes_nothing() -> None:
    plugins = (uptime.plugin, shop.plugin, gauges.plugin())
    one, other = forms_of(*plugins), forms_of(*reversed(plugins))
    assert python(one, CLIENT) == python(other, CLIENT)
    assert typescript(one) == typescript(other)
    assert json_schemas(one) == json_schemas(other)
    # A description that went over the wire says the same.
    wired = msgspec.json.decode(msgspec.json.encode(describe(build(plugins, KINDS))), type=Description)
    assert python(chosen(wired.kinds), CLIENT) == python(one, CLIENT)
    assert typescript(chosen(wired.kinds)) == typescript(one)


def test_what_is_not_there_is_said() -> None:
    for choice, said in (({"names": ["prob"]}, "kind 'prob'"), ({"groups": ["x"]}, "group 'x'"), ({"versions": ["v9"]}, "version")):
        with pytest.raises((NoSuchKind, ExportError), match=said):
            forms_of(uptime.plugin, **choice)
    with pytest.raises(ExportError, match="nothing to export"):
        forms_of(uptime.plugin, names=["probes"], groups=[""])
    assert [form.kind.kind for form in forms_of(uptime.plugin, names=["ConfigMap"])] == ["ConfigMap"]
