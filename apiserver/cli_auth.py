"""`skep auth explain`: which binding lets somebody do something, or why none does. It asks a server that runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apiserver.cli_actor_insight import Config, DataDir, Kubeconfig, Server, reached
from apiserver.config import StartError

if TYPE_CHECKING:
    from admission.rbac import Rbac
    from admission.review import Attributes
    from apiserver.reaching import Remote

auth = typer.Typer(help="Who may do what, and why.", no_args_is_help=True)

Document = dict[str, Any]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACTORS = "/apis/skep.dev/v1/actors"


@auth.callback()
def _auth() -> None:
    """Keeps `explain` a command of its own while it is the only one."""


@auth.command()
def explain(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user name, as system:serviceaccount:NAMESPACE:NAME.")],
    verb: Annotated[str, typer.Argument(metavar="VERB", help="get, list, watch, create, update, patch, delete, ...")],
    resource: Annotated[
        str, typer.Argument(metavar="RESOURCE", help="pods, pods/status, probes.uptime.example, or a path as /metrics.")
    ],
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NS", help="Where.  [default: in all]")] = "",
    group: Annotated[list[str] | None, typer.Option(metavar="GROUP", help="A group of the user. Repeat it.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Of the object.")] = "",
    data_dir: DataDir = None,
    kubeconfig: Kubeconfig = None,
    server: Server = None,
    config: Config = None,
) -> None:
    """Says which binding lets a user do something, or what they have instead, and what would let them.

    Example: skep auth explain ann update probes -n shop
    """
    from admission.authorizer import inside
    from admission.explaining import explained

    with reached(data_dir, kubeconfig, server, config) as remote:
        asked = _asked(remote, user, verb, resource, namespace, group or (), name)
        rbac, owner = _rbac(remote), _owner(remote, asked)
    allowed, why = explained(rbac, asked)
    if "system:masters" in asked.identity.groups:
        allowed, why = True, ["the group system:masters may do all"]
    kept = inside(asked)
    if kept is not None:
        allowed, why = False, [kept]
    if owner and owner != user:
        allowed, why = False, [f"the status of {asked.resource} is written by its owner alone, {owner}"]
    typer.echo("\n".join(["yes" if allowed else "no", *why]))


def _asked(remote: Remote, user: str, verb: str, resource: str, namespace: str, groups: Iterable[str], name: str) -> Attributes:
    from admission.identity import Identity
    from admission.review import Attributes
    from apiserver.impersonation import groups_of

    identity = Identity(user, groups=groups_of(user, list(groups)))
    if resource.startswith("/"):
        return Attributes(identity, verb, "", path=resource)
    named, _, subresource = resource.partition("/")
    found, namespaced = _resource(remote, named)
    if found == "namespaces" and name:
        namespace = name
    elif not namespaced:
        namespace = ""
    return Attributes(identity, verb, found, subresource, namespace, name)


def _resource(remote: Remote, named: str) -> tuple[str, bool]:
    """The resource that is meant, `plural.group`, and whether it is in namespaces. What is not served is taken as it is."""
    wanted, _, group = named.partition(".")
    served = ["/api/v1", *(f"/apis/{each['preferredVersion']['groupVersion']}" for each in remote.get("/apis")["groups"])]
    for path in served:
        of = path.split("/")[2] if path.startswith("/apis/") else ""
        if group and of != group:
            continue
        for each in remote.get(path)["resources"]:
            if "/" not in each["name"] and wanted in (each["name"], each.get("singularName"), *each.get("shortNames", ())):
                return (f"{each['name']}.{of}" if of else each["name"]), each["namespaced"]
    return named, True


def _rbac(remote: Remote) -> Rbac:
    """All roles and bindings of the server."""
    from admission.rbac import Place, Rbac
    from apiserver.roles import read_binding, read_role

    rbac = Rbac()

    def each(plural: str) -> Iterable[tuple[Place, Document]]:
        for item in remote.get(f"{RBAC}/{plural}")["items"]:
            yield Place(item["metadata"].get("namespace", ""), item["metadata"]["name"]), item

    for plural in ("roles", "clusterroles"):
        for place, item in each(plural):
            rbac.put_role(place, read_role(item))
    for plural in ("rolebindings", "clusterrolebindings"):
        for place, item in each(plural):
            rbac.put_binding(place, read_binding(item))
    return rbac


def _owner(remote: Remote, asked: Attributes) -> str:
    """Who alone may do it, whatever the roles say; empty if it is not a status that an actor owns."""
    if asked.subresource != "status" or asked.verb not in ("update", "patch"):
        return ""
    from apiserver.reaching import Refused

    try:
        actors = remote.get(ACTORS)["items"]
    except Refused as error:
        if error.code == 403:
            raise StartError(f"who owns the status cannot be seen: {error}", exit_code=1) from None
        raise
    owners = [each["spec"] for each in actors if (each["spec"].get("owns") or {}).get("resource") == asked.resource]
    return owners[0]["identity"] if owners else ""
