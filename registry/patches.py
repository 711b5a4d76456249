"""Patches of JSON documents: merge patch (RFC 7386) and JSON patch (RFC 6902, with the pointers of RFC 6901).

What goes in is never changed. The result shares with it whatever the patch did not touch, so that a small patch of a large document
is cheap, and so neither may be changed afterwards. A JSON patch is done whole or not at all.

Hostile patches are bounded: number of operations, nesting, what `copy` adds, and the work that large containers make. The refusals
are those of Kubernetes: a patch that cannot be read is 400, one that does not fit the document is 422 with a message that says
nothing (`PatchError`), one that is too much is 413.

Two freedoms of Kubernetes are kept, since clients have come to rely on them: `copy` of a member that is not there copies null, and
what stands before the first slash of a pointer is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from registry.errors import ApiError, BadRequest, TooLarge

Document = dict[str, Any]

OPERATION_LIMIT = 10_000
"""Operations that a JSON patch may have."""

DEPTH_LIMIT = 256
"""Levels of objects and lists in a document: what is deeper could not be read again by parsers that recurse."""

COPY_LIMIT = 3 * 1024 * 1024
"""Bytes, about, that all `copy` operations of a patch may add."""

WORK_LIMIT = 50_000_000
"""Members and items that a JSON patch may make us move: an insert into a list moves what is after it."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}").fullmatch
_ESCAPE = re.compile(r"~(?![01])")
_JSON_TYPES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class PatchError(ApiError):
    """422: a patch that can be read does not fit the document. The answer does not say why, as in Kubernetes; `why` does."""

    code = 422
    reason = "Invalid"

    def __init__(self, why: str) -> None:
        super().__init__("the server rejected our request due to an error in our request", details={})
        self.why = why

    def status(self) -> dict[str, Any]:
        """The Status, with the empty `details` that clients are used to."""
        body = super().status()
        return {**{key: value for key, value in body.items() if key != "code"}, "details": {}, "code": self.code}


class Operation(msgspec.Struct, frozen=True):
    """One operation of a JSON patch as it was sent. Whether it makes sense is seen when it is applied."""

    op: str = ""
    path: str | None = None
    from_: str | None = None
    value: Any = msgspec.UNSET


