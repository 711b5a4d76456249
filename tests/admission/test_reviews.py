"""What reviews answer is what an authorizer decides and what an authenticator knows, and a bad question is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from admission.identity import Identity
from admission.review import Attributes, Decision
from admission.reviews import Reviews, user_info
from admission.rules import Rule
from registry.errors import ApiError, BadRequest, Invalid, Unauthorized

pytestmark = pytest.mark.anyio

Document = dict[str, Any]
ANNA = Identity("anna", "u-1", ("team",), (("scope", ("x", "y")),))
WIDGET = {"namespace": "shop", "verb": "get", "group": "g.example", "resource": "widgets", "subresource": "status", "name": "w"}
ASKED = Attributes(ANNA, "get", "widgets.g.example", "status", "shop", "w")
PATH = {"path": "/metrics", "verb": "get"}


class Books:
    """Allows what is on its list, and keeps what it was asked. It knows one token."""

    def __init__(self, *allowed: Attributes) -> None:
        self.allowed = allowed
        self.asked: list[Any] = []

    def decide(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(attributes in self.allowed, "by the book" if attributes in self.allowed else "")

    def rules_for(self, identity: Identity, namespace: str) -> tuple[Sequence[Rule], Sequence[Rule]]:
        self.asked.append((identity, namespace))
        resources = (Rule(("get",), ("",), ("pods",), ("a",)), Rule(("list",), ("",), ("pods",)))
        return resources, (Rule(("get",), non_resource_urls=("/version",)),)

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[Identity, tuple[str, ...]]:
        self.asked.append((token, tuple(audiences)))
        if token != "anna's":
            raise Unauthorized("the token has expired" if token == "old" else "")
        return ANNA, ("here",)


def reviews(books: Books) -> Reviews:
    return Reviews(books, books, lambda: 0.0)


def question(spec: Document | None = None, **metadata: Any) -> Document:
    return {"metadata": metadata} | ({} if spec is None else {"spec": spec})


def causes(error: ApiError) -> list[tuple[str, str]]:
    assert isinstance(error, Invalid)
    return [(cause.field, cause.message) for cause in error.causes]


async def test_who_asks_about_themselves_is_told_what_the_authorizer_decides() -> None:
    books = Books(ASKED)
    spec = {"resourceAttributes": WIDGET}
    answer = await reviews(books).self_access(ANNA, "", question(spec))
    assert answer == {"metadata": {}, "spec": spec, "status": {"allowed": True, "reason": "by the book"}}
    refused = await reviews(Books()).self_access(ANNA, "", question(spec))
    assert refused["status"] == {"allowed": False}


async def test_a_path_is_asked_as_a_path() -> None:
    books = Books()
    await reviews(books).self_access(ANNA, "", question({"nonResourceAttributes": PATH}))
    assert books.asked == [Attributes(ANNA, "get", "", path="/metrics")]


async def test_what_is_empty_in_a_question_is_not_in_the_answer() -> None:
    spec = {"resourceAttributes": {"namespace": "", "verb": "list", "resource": "pods"}, "user": "x", "groups": [], "uid": ""}
    books = Books()
    answer = await reviews(books).access(ANNA, "", question(spec))
    assert answer["spec"] == {"resourceAttributes": {"verb": "list", "resource": "pods"}, "user": "x"}
    assert books.asked == [Attributes(Identity("x"), "list", "pods")]


async def test_the_wildcards_of_can_i_are_asked_as_they_are() -> None:
    books = Books()
    await reviews(books).self_access(ANNA, "", question({"resourceAttributes": {"verb": "*", "group": "*", "resource": "*"}}))
    assert books.asked == [Attributes(ANNA, "*", "*.*")]


async def test_somebody_else_is_exactly_who_the_question_says() -> None:
    books = Books()
    spec = {"resourceAttributes": WIDGET, "user": "anna", "uid": "u-1", "groups": ["team"], "extra": {"scope": ["x", "y"]}}
    await reviews(books).access(Identity("root"), "", question(spec))
    assert books.asked == [ASKED]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (
            {},
            "spec.resourceAttributes",
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            {"resourceAttributes": WIDGET, "nonResourceAttributes": PATH},
            "spec.nonResourceAttributes",
            'Invalid value: {"Path":"/metrics","Verb":"get"}: cannot be specified in combination with resourceAttributes',
        ),
        ({"nonResourceAttributes": {"verb": "get"}}, "spec.nonResourceAttributes.path", "Required value"),
    ],
)
async def test_a_question_is_about_one_thing(spec: Document, field: str, message: str) -> None:
    books = Books()
    for ask in (reviews(books).self_access, reviews(books).access):
        with pytest.raises(Invalid) as refused:
            await ask(ANNA, "", question({**spec, "user": "x"}))
        assert causes(refused.value) == [(field, message)]
    assert books.asked == []


@pytest.mark.parametrize("resource", ["widgets.g", "widgets/status", "widgets.g.example"])
async def test_a_plural_that_hides_a_group_or_a_subresource_is_not_asked_about(resource: str) -> None:
    """`widgets.g` in the group `example` would be asked as `widgets` in `g.example`: an answer about something else."""
    with pytest.raises(Invalid) as refused:
        await reviews(Books()).self_access(ANNA, "", question({"resourceAttributes": {"resource": resource, "group": "example"}}))
    assert [field for field, _ in causes(refused.value)] == ["spec.resourceAttributes.resource"]


async def test_a_review_of_somebody_names_somebody() -> None:
    with pytest.raises(Invalid) as refused:
        await reviews(Books()).access(ANNA, "", question({"resourceAttributes": WIDGET}, name="a"))
    assert refused.value.message.startswith('.authorization.k8s.io "" is invalid: [spec.user: ')
    assert causes(refused.value) == [
        ("spec.user", 'Invalid value: "": at least one of user or group must be specified'),
        ("metadata", 'Invalid value: {"name":"a"}: must be empty'),
    ]


async def test_a_local_review_is_about_its_namespace() -> None:
    books = Books(ASKED)
    spec = {"user": "anna", "uid": "u-1", "groups": ["team"], "extra": {"scope": ["x", "y"]}}
    attributes = {key: value for key, value in WIDGET.items() if key != "namespace"}
    for sent in (WIDGET, attributes):
        answer = await reviews(books).local_access(ANNA, "shop", question({**spec, "resourceAttributes": sent}, namespace="shop"))
        assert answer["status"]["allowed"]
        assert answer["metadata"] == {"namespace": "shop"}
    with pytest.raises(Invalid) as refused:
        await reviews(books).local_access(ANNA, "other", question({**spec, "resourceAttributes": WIDGET}))
    assert causes(refused.value) == [("spec.resourceAttributes.namespace", 'Invalid value: "shop": must match metadata.namespace')]
    with pytest.raises(Invalid) as refused:
        await reviews(books).local_access(ANNA, "shop", question({**spec, "nonResourceAttributes": PATH}))
    assert [field for field, _ in causes(refused.value)] == ["spec.nonResourceAttributes"]


async def test_the_rules_of_who_asks_are_listed() -> None:
    books = Books()
    answer = await reviews(books).self_rules(ANNA, "", question({"namespace": "shop"}))
    assert answer["status"] == {
        "resourceRules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]},
            {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
        ],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/version"]}],
        "incomplete": False,
    }
    assert books.asked == [(ANNA, "shop")]
    for spec in (None, {}, {"namespace": ""}):
        with pytest.raises(BadRequest, match="no namespace on request"):
            await reviews(books).self_rules(ANNA, "", question(spec))


async def test_who_asks_who_they_are_is_told() -> None:
    answer = await reviews(Books()).self_review(ANNA, "", question(name="ignored"))
    assert answer == {
        "metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"},
        "status": {"userInfo": {"username": "anna", "uid": "u-1", "groups": ["team"], "extra": {"scope": ["x", "y"]}}},
    }
    assert user_info(Identity("x")) == {"username": "x"}


async def test_a_token_that_holds_is_told_with_whom_it_stands_for() -> None:
    books = Books()
    answer = await reviews(books).token(ANNA, "", question({"token": "anna's", "audiences": ["here", "there"]}))
    assert answer["status"] == {"authenticated": True, "user": user_info(ANNA), "audiences": ["here"]}
    assert books.asked == [("anna's", ("here", "there"))]


async def test_a_token_that_does_not_hold_is_an_answer_and_none_at_all_is_a_mistake() -> None:
    answer = await reviews(Books()).token(ANNA, "", question({"token": "nonsense"}))
    assert answer == {
        "metadata": {},
        "spec": {"token": "nonsense"},
        "status": {"user": {}, "error": "invalid bearer token"},
    }
    old = await reviews(Books()).token(ANNA, "", question({"token": "old"}))
    assert old["status"] == {"user": {}, "error": "the token has expired"}
    for spec in (None, {"token": ""}):
        with pytest.raises(BadRequest, match="token is required for TokenReview in authentication"):
            await reviews(Books()).token(ANNA, "", question(spec))
