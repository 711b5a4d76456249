"""CustomResourceDefinition (apiextensions.k8s.io/v1): a kind that is declared while the server runs. It belongs to no namespace.

The schema of each version is kept as it is: it is as deep as people make it, and `registry.custom` knows what may be in it. What
the server finds of a definition - which names it got, which versions objects may be stored in - is in its status.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec

from registry.builtin.common import NAME, builtin, version
from registry.builtin.customresourcedefinition_checks import check
from registry.builtin.webhooks import WebhookClientConfig
from registry.custom import keywords
from registry.kinds import Column, Document, Kind, Printer
from registry.names import dns1123_subdomain
from registry.nodes import TOLD
from registry.resource import Format, ListMap, Meta, Object, OmitEmpty, PreserveUnknown, Struct, Time
from registry.schema import Outcome, Schema

GROUP = "apiextensions.k8s.io"
PLURAL = "customresourcedefinitions"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a definition whose deletion has begun until its objects are gone."""
Int32 = Annotated[int, Format("int32")]
_Text = Annotated[str, OmitEmpty]
_Texts = Annotated[tuple[str, ...], OmitEmpty]


class CustomResourceDefinitionNames(Struct):
    """CustomResourceDefinitionNames are the names that objects of the kind are asked for with."""

    plural: Annotated[str, Meta(description="As in paths: lower case. The definition is named PLURAL.GROUP.")] = ""
    singular: Annotated[_Text, Meta(description="The kind in lower case, unless said otherwise.")] = ""
    short_names: Annotated[_Texts, Meta(description="Shorter names for the command line.")] = ()
    kind: Annotated[str, Meta(description="The kind, in CamelCase, as objects say it.")] = ""
    list_kind: Annotated[_Text, Meta(description="The kind of its lists; KINDList, unless said otherwise.")] = ""
    categories: Annotated[_Texts, Meta(description="Names that several kinds are listed by, as all.")] = ()


class CustomResourceValidation(Struct):
    """CustomResourceValidation says how objects have to look."""

    open_api_v3_schema: Annotated[
        Annotated[dict[str, Any], PreserveUnknown] | None, Meta(description="A structural schema, in the words of OpenAPI v3.")
    ] = msgspec.field(default=None, name="openAPIV3Schema")


class CustomResourceSubresourceStatus(Struct):
    """CustomResourceSubresourceStatus has no settings: that it is there says that status is written apart."""


class CustomResourceSubresourceScale(Struct):
    """CustomResourceSubresourceScale says where the scale subresource finds what it shows."""

    spec_replicas_path: Annotated[str, Meta(description="The wanted replicas, below .spec.")] = ""
    status_replicas_path: Annotated[str, Meta(description="The actual replicas, below .status.")] = ""
    label_selector_path: Annotated[str | None, Meta(description="The label selector as a text, below .spec or .status.")] = None


class CustomResourceSubresources(Struct):
    """CustomResourceSubresources are what objects have below their paths."""

    status: Annotated[CustomResourceSubresourceStatus | None, Meta(description="/status")] = None
    scale: Annotated[CustomResourceSubresourceScale | None, Meta(description="/scale")] = None


class CustomResourceColumnDefinition(Struct):
    """CustomResourceColumnDefinition is a column of a table of objects."""

    name: Annotated[str, Meta(description="Its heading.")] = ""
    type: Annotated[str, Meta(description="integer, number, string, boolean or date.")] = ""
    format: Annotated[_Text, Meta(description="A format of OpenAPI.")] = ""
    description: Annotated[_Text, Meta(description="What it says.")] = ""
    priority: Annotated[Int32, OmitEmpty, Meta(description="0 is always shown, more by -o wide alone.")] = 0
    json_path: Annotated[str, Meta(description="Where its cells are found.")] = msgspec.field(default="", name="jsonPath")


class SelectableField(Struct):
    """SelectableField is a field that field selectors may name."""

    json_path: Annotated[str, Meta(description="Names alone, as .spec.color.")] = msgspec.field(default="", name="jsonPath")


