"""The OpenAPI documents: made once, named by their content."""

from __future__ import annotations

import msgspec
import pytest

from apiserver.documents import V2_ANSWERED, V2_ASKED, OpenAPIDocuments
from registry.builtin import KINDS
from registry.plugin import build
from tests.apiserver.world import trinkets
from tests.plugins.reference import GROUP, plugin


@pytest.fixture
def documents() -> OpenAPIDocuments:
    return OpenAPIDocuments(build([plugin], KINDS))


def test_the_index_leads_to_every_document_by_its_hash(documents: OpenAPIDocuments) -> None:
    paths = msgspec.json.decode(documents.index)["paths"]
    assert set(paths) == {
        "api/v1",
        "apis/events.k8s.io/v1",
        "apis/coordination.k8s.io/v1",
        "apis/rbac.authorization.k8s.io/v1",
        "apis/admissionregistration.k8s.io/v1",
        "apis/authentication.k8s.io/v1",
        "apis/authorization.k8s.io/v1",
        f"apis/{GROUP}/v1",
        f"apis/{GROUP}/v1beta1",
    }
    for place, entry in paths.items():
        served = documents.find(place)
        assert served is not None
        assert entry["serverRelativeURL"] == served.url == f"/openapi/v3/{place}?hash={served.hash}"
        assert served.etag == f'"{served.hash}"'
        assert msgspec.json.decode(served.body)["openapi"] == "3.0.0"


def test_a_document_is_about_its_own_group_and_version(documents: OpenAPIDocuments) -> None:
    served = documents.find(f"apis/{GROUP}/v1")
    assert served is not None
    paths = msgspec.json.decode(served.body)["paths"]
    assert f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets/{{name}}/scale" in paths
    assert all(path.startswith(f"/apis/{GROUP}/v1/") for path in paths)


def test_a_document_is_made_once(documents: OpenAPIDocuments) -> None:
    assert documents.find("api/v1") is documents.find("api/v1")
    assert documents.v2("")[0] is documents.v2("")[0]


def test_the_hash_changes_with_the_content_alone(documents: OpenAPIDocuments) -> None:
    more = OpenAPIDocuments(build([plugin, trinkets()], KINDS))
    assert more.find("api/v1") == documents.find("api/v1")
    one, other = more.find("apis/trinkets.example/v1"), documents.find("apis/trinkets.example/v1")
    assert one is not None
    assert other is None
    assert more.v2("")[1] != documents.v2("")[1]


@pytest.mark.parametrize("place", ["", "api/v2", "apis/nobody/v1", f"/apis/{GROUP}/v1", "../api/v1"])
def test_there_is_no_document_of_what_is_not_served(documents: OpenAPIDocuments, place: str) -> None:
    assert documents.find(place) is None


@pytest.mark.parametrize("accept", [V2_ASKED, V2_ANSWERED, f"application/json,{V2_ASKED}"])
def test_who_asks_for_protobuf_gets_what_can_be_parsed_as_such(documents: OpenAPIDocuments, accept: str) -> None:
    body, etag, media = documents.v2(accept)
    assert (media, etag) == (V2_ANSWERED, '"swagger-2.0"')
    assert body


def test_everybody_else_gets_json(documents: OpenAPIDocuments) -> None:
    body, etag, media = documents.v2("application/json")
    assert media == "application/json"
    assert etag.startswith('"')
    assert msgspec.json.decode(body)["swagger"] == "2.0"


def test_the_paths_are_told_for_the_index_of_paths(documents: OpenAPIDocuments) -> None:
    assert {"/openapi/v2", "/openapi/v3", f"/openapi/v3/apis/{GROUP}/v1"} <= set(documents.paths)
