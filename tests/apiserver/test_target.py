"""What a path addresses: every form of a resource's path, and none besides."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.target import PageNotFound, Target, resolve, segments
from registry.builtin import KINDS
from registry.errors import NotFound
from registry.plugin import build
from tests.apiserver.world import refusal
from tests.plugins.reference import plugin

REGISTRY = build([plugin], KINDS)
GROUP = "/apis/reference.example.com"

FORMS = [
    # path, plural, version, namespace, name, subresource
    ("/api/v1/namespaces", "namespaces", "v1", None, "", ""),
    ("/api/v1/namespaces/shop", "namespaces", "v1", None, "shop", ""),
    ("/api/v1/namespaces/shop/status", "namespaces", "v1", None, "shop", "status"),
    ("/api/v1/namespaces/shop/finalize", "namespaces", "v1", None, "shop", "finalize"),
    ("/api/v1/configmaps", "configmaps", "v1", None, "", ""),
    ("/api/v1/namespaces/shop/configmaps", "configmaps", "v1", "shop", "", ""),
    ("/api/v1/namespaces/shop/configmaps/a", "configmaps", "v1", "shop", "a", ""),
    ("/api/v1/namespaces/shop/serviceaccounts/a/token", "serviceaccounts", "v1", "shop", "a", "token"),
    (f"{GROUP}/v1/widgets", "widgets", "v1", None, "", ""),
    (f"{GROUP}/v1beta1/widgets", "widgets", "v1beta1", None, "", ""),
    (f"{GROUP}/v1/namespaces/shop/widgets", "widgets", "v1", "shop", "", ""),
    (f"{GROUP}/v1/namespaces/shop/widgets/a", "widgets", "v1", "shop", "a", ""),
    (f"{GROUP}/v1/namespaces/shop/widgets/a/status", "widgets", "v1", "shop", "a", "status"),
    (f"{GROUP}/v1/namespaces/shop/widgets/a/anything", "widgets", "v1", "shop", "a", "anything"),
    (f"{GROUP}/v1/gadgets", "gadgets", "v1", None, "", ""),
    (f"{GROUP}/v1/gadgets/a", "gadgets", "v1", None, "a", ""),
    ("/apis/coordination.k8s.io/v1/namespaces/shop/leases/a", "leases", "v1", "shop", "a", ""),
]


def at(path: str) -> Target:
    return resolve(REGISTRY, segments(path.encode()))


@pytest.mark.parametrize(("path", "plural", "version", "namespace", "name", "subresource"), FORMS, ids=[form[0] for form in FORMS])
def test_every_form_of_a_path_addresses_its_resource(
    path: str, plural: str, version: str, namespace: str | None, name: str, subresource: str
) -> None:
    target = at(path)
    assert (target.kind.plural, target.version.name) == (plural, version)
    assert (target.namespace, target.name, target.subresource) == (namespace, name, subresource)
    assert not target.watch_prefix


@pytest.mark.parametrize("path", [form[0] for form in FORMS])
def test_a_trailing_slash_changes_nothing(path: str) -> None:
    assert at(path + "/") == at(path)


@pytest.mark.parametrize("path", [form[0] for form in FORMS if not form[5]])
def test_the_watch_prefix_addresses_the_same_and_says_so(path: str) -> None:
    prefix, _, rest = path.partition("/v1beta1/" if "v1beta1" in path else "/v1/")
    version = "v1beta1" if "v1beta1" in path else "v1"
    watched, plain = at(f"{prefix}/{version}/watch/{rest}"), at(path)
    assert watched.watch_prefix
    assert (watched.kind, watched.version, watched.namespace, watched.name) == (
        plain.kind,
        plain.version,
        plain.namespace,
        plain.name,
    )


MISSING = [
    f"{GROUP}/v1/watch/namespaces/shop/widgets/a/status",  # a subresource cannot be watched
    f"{GROUP}/v1/widgets/a",  # its namespace is missing
    f"{GROUP}/v1/namespaces/shop/gadgets",  # it has none
    f"{GROUP}/v1/namespaces/shop/gadgets/a",
    f"{GROUP}/v1/namespaces/shop",
    f"{GROUP}/v1/watch",
    f"{GROUP}/v1/nothing",
    f"{GROUP}/v2/widgets",
    "/apis/nobody.example/v1/widgets",
    f"{GROUP}/v1/namespaces/shop/widgets/a/status/more",
    "/apis/coordination.k8s.io/v2/leases",
]


@pytest.mark.parametrize("path", MISSING)
def test_what_a_plugins_group_does_not_have_is_a_page_that_is_not_there(path: str) -> None:
    with pytest.raises(PageNotFound):
        at(path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/pods",
        "/api/v1/namespaces/shop/pods/a",
        "/api/v1/configmaps/a",
        "/api/v1/namespaces/shop/namespaces",
        "/api/v2/configmaps",
        "/api/v1/watch",
        "/apis/coordination.k8s.io/v1/nothing",
    ],
)
def test_what_a_builtin_group_does_not_have_is_a_resource_that_is_not_there(path: str) -> None:
    with pytest.raises(NotFound, match="the server could not find the requested resource") as caught:
        at(path)
    assert not isinstance(caught.value, PageNotFound)


def test_an_encoded_slash_is_part_of_a_name() -> None:
    target = at("/api/v1/namespaces/shop/configmaps/a%2Fb")
    assert (target.name, target.subresource) == ("a/b", "")


@pytest.mark.parametrize("path", ["//api/v1/pods", "/api//v1", "/api/v1//pods", "/api/v1/%FF", "/api/v1/\xff"])
def test_an_empty_or_unreadable_segment_is_no_path(path: str) -> None:
    with pytest.raises(PageNotFound):
        segments(path.encode("latin-1"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=8))
def test_segments_come_out_as_they_were_before_they_were_encoded(parts: list[str]) -> None:
    assert segments(("/" + "/".join(quote(part, safe="") for part in parts)).encode()) == parts


words = st.sampled_from(
    ["watch", "namespaces", "shop", "widgets", "gadgets", "configmaps", "status", "scale", "finalize", "a", "v1"]
)


@given(
    st.sampled_from([["api", "v1"], ["apis", "reference.example.com", "v1"], ["apis", "x", "y"]]),
    st.lists(words, min_size=1, max_size=7),
)
def test_any_path_is_resolved_or_not_found(begin: list[str], rest: list[str]) -> None:
    error = refusal(lambda: resolve(REGISTRY, begin + rest))
    if error is not None:
        assert error.code == 404
    else:
        target = resolve(REGISTRY, begin + rest)
        assert target.kind.namespaced or target.namespace is None
        assert target.name or not target.subresource
        assert not target.name or target.namespace or not target.kind.namespaced
