"""Who may make API keys where rights are given by roles."""

from __future__ import annotations

import pytest

from admission.apikeys import digest_of, hint_of, make_key
from admission.identity import ADMIN, Identity, authenticated
from registry.builtin.apikey import name_of
from registry.errors import Forbidden
from tests.apiserver.world import World, opened

pytestmark = pytest.mark.anyio

KEYS = "/apis/skep.dev/v1/apikeys"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
CLERK = authenticated(Identity("clerk"))
KEY = make_key(lambda alphabet: alphabet[7])


async def make_key_for(world: World, user: str, *groups: str, by: Identity = CLERK) -> None:
    spec = {"user": user, "groups": list(groups), "digest": digest_of(KEY), "hint": hint_of(KEY)}
    body = {"metadata": {"name": name_of(digest_of(KEY))}, "spec": spec}
    await world.do("create", KEYS, body, query="dryRun=All", who=by)


async def test_keys_take_the_right_to_write_them_and_the_right_to_impersonate_those_whom_they_stand_for() -> None:
    async with opened(roles=True) as world:
        with pytest.raises(Forbidden, match='cannot create resource "apikeys"'):
            await make_key_for(world, "ann")
        rules = [{"apiGroups": ["skep.dev"], "resources": ["apikeys"], "verbs": ["create"]}]
        await world.make(ROLES, "clerk", rules=rules)
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "clerk"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "clerk"}
        await world.make(BINDINGS, "clerk", roleRef=reference, subjects=[subject])
        for user in ("ann", "clerk"):
            with pytest.raises(Forbidden, match='cannot impersonate resource "users"'):
                await make_key_for(world, user)
        names = {"users": ["ann"], "groups": ["team"]}
        rules += [
            {"apiGroups": [""], "resources": [each], "verbs": ["impersonate"], "resourceNames": names[each]} for each in names
        ]
        await world.merge(f"{ROLES}/clerk", {"rules": rules})
        await make_key_for(world, "ann", "team")
        for user, groups in (("bob", ()), ("ann", ("others",)), ("ann", ("system:masters",)), ("system:apiserver", ())):
            with pytest.raises(Forbidden):
                await make_key_for(world, user, *groups)
        await make_key_for(world, "bob", "system:masters", by=ADMIN)
