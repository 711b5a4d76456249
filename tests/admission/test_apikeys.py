"""What an API key looks like, and who is behind one."""

from __future__ import annotations

import random
import secrets

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.apikeys import RESOLUTION, ApiKey, ApiKeys, attempted, digest_of, hint_of, is_key, make_key, without_keys
from admission.identity import Credentials, Identity
from registry.errors import Unauthorized

KEY = make_key(random.Random(1).choice)
OTHER = make_key(random.Random(2).choice, test=True)


def known(key: str, name: str = "a", *, user: str = "ann", expires: float | None = None) -> ApiKey:
    return ApiKey(name, digest_of(key), hint_of(key), user, ("team",), expires)


def asked(keys: ApiKeys, key: str | bytes, *, header: str = "authorization") -> Identity | None:
    raw = key.encode() if isinstance(key, str) else key
    value = b"Bearer " + raw if header == "authorization" else raw
    return anyio.run(keys.authenticate, Credentials({header.encode(): value}))


def refused(keys: ApiKeys, key: str | bytes, *, header: str = "authorization") -> bool:
    try:
        asked(keys, key, header=header)
    except Unauthorized:
        return True
    return False


def keyring(*known_keys: ApiKey, now: float = 0.0, test: bool = True) -> ApiKeys:
    keys = ApiKeys(lambda: now, test=test)
    for each in known_keys:
        keys.learn(each)
    return keys


def test_keys_are_long_different_and_say_what_they_are() -> None:
    made = {make_key(secrets.choice) for _ in range(200)}
    assert len(made) == 200
    assert all(key.startswith("skep_live_") and len(key) == 48 and is_key(key.encode()) for key in made)
    assert len({hint_of(key) for key in made}) > 190
    assert OTHER.startswith("skep_test_")
    assert hint_of(KEY) == KEY[:14]


@given(st.integers(0, 47), st.sampled_from("0123456789ABCXYZabcxyz_-"))
def test_a_key_with_one_letter_changed_is_seen_to_be_none(place: int, letter: str) -> None:
    changed = KEY[:place] + letter + KEY[place + 1 :]
    assert is_key(changed.encode()) == (changed == KEY)


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_gives_its_user_and_the_name_of_the_credential(header: str) -> None:
    ann = asked(keyring(known(KEY)), KEY, header=header)
    assert ann is not None
    assert (ann.username, ann.groups) == ("ann", ("team", "system:authenticated"))
    assert dict(ann.extra) == {"authentication.kubernetes.io/credential-id": (hint_of(KEY),)}


@pytest.mark.parametrize("guess", ["", KEY[:-1], KEY + "0", KEY.upper(), hint_of(KEY), digest_of(KEY), make_key(secrets.choice)])
def test_a_guess_is_refused(guess: str) -> None:
    keys = keyring(known(KEY))
    assert refused(keys, guess, header="x-api-key")
    assert not guess.startswith("skep_") or refused(keys, guess)


def test_what_is_no_key_is_left_to_others_as_a_bearer_token_and_refused_as_a_key() -> None:
    keys = keyring(known(KEY))
    assert asked(keys, "eyJhbGciOi.eyJzdWIi.sig") is None
    assert asked(keys, b"\xff\xfe") is None
    assert refused(keys, "eyJhbGciOi.eyJzdWIi.sig", header="x-api-key")
    assert anyio.run(keys.authenticate, Credentials({})) is None


def test_several_keys_of_one_user_hold_at_a_time_until_each_is_revoked() -> None:
    keys = keyring(known(KEY, "a"), known(OTHER, "b"))
    assert asked(keys, KEY) == asked(keys, KEY)
    assert asked(keys, OTHER) is not None
    assert keys.forget("a")
    assert refused(keys, KEY)
    assert asked(keys, OTHER) is not None
    assert not keys.forget("a")


def test_a_key_is_over_at_its_time() -> None:
    assert asked(keyring(known(KEY, expires=100.0), now=99.9), KEY) is not None
    assert refused(keyring(known(KEY, expires=100.0), now=100.0), KEY)


def test_keys_for_tests_can_be_switched_off() -> None:
    assert asked(keyring(known(OTHER)), OTHER) is not None
    assert refused(keyring(known(OTHER), test=False), OTHER)
    assert asked(keyring(known(KEY), test=False), KEY) is not None


def test_another_object_with_the_same_digest_makes_the_key_stand_for_nobody_else() -> None:
    keys = keyring(known(KEY, "a"), known(KEY, "b", user="mallory"))
    ann = asked(keys, KEY)
    assert ann is not None
    assert ann.username == "ann"
    keys.forget("b")
    assert asked(keys, KEY) == ann
    keys.forget("a")
    assert refused(keys, KEY)


def test_a_key_whose_object_shows_another_beginning_is_refused_since_logs_would_name_another() -> None:
    assert refused(keyring(ApiKey("a", digest_of(KEY), hint_of(OTHER), "ann")), KEY)


def test_of_a_refused_key_the_log_shows_its_beginning_and_of_other_texts_nothing() -> None:
    for name, value in ((b"x-api-key", KEY), (b"authorization", f"Bearer {KEY}")):
        assert attempted(Credentials({name: value.encode()})) == hint_of(KEY)
    for text in ("", "secret", KEY[:20], KEY[:-1] + "\n", KEY + "x"):
        assert attempted(Credentials({b"x-api-key": text.encode()})) == ""


def test_uses_are_noted_once_in_a_while_also_when_the_key_is_learnt_anew() -> None:
    times, used = iter((1_000.0, 1_001.0, 1_000.0 + RESOLUTION, 1_001.0 + RESOLUTION)), []
    keys = ApiKeys(lambda: next(times), used=lambda name, time: used.append((name, time)))
    assert keys.learn(known(KEY))
    for _ in range(3):
        asked(keys, KEY)
        assert not keys.learn(known(KEY))
    assert used == [("a", 1_000.0), ("a", 1_000.0 + RESOLUTION)]
    assert keys.learn(known(KEY, expires=2_000.0))
    asked(keys, KEY)
    assert len(used) == 2


def test_the_keyring_does_not_hold_the_key_and_no_error_shows_it() -> None:
    keys = keyring(known(KEY))
    inside = [repr(vars(keys)), *(repr(getattr(each, slot)) for each in keys._by_name.values() for slot in each.__slots__)]
    assert KEY[14:] not in "".join(inside)
    with pytest.raises(Unauthorized) as error:
        asked(keys, OTHER[:-1] + "_")
    assert OTHER[14:30] not in str(error.value.status())


@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_answered_shows_four_letters_of_a_key_and_is_as_long_as_before(before: str, after: str) -> None:
    shown = without_keys(f"{before}.{KEY}.{after}".encode())
    assert len(shown) == len(f"{before}.{KEY}.{after}".encode())
    assert KEY[14:].encode() not in shown
    assert shown.startswith(f"{before}.{KEY[:14]}***".encode())
