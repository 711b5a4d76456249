"""The OpenAPI documents: made once, named by their content."""

from __future__ import annotations

import msgspec
import pytest

from apiserver.documents import V2_ANSWERED, V2_ASKED, OpenAPIDocuments
from registry.builtin import KINDS
from registry.catalog import Catalog
from registry.plugin import build
from tests.apiserver.world import trinkets
from tests.plugins.reference import GROUP, plugin

pytestmark = pytest.mark.anyio


@pytest.fixture
def documents() -> OpenAPIDocuments:
    return OpenAPIDocuments(Catalog(build([plugin], KINDS)))


async def test_the_index_leads_to_every_document_by_its_hash(documents: OpenAPIDocuments) -> None:
    paths = msgspec.json.decode(await documents.index())["paths"]
    assert set(paths) == {
        "api/v1",
        "apis/events.k8s.io/v1",
        "apis/coordination.k8s.io/v1",
        "apis/rbac.authorization.k8s.io/v1",
        "apis/admissionregistration.k8s.io/v1",
        "apis/apiextensions.k8s.io/v1",
        "apis/authentication.k8s.io/v1",
        "apis/authorization.k8s.io/v1",
        f"apis/{GROUP}/v1",
        f"apis/{GROUP}/v1beta1",
    }
    for place, entry in paths.items():
        served = await documents.find(place)
        assert served is not None
        assert entry["serverRelativeURL"] == served.url == f"/openapi/v3/{place}?hash={served.hash}"
        assert served.etag == f'"{served.hash}"'
        assert msgspec.json.decode(served.body)["openapi"] == "3.0.0"


async def test_a_document_is_about_its_own_group_and_version(documents: OpenAPIDocuments) -> None:
    served = await documents.find(f"apis/{GROUP}/v1")
    assert served is not None
    paths = msgspec.json.decode(served.body)["paths"]
    assert f"/apis/{GROUP}/v1/namespaces/{{namespace}}/widgets/{{name}}/scale" in paths
    assert all(path.startswith(f"/apis/{GROUP}/v1/") for path in paths)


async def test_a_document_is_made_once(documents: OpenAPIDocuments) -> None:
    first, again = await documents.find("api/v1"), await documents.find("api/v1")
    assert first is not None
    assert again is not None
    assert first.body is again.body
    made = [piece async for piece in (await documents.v2("")).body]
    [kept] = [piece async for piece in (await documents.v2("")).body]
    assert b"".join(made) == kept


async def test_the_hash_changes_with_the_content_alone(documents: OpenAPIDocuments) -> None:
    more = OpenAPIDocuments(Catalog(build([plugin, trinkets()], KINDS)))
    assert await more.find("api/v1") == await documents.find("api/v1")
    one, other = await more.find("apis/trinkets.example/v1"), await documents.find("apis/trinkets.example/v1")
    assert one is not None
    assert other is None
    assert (await more.v2("")).etag != (await documents.v2("")).etag


@pytest.mark.parametrize("place", ["", "api/v2", "apis/nobody/v1", f"/apis/{GROUP}/v1", "../api/v1"])
async def test_there_is_no_document_of_what_is_not_served(documents: OpenAPIDocuments, place: str) -> None:
    assert await documents.find(place) is None


@pytest.mark.parametrize("accept", [V2_ASKED, V2_ANSWERED, f"application/json,{V2_ASKED}"])
async def test_who_asks_for_protobuf_gets_what_can_be_parsed_as_such(documents: OpenAPIDocuments, accept: str) -> None:
    answer = await documents.v2(accept)
    assert (answer.media, answer.etag) == (V2_ANSWERED, '"swagger-2.0"')
    assert [piece async for piece in answer.body]


async def test_everybody_else_gets_json(documents: OpenAPIDocuments) -> None:
    answer = await documents.v2("application/json")
    assert answer.media == "application/json"
    assert answer.etag.startswith('"')
    document = msgspec.json.decode(b"".join([piece async for piece in answer.body]))
    assert document["swagger"] == "2.0"
    assert {"com.example.reference.v1.Widget", "io.k8s.api.core.v1.Secret"} <= set(document["definitions"])


async def test_the_paths_are_told_for_the_index_of_paths(documents: OpenAPIDocuments) -> None:
    assert {"/openapi/v2", "/openapi/v3", f"/openapi/v3/apis/{GROUP}/v1"} <= set(documents.paths)
