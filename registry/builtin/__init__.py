"""The kinds of Kubernetes that are here from the start, one module each."""

from __future__ import annotations

from registry.builtin.configmap import CONFIG_MAP
from registry.builtin.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from registry.builtin.event import EVENT
from registry.builtin.lease import LEASE
from registry.builtin.namespace import NAMESPACE
from registry.builtin.policies import POLICY, POLICY_BINDING
from registry.builtin.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from registry.builtin.resourcequota import RESOURCE_QUOTA
from registry.builtin.reviews import REVIEWS
from registry.builtin.secret import SECRET
from registry.builtin.serviceaccount import SERVICE_ACCOUNT
from registry.builtin.webhooks import MUTATING, VALIDATING
from registry.kinds import Kind

ROLES: tuple[Kind, ...] = (CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE)
"""What authorization is made of."""

KINDS: tuple[Kind, ...] = (
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    LEASE,
    *ROLES,
    MUTATING,
    VALIDATING,
    POLICY,
    POLICY_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    *REVIEWS,
)
"""In the order of discovery: the core group first."""

__all__ = [
    "CLUSTER_ROLE",
    "CLUSTER_ROLE_BINDING",
    "CONFIG_MAP",
    "CUSTOM_RESOURCE_DEFINITION",
    "EVENT",
    "KINDS",
    "LEASE",
    "MUTATING",
    "NAMESPACE",
    "POLICY",
    "POLICY_BINDING",
    "RESOURCE_QUOTA",
    "REVIEWS",
    "ROLE",
    "ROLES",
    "ROLE_BINDING",
    "SECRET",
    "SERVICE_ACCOUNT",
    "VALIDATING",
]
