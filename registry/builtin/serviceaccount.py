"""ServiceAccount (core/v1): an identity for what runs without a person."""

from __future__ import annotations

from typing import Annotated

from registry.builtin.common import builtin, printer, version, without_empty
from registry.kinds import Document
from registry.resource import ListMap, Meta, Object, Struct


class ObjectReference(Struct):
    """ObjectReference names another object, or a part of one."""

    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    api_version: str | None = None
    resource_version: str | None = None
    field_path: str | None = None


class LocalObjectReference(Struct):
    """LocalObjectReference names an object of the same namespace."""

    name: str | None = None


class ServiceAccount(Object):
    """ServiceAccount is an identity that programs use."""

    secrets: Annotated[list[ObjectReference] | None, ListMap("name"), Meta(description="Secrets that belong to the account.")] = (
        None
    )
    image_pull_secrets: Annotated[list[LocalObjectReference] | None, Meta(description="Secrets for pulling images.")] = None
    automount_service_account_token: Annotated[bool | None, Meta(description="Whether programs get a token by themselves.")] = None


def prepare(new: Document, old: Document | None) -> Document:
    """Empty lists are not stored."""
    del old
    return without_empty(new, "secrets", "imagePullSecrets")


SERVICE_ACCOUNT = builtin(
    "ServiceAccount",
    "serviceaccounts",
    (version(ServiceAccount, "", "v1", "ServiceAccount", printer([], lambda document, _: [])),),
    prepare=prepare,
    short=("sa",),
    subresources={"token": ("create",)},
    answers_deleted=True,
)
