"""API keys as objects: who may make one for whom, what stays as it is, and from when on it holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest

from admission.apikeys import ApiKeys, digest_of, hint_of, make_key
from admission.authentication import AuthenticatorChain
from admission.identity import ADMIN, SYSTEM, Credentials, Identity, authenticated
from admission.key_rules import KeyRules
from admission.review import Attributes, Decision, Review
from apiserver.apikeys import WRITE_EVERY, KeyFollower, LastUses
from apiserver.authenticating import Logins
from apiserver.client import ManagerDoor
from apiserver.following import follow
from apiserver.sections import Authentication
from registry.builtin.apikey import API_KEY, cells, name_of
from registry.errors import AlreadyExists, Cause, Forbidden, Invalid, ServerTimeout, Unauthorized
from storage.store import Key, Put, Record
from tests.actors.world import Lines, VirtualClock, settled
from tests.apiserver.world import SOMEBODY, World

pytestmark = pytest.mark.anyio

PATH = "/apis/skep.dev/v1/apikeys"
KEY = make_key(random.Random(1).choice)
OTHER = make_key(random.Random(2).choice)
Document = dict[str, Any]


def spec(key: str = KEY, **fields: Any) -> Document:
    return {"user": "ann", "digest": digest_of(key), "hint": hint_of(key), **fields}


async def make(world: World, key: str = KEY, **fields: Any) -> Document:
    return await world.make(PATH, name_of(digest_of(key)), spec=spec(key, **fields))


async def who(keys: ApiKeys, key: str = KEY) -> str:
    try:
        identity = await AuthenticatorChain([keys]).authenticate(Credentials({b"x-api-key": key.encode()}, "", None, "/apis"))
    except Unauthorized:
        return "refused"
    return identity.username


def followed(world: World, now: float = 0.0) -> tuple[ApiKeys, list[str]]:
    keys, changes = ApiKeys(lambda: now), []
    follow(world.store, API_KEY.resource, KeyFollower(keys, Lines(), lambda: changes.append("changed")))
    return keys, changes


async def test_a_key_holds_from_the_write_that_makes_it_to_the_one_that_revokes_it(world: World) -> None:
    early, _ = followed(world)
    assert await who(early) == "refused"
    made = await make(world)
    late, changes = followed(world)
    assert [await who(early), await who(late)] == ["ann", "ann"]
    path = f"{PATH}/{made['metadata']['name']}"
    await world.do("delete", path)
    assert [await who(early), await who(late)] == ["refused", "refused"]
    assert changes == ["changed", "changed"]


async def test_a_key_that_waits_for_its_finalizers_is_revoked_and_one_that_is_to_end_ends(world: World) -> None:
    keys, _ = followed(world, now=1_800_000_000.0)
    for key in (KEY, OTHER):
        await make(world, key)
    path = f"{PATH}/{name_of(digest_of(KEY))}"
    await world.merge(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    await world.do("delete", path)
    assert await world.get(path)
    assert await who(keys) == "refused"
    await world.merge(f"{PATH}/{name_of(digest_of(OTHER))}", {"spec": {"expires": "2027-01-15T08:00:01Z"}})
    assert await who(keys, OTHER) == "ann"
    await world.merge(f"{PATH}/{name_of(digest_of(OTHER))}", {"spec": {"expires": "2027-01-15T08:00:00Z"}})
    assert await who(keys, OTHER) == "refused"


async def test_the_object_holds_no_key_and_its_row_shows_four_letters(world: World) -> None:
    made = await make(world, groups=["team"], description="CI")
    assert KEY[14:] not in repr(world.stored(API_KEY.resource))
    assert cells(made, 1.0) == ["ann", f"{KEY[:14]}...", "<never>", "<never>", "team", "CI"]


async def test_what_a_key_stands_for_never_changes(world: World) -> None:
    made = await make(world, groups=["team"])
    path = f"{PATH}/{made['metadata']['name']}"
    for field, value in (("user", "bob"), ("groups", ["x"]), ("groups", None), ("hint", "skep_live_zzzz"), ("digest", "0" * 64)):
        with pytest.raises(Invalid, match="field is immutable"):
            await world.merge(path, {"spec": {field: value}})
    with pytest.raises(Forbidden):  # its status is the server's
        await world.merge(f"{path}/status", {"status": {"lastUsed": "2026-01-01T00:00:00Z"}})


async def test_two_objects_are_never_of_one_key(world: World) -> None:
    await make(world)
    with pytest.raises(AlreadyExists):
        await make(world, user="mallory")
    with pytest.raises(Invalid, match=r"metadata\.name.*after the digest"):
        await world.make(PATH, "mallorys", spec=spec(user="mallory"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", ""),
        ("user", " ann"),
        ("user", "a\nb"),
        ("user", "system:anonymous"),
        ("user", "x" * 257),
        ("groups", ["a", ""]),
        ("groups", ["system:unauthenticated"]),
        ("groups", ["g"] * 101),
        ("digest", "0" * 63),
        ("digest", "A" * 64),
        ("hint", KEY),
        ("expires", "tomorrow"),
    ],
)
async def test_a_wrong_field_is_named(world: World, field: str, value: Any) -> None:
    with pytest.raises(Invalid, match=rf"spec\.{field}"):
        await make(world, **{field: value})


class Allows:
    """An authorizer that allows some to impersonate, and nothing else."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self._allowed = allowed
        self.asked: list[Attributes] = []

    def decide(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(attributes.verb == "impersonate" and (attributes.resource, attributes.name) in self._allowed)


async def verdict(rules: KeyRules, new: Mapping[str, Any], old: Mapping[str, Any] | None = None, *, by: Identity = SOMEBODY) -> str:
    """Who may not do what, if anybody; empty: it is allowed."""
    documents = [None if each is None else {"metadata": {"name": "key-0"}, "spec": dict(each)} for each in (new, old)]
    assert documents[0] is not None
    review = Review("CREATE" if old is None else "UPDATE", documents[0], documents[1], by, kind=API_KEY, name="key-0")
    assert rules.concerns(review)
    assert await rules.mutate(review) is review.new
    try:
        causes: list[Cause] = list(await rules.validate(review))
    except Forbidden as error:
        return error.message
    assert not causes
    return ""


async def test_a_key_takes_the_right_to_impersonate_its_user_and_every_group() -> None:
    rules = KeyRules(Allows(("users", "ann"), ("groups", "one")))
    assert not await verdict(rules, spec())
    assert not await verdict(rules, spec(groups=["one"]))
    assert 'cannot impersonate resource "groups"' in await verdict(rules, spec(groups=["one", "two"]))
    assert 'User "somebody" cannot impersonate resource "users"' in await verdict(rules, spec(user="bob", groups=["one"]))
    assert "users" in await verdict(rules, spec(user="somebody"))  # also for oneself


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("system:apiserver", ()),
        ("system:serviceaccount:shop:till", ()),
        ("ann", ("system:masters",)),
        ("ann", ("system:serviceaccounts",)),
    ],
)
async def test_names_of_the_system_are_for_masters_whatever_the_roles_say(user: str, groups: tuple[str, ...]) -> None:
    everything = KeyRules(Allows(("users", user), *(("groups", group) for group in groups)))
    assert "are for members of system:masters" in await verdict(everything, spec(user=user, groups=groups))
    assert not await verdict(KeyRules(Allows()), spec(user=user, groups=groups), by=ADMIN)
    outsider = Identity("admin", groups=("system:authenticated", "masters"))
    assert await verdict(everything, spec(user=user, groups=groups), by=outsider)


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (None, "2027-01-01T00:00:00Z", True),
        ("2027-01-02T00:00:00Z", "2027-01-01T00:00:00Z", True),
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z", True),
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z", False),
        ("2027-01-01T00:00:00Z", "2027-01-01T02:00:00+02:00", True),
        ("2027-01-01T00:00:00Z", None, False),
    ],
)
async def test_to_let_a_key_end_later_takes_what_a_new_one_takes(before: str | None, after: str | None, allowed: bool) -> None:
    old, new = ({} if time is None else {"expires": time} for time in (before, after))
    assert (await verdict(KeyRules(Allows()), spec(**new), spec(**old)) == "") is allowed
    assert not await verdict(KeyRules(Allows(("users", "ann"))), spec(**new), spec(**old))


