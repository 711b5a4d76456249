"""Accept and Content-Type: what clients in use send, and anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.negotiation import JSON, PLAIN, PROTOBUF, YAML, Form, Shape, body_media, choose, clauses, error_media
from registry.errors import BadRequest, NotAcceptable, UnsupportedMediaType
from tests.apiserver.world import refusal

TABLE = Form(JSON, Shape.TABLE, "v1")
KUBECTL_GET = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
CLIENT_GO = "application/vnd.kubernetes.protobuf,application/json"
METADATA_CLIENT = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

CHOICES = [
    ("", PLAIN),
    ("   ", PLAIN),
    ("*/*", PLAIN),
    ("application/*", PLAIN),
    ("application/json", PLAIN),
    ("application/json, */*", PLAIN),
    ("APPLICATION/JSON; charset=utf-8", PLAIN),
    (CLIENT_GO, PLAIN),
    (KUBECTL_GET, TABLE),
    (METADATA_CLIENT, Form(JSON, Shape.METADATA_LIST, "v1")),
    ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Form(JSON, Shape.TABLE, "v1beta1")),
    ("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", PLAIN),
    ("application/json;as=Table;v=v1;g=other.io,application/json", PLAIN),
    ("application/json;as=Nothing;v=v1;g=meta.k8s.io,application/yaml", Form(YAML)),
    ("application/yaml", Form(YAML)),
    ("application/yaml;q=0.5,application/json;q=0.9", PLAIN),
    ("application/json;q=0.5,application/yaml", Form(YAML)),
    ("text/html,application/yaml;q=0.9", Form(YAML)),
    ('application/json;as="PartialObjectMetadata";g="meta.k8s.io";v="v1"', Form(JSON, Shape.METADATA)),
    ("application/json;v=v9", PLAIN),
    ("application/json;q=nonsense", PLAIN),
]


@pytest.mark.parametrize(("accept", "expected"), CHOICES, ids=[accept[:40] for accept, _ in CHOICES])
def test_the_first_clause_that_can_be_met_is_met(accept: str, expected: Form) -> None:
    assert choose(accept) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v9;g=meta.k8s.io", ",", ";"]
)
def test_what_cannot_be_met_is_refused_with_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="only the following media types are accepted: application/json, application/yaml"):
        choose(accept)


def test_a_watch_is_no_yaml() -> None:
    assert choose("application/yaml,application/json", watch=True) == PLAIN
    assert choose(KUBECTL_GET, watch=True) == TABLE
    assert choose("application/json;stream=watch", watch=True) == PLAIN
    with pytest.raises(NotAcceptable, match="stream=watch"):
        choose("application/yaml", watch=True)


def test_where_no_shapes_can_be_made_they_are_passed_over() -> None:
    assert choose(KUBECTL_GET, shapes=False) == PLAIN
    with pytest.raises(NotAcceptable):
        choose("application/json;as=Table;v=v1;g=meta.k8s.io", shapes=False)


def test_quality_comes_before_position_and_position_decides_among_equals() -> None:
    listed = clauses("a/a;q=0.1, b/b;q=0.9, c/c, d/d, e/e;q=0.9")
    assert [clause.media for clause in listed] == ["c/c", "d/d", "b/b", "e/e", "a/a"]


def test_parameters_that_say_nothing_of_the_shape_make_no_other_form() -> None:
    """Forms are keys of what is encoded once for all watchers."""
    assert len({choose(f"application/json;v=v{n};pretty={n}") for n in range(9)}) == 1


def test_an_oversized_header_is_refused() -> None:
    with pytest.raises(BadRequest, match="longer than 4096"):
        choose("application/json," * 400)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        (KUBECTL_GET, JSON),
        ("application/yaml", YAML),
        (PROTOBUF, PROTOBUF),
        (CLIENT_GO, JSON),
        ("text/html", JSON),
        ("x" * 5_000, JSON),
    ],
)
def test_errors_are_json_unless_the_client_reads_nothing_else(accept: str, expected: str) -> None:
    assert error_media(accept) == expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("", JSON), ("application/json", JSON), ("Application/JSON; charset=utf-8", JSON), ("application/yaml ;x=y", YAML)],
)
def test_bodies_are_json_or_yaml(content_type: str, expected: str) -> None:
    assert body_media(content_type) == expected


@pytest.mark.parametrize("content_type", ["text/plain", "application/merge-patch+json", "application/x-www-form-urlencoded"])
def test_bodies_in_other_forms_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="unknown format - accepted media types include"):
        body_media(content_type)


def test_protobuf_is_read_where_its_messages_are_known() -> None:
    assert body_media(f"{PROTOBUF}; charset=x") == PROTOBUF
    with pytest.raises(UnsupportedMediaType) as refused:
        body_media(PROTOBUF, protobuf=False)
    assert refused.value.message.endswith("accepted media types include: application/json, application/yaml")


pieces = st.sampled_from(
    [JSON, YAML, PROTOBUF, "*/*", ";", ",", "as=Table", "g=meta.k8s.io", "v=v1", "q=", "0.5", "nan", "inf", "=", '"', " "]
)


@given(st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join)), st.booleans(), st.booleans())
def test_any_header_is_chosen_from_or_refused(accept: str, watch: bool, shapes: bool) -> None:
    assert error_media(accept) in (JSON, YAML, PROTOBUF)
    error = refusal(lambda: choose(accept, watch=watch, shapes=shapes))
    if error is not None:
        assert error.code in (400, 406)
    else:
        form = choose(accept, watch=watch, shapes=shapes)
        assert form.media in ((JSON,) if watch else (JSON, YAML))
        assert shapes or form.shape is Shape.OBJECT
        assert form.version in ("v1", "v1beta1")