class CustomResourceDefinitionVersion(Struct):
    """CustomResourceDefinitionVersion is one version of the kind."""

    name: Annotated[str, Meta(description="As in v1, v1beta1.")] = ""
    served: Annotated[bool, Meta(description="Whether it can be asked for.")] = False
    storage: Annotated[bool, Meta(description="Whether objects are stored in it; that is one of all versions.")] = False
    deprecated: Annotated[bool, OmitEmpty, Meta(description="Whether answers in it carry a warning.")] = False
    deprecation_warning: Annotated[str | None, Meta(description="The warning, if it is to be another than the usual.")] = None
    schema: Annotated[CustomResourceValidation | None, Meta(description="How its objects have to look.")] = None
    subresources: Annotated[CustomResourceSubresources | None, Meta(description="/status and /scale.")] = None
    additional_printer_columns: Annotated[
        tuple[CustomResourceColumnDefinition, ...], OmitEmpty, Meta(description="The columns of tables, after the name.")
    ] = ()
    selectable_fields: Annotated[tuple[SelectableField, ...], OmitEmpty, Meta(description="What field selectors may name.")] = ()


class WebhookConversion(Struct):
    """WebhookConversion says who converts objects between versions."""

    client_config: Annotated[WebhookClientConfig | None, Meta(description="Where the webhook is.")] = None
    conversion_review_versions: Annotated[
        tuple[str, ...], OmitEmpty, Meta(description="The versions of ConversionReview that it understands: v1.")
    ] = ()


class CustomResourceConversion(Struct):
    """CustomResourceConversion says how an object gets from one version to another."""

    strategy: Annotated[str, Meta(description="None: the apiVersion changes and nothing else. Webhook: a webhook is asked.")] = ""
    webhook: Annotated[WebhookConversion | None, Meta(description="For the strategy Webhook.")] = None


class CustomResourceDefinitionSpec(Struct):
    """CustomResourceDefinitionSpec is how the kind looks and how it behaves."""

    group: Annotated[str, Meta(description="The API group: a domain of yours.")] = ""
    names: Annotated[CustomResourceDefinitionNames, Meta(description="The names of the kind.")] = CustomResourceDefinitionNames()
    scope: Annotated[str, Meta(description="Namespaced, or Cluster.")] = ""
    versions: Annotated[tuple[CustomResourceDefinitionVersion, ...], Meta(description="Its versions.")] = ()
    conversion: Annotated[CustomResourceConversion | None, Meta(description="How its versions are converted.")] = None
    preserve_unknown_fields: Annotated[bool, OmitEmpty, Meta(description="Must be false; see the schema for that.")] = False


class CustomResourceDefinitionCondition(Struct):
    """CustomResourceDefinitionCondition is one aspect of how a definition is doing."""

    type: Annotated[str, Meta(description="NamesAccepted, Established, Terminating.")]
    status: Annotated[str, Meta(description="True, False or Unknown.")]
    last_transition_time: Annotated[Time | None, Meta(description="When the status last changed.")] = None
    reason: Annotated[_Text, Meta(description="Why, in one word.")] = ""
    message: Annotated[_Text, Meta(description="Why, in a sentence.")] = ""
    observed_generation: Annotated[int | None, Meta(description="The generation that this was found for.")] = None


class CustomResourceDefinitionStatus(Struct):
    """CustomResourceDefinitionStatus is what became of a definition."""

    conditions: Annotated[
        tuple[CustomResourceDefinitionCondition, ...] | None, ListMap("type"), Meta(description="How it is doing.")
    ] = None
    accepted_names: Annotated[
        CustomResourceDefinitionNames, Meta(description="The names that it got; others may have been faster.")
    ] = CustomResourceDefinitionNames()
    stored_versions: Annotated[
        tuple[str, ...] | None, Meta(description="The versions that objects may be stored in, now or from earlier.")
    ] = None
    observed_generation: Annotated[int | None, Meta(description="The generation that this was found for.")] = None


