"""Webhooks as they are asked about writes: who, in which order, what they see, and what their answers do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from admission.identity import ADMIN, Identity, authenticated
from apiserver.calls import Kept
from apiserver.webhook_calls import Means
from apiserver.webhooks import Webhooks
from apiserver.wiring import bootstrap
from registry.errors import ApiError
from storage.store import Put
from tests.apiserver.hooks import EVERYTHING, LOCAL, MUTATING, VALIDATING, Asking, asking, hook, patch
from tests.apiserver.tokens import ACCOUNTS, till_in
from tests.apiserver.world import CONFIGMAPS, NAMESPACES, SOMEBODY, WIDGETS

pytestmark = pytest.mark.anyio
Document = dict[str, Any]
YES: Document = {"allowed": True}
NOWHERE = {"url": "https://127.0.0.1:1/"}


async def refused(asking: Asking, verb: str, path: str, body: Any = b"", **more: Any) -> Document:
    """The Status that a write is refused with."""
    with pytest.raises(ApiError) as error:
        await asking.world.do(verb, path, body, **more)
    return error.value.status()


def widget(name: str = "w", **spec: Any) -> Document:
    return {"metadata": {"name": name}, "spec": {"size": 1, **spec}}


def body_of(document: Document) -> Document:
    return {"apiVersion": "reference.example.com/v1", "kind": "Widget", **document}


def adds(tag: str) -> Callable[[Document], Document]:
    """A hook that adds a tag, once."""

    def reply(request: Document) -> Document:
        tags = request["object"]["spec"].get("tags") or []
        return YES if tag in tags else patch({"op": "add", "path": "/spec/tags", "value": [*tags, tag]})

    return reply


async def test_mutating_webhooks_are_asked_in_order_and_each_sees_what_was_made_before_it() -> None:
    async with asking() as asked, hook(adds("b")) as late, hook(adds("a")) as early:
        await asked.mutating("z", late.entry())
        await asked.mutating("y", early.entry("one"), late.entry("two", rules=[]))
        made = await asked.world.make(WIDGETS, "w", spec={"size": 1})
        assert made["spec"]["tags"] == ["a", "b"]
        assert [len(early.asked), len(late.asked)] == [1, 1]
        assert late.asked[0]["object"]["spec"]["tags"] == ["a"]
        assert late.asked[0]["object"]["spec"]["color"] == "red", "defaults are there before anybody is asked"


async def test_who_wants_to_is_asked_once_more_when_others_changed_the_object_after_it() -> None:
    async with asking() as asked, hook(adds("a")) as first, hook(adds("a")) as never, hook(adds("b")) as second:
        again = {"reinvocationPolicy": "IfNeeded"}
        await asked.mutating("x", first.entry("a", **again), never.entry("b"), second.entry("c", **again))
        made = await asked.world.make(WIDGETS, "w", spec={"size": 1})
        assert made["spec"]["tags"] == ["a", "b"]
        assert [len(first.asked), len(never.asked), len(second.asked)] == [2, 1, 1]
        assert first.asked[0]["uid"] != first.asked[1]["uid"]
        assert first.asked[1]["object"]["spec"]["tags"] == ["a", "b"]


async def test_a_denial_is_told_with_the_webhooks_own_code_and_words() -> None:
    answers: list[tuple[Document, str, int]] = [
        ({}, 'admission webhook "a.hooks.example" denied the request without explanation', 400),
        ({"message": "no"}, 'admission webhook "a.hooks.example" denied the request: no', 400),
        ({"reason": "Forbidden", "code": 403}, 'admission webhook "a.hooks.example" denied the request: Forbidden', 403),
        ({"message": "m", "code": 200}, 'admission webhook "a.hooks.example" denied the request: m', 400),
        ({"message": "m", "code": 99999}, 'admission webhook "a.hooks.example" denied the request: m', 400),
    ]
    queue = [status for status, _, _ in answers]
    async with asking() as asked, hook(lambda _: {"allowed": False, "status": queue.pop(0)}) as no:
        await asked.validating("x", no.entry(failurePolicy="Ignore"))
        for status, message, code in answers:
            told = await refused(asked, "create", WIDGETS, body_of(widget()))
            assert (told["message"], told["code"]) == (message, code)
            assert told.get("reason") == status.get("reason")
        assert not asked.world.stored("widgets.reference.example.com")


async def test_of_several_refusals_the_first_in_order_is_told_and_warnings_are_those_of_all() -> None:
    def no(word: str) -> Callable[[Document], Document]:
        return lambda _: {"allowed": False, "status": {"message": word}, "warnings": [f"warning {word}"]}

    async with asking() as asked, hook(no("one")) as one, hook(no("two")) as two:
        await asked.validating("a", one.entry("one"), two.entry("two"))
        call = asked.world.call("create", WIDGETS, body_of(widget()))
        with pytest.raises(ApiError, match="denied the request: one"):
            await asked.world.manager.handle(call)
        assert sorted(call.warnings) == ["warning one", "warning two"]


async def test_a_webhook_is_told_who_does_what_to_which_object() -> None:
    async with asking() as asked, hook(lambda _: YES) as told:
        await asked.validating("a", told.entry())
        await asked.world.do("create", WIDGETS, body_of(widget()), query="dryRun=All&fieldManager=me", who=SOMEBODY)
        request = told.asked[0]
        seen = request.pop("object")
        assert (seen["kind"], seen["spec"]["size"], seen["metadata"]["namespace"]) == ("Widget", 1, "shop")
        kind = {"group": "reference.example.com", "version": "v1", "kind": "Widget"}
        resource = {"group": "reference.example.com", "version": "v1", "resource": "widgets"}
        uid = request.pop("uid")
        assert uid
        assert request == {
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": "w",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "somebody", "groups": ["system:authenticated"]},
            "oldObject": None,
            "dryRun": True,
            "options": {
                "kind": "CreateOptions",
                "apiVersion": "meta.k8s.io/v1",
                "dryRun": ["All"],
                "fieldManager": "me",
                "fieldValidation": "Warn",
            },
        }
        assert told.headers[0]["content-type"] == "application/json"


async def test_a_delete_shows_the_old_object_alone_and_each_object_of_a_collection() -> None:
    async with asking() as asked, hook(lambda request: {"allowed": request["name"] != "b"}) as told:
        for name in ("a", "b", "c"):
            await asked.world.make(WIDGETS, name, spec={"size": 1})
        rule = {**EVERYTHING, "operations": ["DELETE"], "resources": ["widgets"]}
        await asked.validating("x", told.entry(rules=[rule]))
        await asked.world.do("delete", f"{WIDGETS}/a")
        assert told.asked[0]["object"] is None
        assert told.asked[0]["oldObject"]["metadata"]["name"] == "a"
        assert (await refused(asked, "deletecollection", WIDGETS))["code"] == 400
        assert [record.key.name for record in asked.world.stored("widgets.reference.example.com")] == ["b"]


async def test_a_mutating_webhook_may_refuse_a_delete_and_change_nothing() -> None:
    replies = [patch({"op": "add", "path": "/x", "value": 1}), {"allowed": False}, YES]
    async with asking() as asked, hook(lambda _: replies.pop(0)) as told:
        await asked.world.make(WIDGETS, "w", spec={"size": 1})
        await asked.mutating("x", told.entry())
        assert "attempted to modify the object" in (await refused(asked, "delete", f"{WIDGETS}/w"))["message"]
        assert (await refused(asked, "delete", f"{WIDGETS}/w"))["code"] == 400
        await asked.world.do("delete", f"{WIDGETS}/w")


async def test_subresources_are_matched_by_their_own_rules_and_a_scale_is_seen_as_one() -> None:
    def reply(request: Document) -> Document:
        if "subResource" not in request:
            return YES  # `widgets/*` means widgets as well
        if request["subResource"] == "scale":
            return patch({"op": "replace", "path": "/spec/replicas", "value": 7})
        return patch({"op": "add", "path": "/status/phase", "value": "Seen"}, {"op": "add", "path": "/spec/size", "value": 9})

    async with asking() as asked, hook(reply) as below, hook(lambda _: YES) as above:
        rule = {**EVERYTHING, "resources": ["widgets/*"]}
        await asked.mutating("x", below.entry(rules=[rule]), above.entry("other"))
        await asked.world.make(WIDGETS, "w", spec={"size": 1})
        scale = {"spec": {"replicas": 3}}
        await asked.world.do("patch", f"{WIDGETS}/w/scale", scale, content_type="application/merge-patch+json")
        made = await asked.world.merge(f"{WIDGETS}/w/status", {"status": {"ready": True}})
        assert made["spec"] == {"size": 1, "color": "red", "replicas": 7}, "a status write changes the status alone"
        assert made["status"] == {"ready": True, "phase": "Seen"}
        assert [request["kind"]["kind"] for request in below.asked] == ["Widget", "Scale", "Widget"]
        assert below.asked[1]["object"]["spec"] == {"replicas": 3}
        assert [request["operation"] for request in above.asked] == ["CREATE"]


async def test_a_request_for_a_token_is_shown_as_one_and_what_was_made_of_it_counts() -> None:
    def shorter(request: Document) -> Document:
        return patch({"op": "replace", "path": "/spec/expirationSeconds", "value": 700})

    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["serviceaccounts/token"]}]
    async with asking() as asked, hook(shorter) as early, hook(lambda _: YES) as late:
        shop = till_in(asked.world)
        await shop.account()
        await asked.mutating("shorter", early.entry(rules=rules))
        await asked.validating("late", late.entry(rules=rules))
        answer = await shop.ask(expirationSeconds=3600)
        assert answer.document is not None
        assert answer.document["spec"]["expirationSeconds"] == 700
        assert await shop.who(answer.document["status"]["token"])
        [request] = late.asked
        assert (
            request["kind"] == request["requestKind"] == {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
        )
        assert (request["resource"]["resource"], request["subResource"], request["name"]) == ("serviceaccounts", "token", "till")
        assert (request["object"]["kind"], request["object"]["spec"]["expirationSeconds"]) == ("TokenRequest", 700)
        await asked.validating("gone", late.entry(rules=rules, clientConfig=NOWHERE))
        assert (await refused(asked, "create", f"{ACCOUNTS}/till/token", {"spec": {}}))["code"] == 500


async def test_selectors_look_at_the_namespace_and_at_the_object_as_it_is_or_was() -> None:
    async with asking() as asked, hook(lambda _: YES) as spaces, hook(lambda _: YES) as objects:
        await asked.world.merge(f"{NAMESPACES}/shop", {"metadata": {"labels": {"checked": "yes"}}})
        selector = {"matchLabels": {"checked": "yes"}}
        await asked.validating("a", spaces.entry(namespaceSelector=selector), objects.entry("o", objectSelector=selector))
        other = WIDGETS.replace("shop", "default")
        await asked.world.make(other, "w", spec={"size": 1}, metadata={"labels": {"checked": "yes"}})
        assert (len(spaces.asked), len(objects.asked)) == (0, 1)
        await asked.world.merge(f"{other}/w", {"metadata": {"labels": {"checked": None}}})
        assert len(objects.asked) == 2
        await asked.world.merge(f"{other}/w", {"spec": {"size": 2}})
        assert len(objects.asked) == 2
        await asked.world.make(WIDGETS, "w", spec={"size": 1})
        assert (len(spaces.asked), len(objects.asked)) == (1, 2)


async def test_an_equivalent_version_is_sent_in_the_version_of_the_rule_and_its_patch_comes_back() -> None:
    async with asking() as asked, hook(adds("x")) as old, hook(lambda _: YES) as exact:
        rule = {**EVERYTHING, "apiVersions": ["v1beta1"], "resources": ["widgets"]}
        await asked.mutating("x", old.entry(rules=[rule]), exact.entry("e", rules=[rule], matchPolicy="Exact"))
        made = await asked.world.make(WIDGETS, "w", spec={"size": 1})
        assert (made["apiVersion"], made["spec"]["tags"]) == ("reference.example.com/v1", ["x"])
        request = old.asked[0]
        assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1beta1", "v1")
        assert request["object"]["apiVersion"] == "reference.example.com/v1beta1"
        assert not exact.asked


async def test_conditions_decide_besides_and_one_that_cannot_be_evaluated_refuses() -> None:
    async with asking() as asked, hook(lambda _: YES) as some:
        large = {"name": "large", "expression": "object.spec.size > 5 && request.userInfo.username == 'admin'"}
        broken = {"name": "broken", "expression": "object.nothing == 1"}
        await asked.validating("a", some.entry(matchConditions=[broken, large]))
        await asked.world.make(WIDGETS, "small", spec={"size": 1})
        told = await refused(asked, "create", WIDGETS, body_of(widget("big", size=9)))
        said = 'widgets.reference.example.com "big" is forbidden: match conditions of webhook "a.hooks.example": '
        assert (told["message"].startswith(said), told["code"]) == (True, 403)
        await asked.world.merge(f"{VALIDATING}/a", {"webhooks": [some.entry(matchConditions=[broken], failurePolicy="Ignore")]})
        await asked.world.make(WIDGETS, "passed-over", spec={"size": 9})
        assert "no such key: nothing" in asked.told.lines[0][1]["why"]
        await asked.world.merge(f"{VALIDATING}/a", {"webhooks": [some.entry(matchConditions=[large])]})
        await asked.world.make(WIDGETS, "big", spec={"size": 9})
        await asked.world.do("create", WIDGETS, body_of(widget("bigger", size=9)), who=SOMEBODY)
        assert [request["name"] for request in some.asked] == ["big"]


async def test_a_condition_that_is_no_expression_is_refused_when_it_is_written() -> None:
    async with asking() as asked, hook(lambda _: YES) as some:
        entry = some.entry(matchConditions=[{"name": "x", "expression": "object."}])
        told = await refused(asked, "create", VALIDATING, {"metadata": {"name": "a"}, "webhooks": [entry]})
        assert told["details"]["causes"][0]["field"] == "webhooks[0].matchConditions[0].expression"


async def test_another_shape_of_the_same_kind_is_sent_and_taken_back() -> None:
    def reply(request: Document) -> Document:
        assert request["object"]["note"] == "hot"
        return patch({"op": "replace", "path": "/note", "value": "cold"})

    async with asking() as asked, hook(reply) as new:
        rule = {**EVERYTHING, "apiGroups": ["events.k8s.io"], "resources": ["events"]}
        await asked.mutating("x", new.entry(rules=[rule]))
        about = {"kind": "Widget", "namespace": "shop", "name": "w"}
        made = await asked.world.make("/api/v1/namespaces/shop/events", "e", message="hot", involvedObject=about, reason="Is")
        assert (made["apiVersion"], made["message"], made["involvedObject"]["name"]) == ("v1", "cold", "w")
        assert [new.asked[0][each]["group"] for each in ("kind", "requestKind")] == ["events.k8s.io", ""]


async def test_configurations_and_the_server_itself_are_free_of_webhooks() -> None:
    async with asking() as asked, hook(lambda _: YES) as unused:
        entry = unused.entry(clientConfig=NOWHERE, rules=[EVERYTHING])
        await asked.validating("stuck", entry)
        await asked.mutating("stuck", entry)
        assert (await refused(asked, "create", CONFIGMAPS, {"metadata": {"name": "a"}}))["code"] == 500
        called_so = authenticated(Identity("system:apiserver", groups=("system:masters",)))
        assert (await refused(asked, "create", CONFIGMAPS, {"metadata": {"name": "a"}}, who=called_so))["code"] == 500
        await bootstrap(asked.world.manager, asked.world.store, 0.0)
        assert await asked.world.get(f"{NAMESPACES}/kube-system")
        await asked.world.do("delete", f"{MUTATING}/stuck", who=ADMIN)
        await asked.world.do("delete", f"{VALIDATING}/stuck")
        await asked.world.make(CONFIGMAPS, "a")


async def test_who_starts_knows_what_was_configured_before_in_the_order_of_names() -> None:
    async with asking() as asked, hook(lambda _: YES) as some:
        await asked.mutating("b", some.entry("x"), some.entry("a"))
        await asked.mutating("a", some.entry("y"))
        started = Webhooks(asked.world.store, LOCAL, asked.told, Means(lambda: 0.0, lambda: 0.0))
        known = [(each.id.configuration, each.id.name.partition(".")[0]) for each in started.webhooks()]
        assert known == [("a", "y"), ("b", "x"), ("b", "a")]


async def test_kubectls_patch_merges_webhooks_by_their_names() -> None:
    async with asking() as asked, hook(lambda _: YES) as some:
        await asked.validating("a", some.entry("x"), some.entry("y"))
        change = {"webhooks": [{"name": "y.hooks.example", "failurePolicy": "Ignore"}]}
        await asked.world.do("patch", f"{VALIDATING}/a", change, content_type="application/strategic-merge-patch+json")
        stored = (await asked.world.get(f"{VALIDATING}/a"))["webhooks"]
        assert {each["name"]: each["failurePolicy"] for each in stored} == {"x.hooks.example": "Fail", "y.hooks.example": "Ignore"}


async def test_a_patch_that_makes_no_such_object_is_refused_and_one_that_breaks_the_schema_told_with_its_fields() -> None:
    replies = [
        patch({"op": "replace", "path": "/spec/nothing/below", "value": 1}),
        patch({"op": "replace", "path": "/metadata", "value": {"labels": ["a"]}}),
        {"allowed": True, "patchType": "JSONPatch", "patch": b64encode(b"[1]").decode()},
        patch({"op": "replace", "path": "/spec/size", "value": 1000}),
    ]
    async with asking() as asked, hook(lambda _: replies.pop(0)) as liar:
        await asked.mutating("a", liar.entry(failurePolicy="Ignore", rules=[{**EVERYTHING, "resources": ["widgets"]}]))
        for code, said in (
            (500, "cannot be applied: "),
            (500, "cannot be applied: "),
            (None, ""),
            (422, "spec.size: Invalid value: 1000"),
        ):
            if code is None:
                await asked.world.make(WIDGETS, "passed-over", spec={"size": 1})
                continue
            told = await refused(asked, "create", WIDGETS, body_of(widget()))
            assert told["code"] == code
            assert said in told["message"]


async def test_a_patch_cannot_make_another_object_of_it() -> None:
    async with asking() as asked, hook(
        lambda _: patch(
            {"op": "replace", "path": "/metadata/name", "value": "other"},
            {"op": "replace", "path": "/metadata/uid", "value": "other"},
            {"op": "replace", "path": "/kind", "value": "Gadget"},
            {"op": "add", "path": "/status", "value": {"ready": True}},
            {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
        )
    ) as thief:  # fmt: skip
        await asked.mutating("a", thief.entry())
        made = await asked.world.make(WIDGETS, "w", spec={"size": 1})
        assert (made["metadata"]["name"], made["kind"], made["metadata"]["labels"]) == ("w", "Widget", {"a": "b"})
        assert made["metadata"]["uid"] != "other"
        assert "status" not in made


async def test_what_webhooks_say_besides_is_kept_for_the_audit_log() -> None:
    replies = [{**patch({"op": "add", "path": "/spec/notes", "value": "x"}), "auditAnnotations": {"why": "because"}}, b""]
    async with asking() as asked, hook(lambda _: replies[0] if len(replies) > 1 else b"") as told:
        away = told.entry("away", clientConfig=NOWHERE, failurePolicy="Ignore")
        await asked.mutating("a", told.entry(), away)
        call = asked.world.call("create", WIDGETS, body_of(widget()))
        call.kept = Kept()
        await asked.world.manager.handle(call)
        assert call.kept.notes["a.hooks.example/why"] == "because"
        assert '"mutated": true' in call.kept.notes["mutation.webhook.admission.k8s.io/round_0_index_0"]
        assert '"webhook": "away.hooks.example"' in call.kept.notes["failed-open.mutation.webhook.admission.k8s.io/round_0_index_1"]
        assert [by for by, _ in call.kept.changes] == ["webhook a.hooks.example"]


async def test_a_configuration_that_cannot_be_read_any_more_is_what_it_was_before() -> None:
    async with asking() as asked, hook(lambda _: {"allowed": False}) as never:
        world = asked.world
        await asked.validating("x", never.entry())
        [record] = world.stored("validatingwebhookconfigurations.admissionregistration.k8s.io")
        broken = record.desired.replace(b'"webhooks":[', b'"webhooks":[1,')
        assert broken != record.desired
        await world.store.commit(Put(record.key, record.uid, record.api_version, broken, record.status, record.revision))
        with pytest.raises(ApiError, match="denied the request"):
            await world.make(WIDGETS, "w", spec={"size": 1})
        await world.do("delete", f"{VALIDATING}/x")
        await world.make(WIDGETS, "w", spec={"size": 1})