async def test_the_request_path_asks_these_rules_also_in_a_dry_run(world: World) -> None:
    body = {"metadata": {"name": name_of(digest_of(KEY))}, "spec": spec(groups=["system:masters"])}
    for query in ("", "dryRun=All"):
        with pytest.raises(Forbidden, match="cannot impersonate"):
            await world.do("create", PATH, body, who=SOMEBODY, query=query)
    await world.do("create", PATH, body, who=ADMIN)


async def test_an_object_that_cannot_be_read_is_no_key_and_harms_no_other(world: World) -> None:
    log, keys = Lines(), ApiKeys(lambda: 0.0)
    follower = KeyFollower(keys, log)
    follow(world.store, API_KEY.resource, follower)
    await make(world)
    follower.put(Record(Key(API_KEY.resource, "", "broken"), "u", 9, "skep.dev/v1", b'{"metadata":{},"spec":{"digest":"zz"}}', b""))
    assert await who(keys) == "ann"
    assert [line["key"] for line in log.of("a key cannot be read, and is refused")] == ["broken"]


async def test_uses_are_written_together_after_a_while_and_those_that_cannot_be_with_the_next(world: World) -> None:
    clock, log = VirtualClock(), Lines()
    uses, door = LastUses(clock, log), ManagerDoor(world.manager, SYSTEM)
    names = [(await make(world, key))["metadata"]["name"] for key in (KEY, OTHER)]
    broken = Door(door)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uses.run, broken)
        for time in (100.0, 200.0):
            for name in (*names, "key-revoked"):
                uses.note(name, time)
        await settled()
        assert broken.done == 0
        await clock.advance(WRITE_EVERY)
        await until(lambda: broken.done == 3)
        assert len(log.of("the last use of a key is not written")) == 1
        assert "status" not in await world.get(f"{PATH}/{names[0]}")
        assert (await world.get(f"{PATH}/{names[1]}"))["status"] == {"lastUsed": "1970-01-01T00:03:20Z"}
        await clock.advance(WRITE_EVERY)
        await until(lambda: broken.done == 4)
        assert (await world.get(f"{PATH}/{names[0]}"))["status"] == {"lastUsed": "1970-01-01T00:03:20Z"}
        tasks.cancel_scope.cancel()