class CustomResourceDefinition(Object):
    """CustomResourceDefinition represents a resource that should be exposed on the API server: a kind that is declared at run time.
    Its name is PLURAL.GROUP."""

    spec: Annotated[CustomResourceDefinitionSpec, Meta(description="How the kind looks.")] = CustomResourceDefinitionSpec()
    status: Annotated[CustomResourceDefinitionStatus | None, Meta(description="What became of it.")] = None


class DefinitionSchema(Schema):
    """The schema of definitions: it knows the keywords of the schemas in them as well, at any depth."""

    def apply(self, document: Document, *, old: Document | None = None, part: str = "") -> Outcome:
        """See `Schema`. What is of a wrong type in a schema is left for `check`."""
        outcome = super().apply(document, old=old, part=part)
        return outcome if part or outcome.unreadable else _with_keywords(outcome)

    def again(self, document: Document, tidied: Document, *, part: str = "") -> Document | None:
        """See `Schema`."""
        return super().again(document, tidied, part=part) if part else None


def _with_keywords(outcome: Outcome) -> Outcome:
    """The outcome without what no schema has."""
    spec: Document = outcome.document.get("spec") or {}
    versions = spec.get("versions")
    if not isinstance(versions, list):
        return outcome
    unknown, told = list(outcome.unknown), []
    for at, each in enumerate(versions):
        schema = (each.get("schema") or {}).get("openAPIV3Schema") if isinstance(each, dict) else None
        read = keywords.read(schema, f"spec.versions[{at}].schema.openAPIV3Schema") if isinstance(schema, dict) else None
        if read is None or read.causes:
            told.append(each)
        else:
            unknown += read.unknown
            told.append({**each, "schema": {**each["schema"], "openAPIV3Schema": read.schema}})
    return outcome._replace(document={**outcome.document, "spec": {**spec, "versions": told}}, unknown=tuple(unknown[:TOLD]))


def prepare(new: Document, old: Document | None) -> Document:
    """What is not said is filled in, and the storage version is among the stored ones from now on."""
    spec = with_defaults(new.get("spec") or {})
    status = new.get("status") if old is not None else None
    status = dict(status or {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}})
    storage = next((each["name"] for each in spec.get("versions") or () if each.get("storage")), None)
    stored = status.get("storedVersions")
    if storage is not None and storage not in (stored or ()):
        stored = [*(stored or ()), storage]
    status["storedVersions"] = stored
    return {**new, "spec": spec, "status": status}


def with_defaults(spec: Document) -> Document:
    """The spec, with what it says by saying nothing."""
    names = dict(spec.get("names") or {})
    kind = names.get("kind") or ""
    if kind:
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    conversion = dict(spec.get("conversion") or {})
    conversion["strategy"] = conversion.get("strategy") or "None"
    return {**spec, "names": names, "conversion": conversion}


def cells(document: Document, now: float) -> list[Any]:
    """The row of a table."""
    del now
    metadata = document["metadata"]
    return [metadata["name"], metadata.get("creationTimestamp")]


TABLE = Printer((NAME, Column("Created At", "", "date", "When the definition was made.")), cells)


def _kind() -> Kind:
    v1 = version(CustomResourceDefinition, GROUP, "v1", "CustomResourceDefinition", TABLE)
    v1 = replace(v1, schema=DefinitionSchema(v1.schema.node, v1.schema.dialect))
    kind = builtin(
        "CustomResourceDefinition",
        PLURAL,
        (v1,),
        prepare=prepare,
        check=check,
        short=("crd", "crds"),
        namespaced=False,
        has_status=True,
        name_rule=dns1123_subdomain,
        unconditional_update=False,
        last_finalizer=FINALIZER,
    )
    categories = ("api-extensions",)
    return replace(kind, categories=categories, strategy=replace(kind.strategy, counts_generation=True, looks_long=True))


CUSTOM_RESOURCE_DEFINITION = _kind()