def parse_merge_patch(raw: bytes) -> Document:
    """The merge patch in a request body. BadRequest: not JSON, or not an object."""
    patch = _decode(raw)
    if patch is None:
        raise BadRequest("Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise BadRequest(f"error decoding patch: {_mistyped(patch, 'value of type map[string]interface {}')}")
    return patch


def parse_json_patch(raw: bytes) -> tuple[Operation, ...]:
    """The JSON patch in a request body. BadRequest: not JSON, not a list of objects, or nested too deeply. TooLarge: too many."""
    return read_json_patch(_decode(raw))


def read_json_patch(patch: Any) -> tuple[Operation, ...]:
    """The JSON patch that decoded JSON says, with the errors of `parse_json_patch` but the first."""
    if patch is None:
        return ()
    if not isinstance(patch, list):
        raise BadRequest(f"error decoding patch: {_mistyped(patch, 'value of type []handlers.jsonPatchOp')}")
    check_depth(patch)
    operations = tuple(map(_operation, patch))
    if len(operations) > OPERATION_LIMIT:
        counted = f"The allowed maximum operations in a JSON patch is {OPERATION_LIMIT}, got {len(operations)}"
        raise TooLarge(f"Request entity too large: {counted}")
    return operations


def merge_patch(document: Document, patch: Mapping[str, Any]) -> Document:
    """The document after a merge patch: objects merge, null removes, everything else replaces. BadRequest: nested too deeply."""
    check_depth(patch)
    return _merge(document, patch)


def json_patch(document: Document, operations: Sequence[Operation]) -> Document:
    """The document after all operations. PatchError: one does not fit, or the result is no object. TooLarge: too much work."""
    patcher = _Patcher(document)
    for operation in operations:
        patcher.apply(operation)
    result = patcher.root
    if not isinstance(result, dict):
        raise PatchError("the result is not an object")
    if patcher.transferred and _depth_exceeds(result, DEPTH_LIMIT):
        raise PatchError(f"the result has more than {DEPTH_LIMIT} levels")
    return result


def check_depth(document: Any) -> None:
    """BadRequest: a document has more than `DEPTH_LIMIT` levels of objects and lists."""
    if _depth_exceeds(document, DEPTH_LIMIT):
        raise BadRequest(f"exceeded max depth: a document may have {DEPTH_LIMIT} levels of objects and lists")


def json_type(value: Any) -> str:
    """What Kubernetes calls the type of a decoded JSON value in its errors: string, bool, number, array, object, null."""
    return _JSON_TYPES.get(type(value), "null")


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except RecursionError as error:
        raise BadRequest("error decoding patch: exceeded max depth") from error
    except ValueError as error:
        truncated = str(error) == "Input data was truncated"
        raise BadRequest(f"error decoding patch: {'unexpected end of JSON input' if truncated else error}") from error


def _mistyped(value: Any, wanted: str) -> str:
    return f"json: cannot unmarshal {json_type(value)} into Go {wanted}"


def _operation(sent: Any) -> Operation:
    if sent is None:
        return Operation()
    if not isinstance(sent, dict):
        raise BadRequest(f"error decoding patch: {_mistyped(sent, 'value of type handlers.jsonPatchOp')}")
    for name in ("op", "path", "from"):
        if not isinstance(sent.get(name, ""), str | None):
            raise BadRequest(f"error decoding patch: {_mistyped(sent[name], f'struct field jsonPatchOp.{name} of type string')}")
    return Operation(sent.get("op") or "", sent.get("path"), sent.get("from"), sent.get("value", msgspec.UNSET))


def _merge(document: Any, patch: Mapping[str, Any]) -> Document:
    result: Document = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge(result.get(key), value)
        else:
            result[key] = value
    return result


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Level by level, without recursion. Containers that are shared count each time, which `copy` keeps within its limit."""
    if not isinstance(value, dict | list):
        return False
    level = [value]
    for _ in range(limit):
        inner = (item for each in level for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


class _Patcher:
    """A document while it is patched.

    `_owned` are the containers that were made here and are in one place only: they are changed in place. All others are copied,
    one level deep, before their first change. A `copy` puts a container into two places, so after it none is owned.

    What is added keeps the document within its depth; `transferred` says that something was moved or copied and may have broken it.
    """

    def __init__(self, document: Document) -> None:
        self.root: Any = document
        self.transferred = False
        self._owned: dict[int, Any] = {}  # by id; the containers are held, so that an id stays theirs
        self._copied = 0
        self._work = 0

    def apply(self, operation: Operation) -> None:
        if operation.path is None:
            _fail("an operation without a path")
        path = _pointer(operation.path)
        match operation.op:
            case "add":
                self._add(path, _shallow(_value(operation), path))
            case "replace":
                self._replace(path, _shallow(_value(operation), path))
            case "remove":
                self._remove(path)
            case "test":
                if not _equal(self._get(path), _value(operation)):
                    _fail(f"test of {operation.path} failed")
            case "move" | "copy":
                self._transfer(operation, path)
            case _:
                _fail(f"unknown operation {operation.op!r}")

    def _transfer(self, operation: Operation, path: list[str]) -> None:
        if operation.from_ is None:
            _fail(f"{operation.op} without from")
        source = _pointer(operation.from_)
        self.transferred = True
        if operation.op == "copy":
            value = self._get(source, absent_is_null=True)
            self._copied += _size(value, COPY_LIMIT - self._copied)
            if self._copied > COPY_LIMIT:
                _fail("the copies are too large")
            self._owned.clear()
            self._add(path, value)
        elif source == path:
            self._get(source)
        else:
            if path[: len(source)] == source:
                _fail("a value cannot be moved into itself")
            self._add(path, self._remove(source))

    def _get(self, path: list[str], *, absent_is_null: bool = False) -> Any:
        value = self.root
        for at, key in enumerate(path):
            if isinstance(value, dict):
                if absent_is_null and key not in value and at == len(path) - 1:
                    return None
                value = value[key] if key in value else _fail(f"no member {key!r}")
            elif isinstance(value, list):
                value = value[_index(key, len(value) - 1)]
            else:
                _fail(f"nothing below {key!r}")
        return value

    def _add(self, path: list[str], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent, key = self._parent(path), path[-1]
        if isinstance(parent, dict):
            parent[key] = value
        else:
            at = len(parent) if key == "-" else _index(key, len(parent))
            self._worked(len(parent) - at)
            parent.insert(at, value)

    def _replace(self, path: list[str], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent, key = self._parent(path), path[-1]
        if isinstance(parent, list):
            parent[_index(key, len(parent) - 1)] = value
        elif key in parent:
            parent[key] = value
        else:
            _fail(f"no member {key!r} to replace")

    def _remove(self, path: list[str]) -> Any:
        if not path:
            _fail("the whole document cannot be removed")
        parent, key = self._parent(path), path[-1]
        if isinstance(parent, list):
            at = _index(key, len(parent) - 1)
            self._worked(len(parent) - at)
            return parent.pop(at)
        if key not in parent:
            _fail(f"no member {key!r} to remove")
        return parent.pop(key)

    def _parent(self, path: list[str]) -> dict[str, Any] | list[Any]:
        """The container that the last step of a path is in, owned, as are all on the way to it."""
        parent = self.root = self._own(self.root)
        for key in path[:-1]:
            if isinstance(parent, list):
                at = _index(key, len(parent) - 1)
                inner = parent[at] = self._own(parent[at])
            elif key in parent:
                inner = parent[key] = self._own(parent[key])
            else:
                _fail(f"no member {key!r}")
            parent = inner
        return parent

    def _own(self, value: Any) -> dict[str, Any] | list[Any]:
        if not isinstance(value, dict | list):
            _fail("a path through what is neither object nor list")
        if id(value) in self._owned:
            return value
        self._worked(len(value))
        own = value.copy()
        self._owned[id(own)] = own
        return own

    def _worked(self, amount: int) -> None:
        self._work += amount
        if self._work > WORK_LIMIT:
            raise TooLarge("Request entity too large: the patch moves too many members and items")


def _fail(why: str) -> NoReturn:
    raise PatchError(why)


def _value(operation: Operation) -> Any:
    if operation.value is msgspec.UNSET:
        _fail(f"{operation.op} without a value")
    return operation.value


def _shallow(value: Any, path: list[str]) -> Any:
    if _depth_exceeds(value, DEPTH_LIMIT - len(path)):
        _fail(f"more than {DEPTH_LIMIT} levels")
    return value


def _pointer(path: str) -> list[str]:
    """The steps of an RFC 6901 pointer; what is before the first slash does not count."""
    steps = path.split("/")[1:]
    if not steps and path:
        _fail("a pointer without a slash")
    if "~" not in path:
        return steps
    if _ESCAPE.search(path):
        _fail("a tilde that is neither ~0 nor ~1")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps]


def _index(key: str, last: int) -> int:
    if not _INDEX(key) or int(key) > last:
        _fail(f"no item {key!r}")
    return int(key)


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON values (RFC 6902, section 4.6): numbers by value, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _size(value: Any, limit: int) -> int:
    """About as many bytes as a value has as JSON; more than `limit` is not counted further."""
    size = 0
    waiting = [value]
    while waiting and size <= limit:
        each = waiting.pop()
        if isinstance(each, dict):
            size += 2 + sum(map(len, each)) + 4 * len(each)
            waiting.extend(each.values())
        elif isinstance(each, list):
            size += 2 + len(each)
            waiting.extend(each)
        else:
            size += len(each) + 2 if isinstance(each, str) else 8
    return size