class Door(ManagerDoor):
    """A door whose first write fails."""

    def __init__(self, door: ManagerDoor) -> None:
        super().__init__(door._manager, door._identity)
        self.begun = self.done = 0

    async def patch(self, *arguments: Any) -> Document:
        self.begun += 1
        try:
            if self.begun == 1:
                raise ServerTimeout("the disk is full")
            return await super().patch(*arguments)
        finally:
            self.done += 1


async def until(true: Callable[[], bool]) -> None:
    """Returns when it is so, and what follows from it has happened."""
    while not true():
        await anyio.lowlevel.checkpoint()
    await settled()


async def test_the_logins_of_a_server_follow_keys_and_look_at_watches_when_one_is_revoked(world: World) -> None:
    clock, checks = VirtualClock(), []
    begun = clock.now()
    logins = Logins(Authentication(recheck_seconds=10.0), "admin-token", clock, Lines())
    await make(world)
    logins.follow(world.store)

    async def check() -> None:
        checks.append(clock.now() - begun)
        if len(checks) == 1:
            raise ValueError("a bug")

    async def admitted(**headers: str) -> str:
        shown = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return (await logins.chain.authenticate(Credentials(shown, "192.0.2.1", None, "/apis"))).username

    assert await admitted(authorization="Bearer admin-token") == "admin"
    assert await admitted(x_api_key=KEY) == "ann"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(logins.run, ManagerDoor(world.manager, SYSTEM), check)
        await settled()
        assert checks == [0.0]  # the keys were learnt
        await clock.advance(10.0)
        assert checks == [0.0, 10.0]
        await world.do("delete", f"{PATH}/{name_of(digest_of(KEY))}")
        await settled()
        assert checks == [0.0, 10.0, 10.0]
        with pytest.raises(Unauthorized):
            await admitted(x_api_key=KEY)
        tasks.cancel_scope.cancel()


async def test_a_write_of_a_key_past_the_api_holds_too_since_the_store_is_what_is_followed(world: World) -> None:
    keys, _ = followed(world)
    made = world.stored(API_KEY.resource)
    assert not made
    await make(world)
    [record] = world.stored(API_KEY.resource)
    changed = record.desired.replace(b'"ann"', b'"bob"')
    await world.store.commit(Put(record.key, record.uid, record.api_version, changed, record.status, record.revision))
    assert await who(keys) == "bob"
    assert authenticated(Identity("x")).groups
