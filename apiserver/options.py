"""Query parameters: read once, checked, and handed on as frozen values.

Unknown parameters are ignored. What is wrong is refused in the words of the Kubernetes API: a number that is none is a 400, a
combination that makes no sense is a 422 on the options' own kind (`ListOptions.meta.k8s.io`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from registry.errors import BadRequest, Cause, Invalid, forbidden, invalid, not_supported, too_long

Query = Mapping[str, Sequence[str]]
EMPTY: Query = {}
MAX_FIELDS = 1_000
MANAGER_LIMIT = 128
UINT64 = 2**64


def parse_query(raw: bytes) -> Query:
    """Parameters by name, each with all of its values, blank ones too. Raises BadRequest for what cannot be decoded."""
    if not raw:
        return EMPTY
    try:
        return parse_qs(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise BadRequest("the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise BadRequest(f"the query string has more than {MAX_FIELDS} parameters") from None


def text(query: Query, name: str) -> str:
    """A parameter's first value, empty when absent."""
    values = query.get(name)
    return values[0] if values else ""


def flag(query: Query, name: str) -> bool:
    """A boolean as Kubernetes reads it: absent, `0` and `false` are false; anything else, also nothing, is true."""
    values = query.get(name)
    return values is not None and values[0] != "0" and values[0].lower() != "false"


def number(query: Query, name: str) -> int:
    """A signed 64-bit number, 0 when absent. Raises BadRequest."""
    values = query.get(name)
    if values is None:
        return 0
    value = values[0]
    digits = value[1:] if value[:1] in ("-", "+") else value
    if not (digits.isascii() and digits.isdigit()):
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    digits = digits.lstrip("0")
    found = int(f"{'-' if value[0] == '-' else ''}{digits[:20] or '0'}")
    if len(digits) > 19 or not -(2**63) <= found < 2**63:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": value out of range')
    return found


def revision(value: str) -> int:
    """A resourceVersion: an unsigned decimal number, 0 when empty. Raises BadRequest."""
    if not value:
        return 0
    if not (value.isascii() and value.isdigit()):
        raise BadRequest(f'resourceVersion: Invalid value: "{value}": strconv.ParseUint: parsing "{value}": invalid syntax')
    if len(value) > 20 or int(value) >= UINT64:
        raise BadRequest(f'resourceVersion: Invalid value: "{value}": strconv.ParseUint: parsing "{value}": value out of range')
    return int(value)


class WriteOptions(msgspec.Struct, frozen=True):
    """Options of a write. `field_validation` is Ignore, Warn or Strict."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Warn"


PLAIN_WRITE = WriteOptions()


def write_options(query: Query, kind: str) -> WriteOptions:
    """The options of a create, update or patch; `kind` is CreateOptions, UpdateOptions or PatchOptions. Raises Invalid."""
    if not query:
        return PLAIN_WRITE
    causes: list[Cause] = []
    if flag(query, "force") and kind == "PatchOptions":
        causes.append(forbidden("force", "may not be specified for non-apply patch"))
    manager = text(query, "fieldManager")
    if len(manager.encode()) > MANAGER_LIMIT:
        causes.append(too_long("fieldManager", MANAGER_LIMIT))
    elif not manager.isprintable():
        causes.append(invalid("fieldManager", manager, "should only contain printable characters"))
    dry = list(query.get("dryRun", ()))
    causes += dry_run_causes(dry)
    validation = text(query, "fieldValidation")
    if validation not in ("", "Ignore", "Strict", "Warn"):
        causes.append(not_supported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    if causes:
        raise Invalid(kind, "meta.k8s.io", "", causes)
    return WriteOptions(bool(dry), manager, validation or "Warn")


def dry_run_causes(values: Sequence[str]) -> list[Cause]:
    """What is wrong with the values of dryRun: `All` is the only one there is."""
    if all(value == "All" for value in values):
        return []
    return [not_supported("dryRun", list(dict.fromkeys(values)), ("All",))]


class ListOptions(msgspec.Struct, frozen=True):
    """Options of a list or watch. `send_initial` is None where the parameter is absent."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    token: str = ""
    resource_version: str = ""
    match: str = ""
    timeout_seconds: int = 0
    bookmarks: bool = False
    send_initial: bool | None = None


PLAIN_LIST = ListOptions()


