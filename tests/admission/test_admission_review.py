"""Whatever a webhook answers, it is an answer that counts, or a failure that says why in a few words."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.admission_review import BadAnswer, Denied, Verdict, verdict

TEXT = st.text(max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RESPONSE = st.fixed_dictionaries(
    {"uid": st.just("u") | JSON, "allowed": st.booleans() | JSON},
    optional={
        "patch": st.binary(max_size=20).map(lambda raw: b64encode(raw).decode()) | JSON,
        "patchType": st.just("JSONPatch") | JSON,
        "warnings": st.lists(TEXT) | JSON,
        "auditAnnotations": st.dictionaries(TEXT, TEXT) | JSON,
        "status": st.dictionaries(st.sampled_from(["code", "message", "reason", "details", "metadata"]), JSON) | JSON,
    },
)
ANSWER = st.fixed_dictionaries(
    {"kind": st.just("AdmissionReview") | JSON, "apiVersion": st.just("admission.k8s.io/v1") | JSON, "response": RESPONSE | JSON}
)


def read(answer: Any, *, mutating: bool) -> Verdict | BadAnswer:
    try:
        return verdict(msgspec.json.encode(answer), "u", mutating=mutating)
    except BadAnswer as bad:
        return bad


@settings(max_examples=60)
@given(ANSWER, st.booleans())
def test_any_json_is_a_verdict_or_a_bad_answer(answer: Any, mutating: bool) -> None:
    said = read(answer, mutating=mutating)
    if isinstance(said, BadAnswer):
        assert len(str(said)) < 400
        return
    assert answer["response"]["uid"] == "u"
    assert said.patch is None or mutating
    assert all(warning.isprintable() for warning in said.warnings)
    refused = Denied("a.b.c", said.status)
    assert 400 <= refused.code <= 599
    assert refused.message.startswith('admission webhook "a.b.c" denied the request')
    assert msgspec.json.decode(msgspec.json.encode(refused.status()))["code"] == refused.code


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_bad_answer(raw: bytes) -> None:
    try:
        verdict(raw, "u", mutating=True)
    except BadAnswer:
        return
    raise AssertionError("a few bytes are no AdmissionReview")


def test_what_a_webhook_says_is_bounded() -> None:
    response = {
        "uid": "u",
        "allowed": True,
        "warnings": ["a\r\nb" * 1000] * 100,
        "auditAnnotations": dict.fromkeys(map(str, range(99)), "x"),
    }
    said = read({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}, mutating=False)
    assert isinstance(said, Verdict)
    assert (len(said.warnings), len(said.warnings[0]), len(said.annotations)) == (16, 256, 32)
    assert "\n" not in said.warnings[0]
