"""Signed requests, as a receiver checks them: forged, altered, stale and replayed ones are refused."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.signing import Refused, Verifier, headers

SECRET, OTHER = b"the-secret-of-16+", b"another-secret-16"
NOW = 1_767_225_600.0


def refused(verifier: Verifier, sent: dict[str, str], body: bytes, now: float = NOW) -> str:
    with pytest.raises(Refused) as error:
        verifier.verify(sent, body, now)
    return str(error.value)


def test_the_signature_is_what_anybody_can_compute() -> None:
    sent = headers([SECRET], b"{}", NOW, "id")
    mac = hmac.new(SECRET, b"1767225600.{}", sha256).hexdigest()
    assert sent == {"Webhook-Id": "id", "Webhook-Timestamp": "1767225600", "Webhook-Signature": f"sha256={mac}"}


def test_a_genuine_request_is_taken_once_whatever_id_its_replay_has() -> None:
    verifier, sent = Verifier([SECRET]), headers([SECRET], b"{}", NOW, "id")
    assert verifier.verify({name.upper(): value for name, value in sent.items()}, b"{}", NOW + 10) == "id"
    assert refused(verifier, sent, b"{}", NOW + 11) == "the request was received before"
    assert refused(verifier, {**sent, "Webhook-Id": "other"}, b"{}", NOW + 12) == "the request was received before"
    signature = sent["Webhook-Signature"]
    assert refused(verifier, {**sent, "Webhook-Signature": f"sha256=0,{signature}"}, b"{}") == "the request was received before"


@pytest.mark.parametrize("away", [-301, 301, 10**9])
def test_what_is_stale_or_of_the_future_is_refused(away: int) -> None:
    sent = headers([SECRET], b"{}", max(0, NOW + away), "id")
    assert "away from now" in refused(Verifier([SECRET]), sent, b"{}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Webhook-Signature": ""}, "the request is not signed: it has no Webhook-Signature"),
        ({"Webhook-Timestamp": ""}, "the request is not signed: it has no Webhook-Timestamp"),
        ({"Webhook-Timestamp": "1e9"}, "not a number of seconds"),
        ({"Webhook-Timestamp": "٣"}, "not a number of seconds"),
        ({"Webhook-Timestamp": "01767225600"}, "is not that of this body"),
        ({"Webhook-Timestamp": "1767225601"}, "is not that of this body"),
        ({"Webhook-Signature": "sha256=" + "0" * 64}, "is not that of this body"),
        ({"Webhook-Signature": "sha1=x,\udcff,"}, "is not that of this body"),
        ({"Webhook-Signature": "," * 100_000}, "is not that of this body"),
    ],
)
def test_what_is_not_signed_so_is_refused(changes: dict[str, str], said: str) -> None:
    assert said in refused(Verifier([SECRET]), headers([SECRET], b"{}", NOW, "id") | changes, b"{}")


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_another_body_or_secret_does_not_fit(body: bytes, other: bytes) -> None:
    sent = headers([SECRET], body, NOW, "id")
    if other != body:
        refused(Verifier([SECRET]), sent, other)
    refused(Verifier([OTHER]), sent, body)
    assert Verifier([SECRET]).verify(sent, body, NOW)


def test_a_secret_is_changed_without_a_gap_in_either_order() -> None:
    both = headers([OTHER, SECRET], b"{}", NOW, "id")
    for known in ([SECRET], [OTHER], [SECRET, OTHER]):
        assert Verifier(known).verify(both, b"{}", NOW) == "id"
    assert Verifier([SECRET, OTHER]).verify(headers([SECRET], b"{}", NOW, "id"), b"{}", NOW) == "id"


def test_what_was_forgotten_is_not_taken_again() -> None:
    verifier = Verifier([SECRET], remembered=2)
    sent = [headers([SECRET], b"%d" % number, NOW + number, "id") for number in range(4)]
    for number, each in enumerate(sent):
        assert verifier.verify(each, b"%d" % number, NOW + 4) == "id"
    assert [refused(verifier, each, b"%d" % number, NOW + 4) for number, each in enumerate(sent)] == [
        "the request is older than what is still remembered",
        "the request is older than what is still remembered",
        "the request was received before",
        "the request was received before",
    ]


def test_a_clock_that_is_set_back_makes_no_replay_new() -> None:
    verifier, sent = Verifier([SECRET]), headers([SECRET], b"{}", NOW, "id")
    assert verifier.verify(sent, b"{}", NOW)
    assert verifier.verify(headers([SECRET], b"later", NOW + 1000, "id"), b"later", NOW + 1000)
    refused(verifier, sent, b"{}", NOW)


def test_short_secrets_are_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Verifier([b"short"])
    with pytest.raises(ValueError, match="at least 16 bytes"):
        headers([b"short"], b"", NOW, "")
    with pytest.raises(ValueError, match="needs a secret"):
        Verifier([])