def list_options(query: Query, *, watch: bool) -> ListOptions:
    """The options of a list or a watch. Raises BadRequest and Invalid."""
    if not query:
        return PLAIN_LIST
    options = ListOptions(
        label_selector=text(query, "labelSelector"),
        field_selector=text(query, "fieldSelector"),
        limit=number(query, "limit"),
        token=text(query, "continue"),
        resource_version=text(query, "resourceVersion"),
        match=text(query, "resourceVersionMatch"),
        timeout_seconds=number(query, "timeoutSeconds"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    causes = _watch_causes(options) if watch else _list_causes(options)
    if causes:
        raise Invalid("ListOptions", "meta.k8s.io", "", causes)
    return options


def _list_causes(options: ListOptions) -> list[Cause]:
    causes = []
    if options.send_initial is not None:
        causes.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    match = options.match
    if not match:
        return causes
    if options.token:
        causes.append(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if not options.resource_version:
        causes.append(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match not in ("Exact", "NotOlderThan"):
        causes.append(not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan", "")))
    elif match == "Exact" and options.resource_version == "0":
        causes.append(forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return causes


def _watch_causes(options: ListOptions) -> list[Cause]:
    causes = []
    match, field = options.match, "resourceVersionMatch"
    if options.send_initial is not None and match != "NotOlderThan":
        causes.append(forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if not match:
        return causes
    if options.token:
        return [forbidden(field, "resourceVersionMatch is forbidden when continue is provided")]
    if options.send_initial is None:
        causes.append(forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
    if match != "NotOlderThan":
        causes.append(not_supported(field, match, ("NotOlderThan",)))
    return causes


class DeleteOptions(msgspec.Struct, frozen=True):
    """Options of a delete. `propagation` is Foreground, Background, Orphan or empty; `uid` and `resource_version` are
    preconditions."""

    dry_run: bool = False
    propagation: str = ""
    uid: str = ""
    resource_version: str = ""


def delete_options(document: dict[str, Any], query: Query) -> DeleteOptions:
    """From the body where it says anything, else from the query. Raises BadRequest and Invalid."""
    source = {key: value for key, value in document.items() if key not in ("kind", "apiVersion")} or _delete_query(query)
    dry = _typed(source, "dryRun", list, "[]string") or []
    orphan = _typed(source, "orphanDependents", bool, "bool")
    propagation = _typed(source, "propagationPolicy", str, "v1.DeletionPropagation") or ""
    _typed(source, "gracePeriodSeconds", int, "int64")
    conditions = _typed(source, "preconditions", dict, "v1.Preconditions") or {}
    causes: list[Cause] = []
    if propagation and orphan is not None:
        causes.append(invalid("propagationPolicy", propagation, "orphanDependents and deletionPropagation cannot be both set"))
    elif propagation not in ("", "Foreground", "Background", "Orphan"):
        causes.append(not_supported("propagationPolicy", propagation, ("Foreground", "Background", "Orphan", "nil")))
    causes += dry_run_causes(dry)
    if causes:
        raise Invalid("DeleteOptions", "meta.k8s.io", "", causes)
    if orphan is not None and not propagation:
        propagation = "Orphan" if orphan else "Background"
    return DeleteOptions(
        bool(dry),
        propagation,
        _typed(conditions, "uid", str, "types.UID") or "",
        _typed(conditions, "resourceVersion", str, "string") or "",
    )


def _delete_query(query: Query) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "dryRun" in query:
        found["dryRun"] = list(query["dryRun"])
    if "orphanDependents" in query:
        found["orphanDependents"] = flag(query, "orphanDependents")
    if "propagationPolicy" in query:
        found["propagationPolicy"] = text(query, "propagationPolicy")
    if "gracePeriodSeconds" in query:
        found["gracePeriodSeconds"] = number(query, "gracePeriodSeconds")
    return found


GO_TYPES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


def _typed(source: Mapping[str, Any], name: str, wanted: type, go_type: str) -> Any:
    value = source.get(name)
    if value is None or (isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))):
        wrong = [item for item in value if not isinstance(item, str)] if isinstance(value, list) else []
        if not wrong:
            return value
        value, go_type = wrong[0], "string"
    kind = GO_TYPES.get(type(value), "null")
    raise BadRequest(f"json: cannot unmarshal {kind} into Go struct field DeleteOptions.{name} of type {go_type}")
