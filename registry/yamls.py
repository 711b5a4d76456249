"""YAML as Kubernetes reads and writes it: JSON with another surface.

Reading is YAML 1.1 as sigs.k8s.io/yaml understands it: `yes` and `on` are booleans, `0o17` and `017` are eight-based, times are
texts, keys that are not texts become texts, `<<` merges. There are no types but those of JSON and no tags but theirs.

The parser is read event by event, never recursively: nesting is bounded while it is read, and so is what aliases expand to, in
proportion to the length of the text (`ALIAS_GROWTH`).
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

ALIAS_FREE = 10_000
"""Weight that aliases may stand for, whatever the length of the text: a value weighs 1, and so do `ALIAS_TEXT` characters."""

ALIAS_GROWTH = 2
"""Weight that aliases may stand for, per byte of the text."""

ALIAS_TEXT = 4
"""Characters of a text that weigh as much as a value: what is written again in full for each alias is not free."""

MAX_DIRECTIVES = 16
"""Lines that begin with %. The parser compares each with all before it."""

_DIRECTIVE = re.compile(rb"^%", re.MULTILINE)

_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+)").fullmatch
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?").fullmatch
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)").fullmatch
_TAG = "tag:yaml.org,2002:"
_MERGE = object()


class YAMLProblem(Exception):
    """Why a text is no YAML document of JSON values; begins with the line, if there is one."""


def load(raw: bytes, max_depth: int) -> tuple[Any, list[tuple[int, str]]]:
    """The value of the only document (None if there is none), and the keys that are there twice, each with its line.

    Raises YAMLProblem.
    """
    if len(_DIRECTIVE.findall(raw)) > MAX_DIRECTIVES:
        raise YAMLProblem("there are too many directives")
    builder = _Builder(max_depth, ALIAS_FREE + ALIAS_GROWTH * len(raw))
    try:
        for event in yaml.parse(raw, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.YAMLError as error:
        raise YAMLProblem(_in_words(error)) from error
    except (UnicodeError, ValueError, OverflowError) as error:
        raise YAMLProblem(str(error)) from error
    return builder.value, builder.twice


class _Open:
    """A mapping or list that is being read."""

    __slots__ = ("anchor", "key", "merged", "value", "weight")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: Any = None  # of the value that comes next; None: a key comes next
        self.merged: list[dict[str, Any]] = []
        self.weight = 1  # of the values in it, itself included


class _Builder:
    """Makes a value of events. `value` is the whole when all were taken."""

    def __init__(self, max_depth: int, budget: int) -> None:
        self.value: Any = None
        self.twice: list[tuple[int, str]] = []
        self._max_depth = max_depth
        self._budget = budget
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._documents = 0

    def take(self, event: Event) -> None:
        match event:
            case ScalarEvent():
                value = _scalar(event)
                weight = 1 + len(event.value) // ALIAS_TEXT
                if event.anchor is not None:
                    self._anchors[event.anchor] = (None if value is _MERGE else value, weight)
                self._add(value, weight, event)
            case MappingStartEvent() | SequenceStartEvent():
                self._start(event)
            case MappingEndEvent() | SequenceEndEvent():
                self._end(event)
            case AliasEvent():
                self._alias(event)
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise YAMLProblem(f"{_line(event)}there is more than one document")
            case _:
                pass

    def _start(self, event: Any) -> None:
        if len(self._open) >= self._max_depth:
            raise YAMLProblem(f"{_line(event)}exceeded max depth of {self._max_depth}")
        kind = "map" if isinstance(event, MappingStartEvent) else "seq"
        if event.tag not in (None, "!", _TAG + kind):
            raise YAMLProblem(f"{_line(event)}the tag {event.tag} is not known")
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        self._open.append(_Open({} if kind == "map" else [], event.anchor))

    def _end(self, event: Event) -> None:
        done = self._open.pop()
        if isinstance(done.value, dict):
            for source in done.merged:
                done.value = {**source, **done.value}
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.value, done.weight)
        self._add(done.value, done.weight, event)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise YAMLProblem(f"{_line(event)}unknown anchor '{event.anchor}' referenced")
        value, weight = self._anchors[event.anchor]
        self._budget -= weight
        if self._budget < 0:
            raise YAMLProblem("document contains excessive aliasing")
        if len(self._open) + _depth(value) > self._max_depth:
            raise YAMLProblem(f"{_line(event)}exceeded max depth of {self._max_depth}")
        self._add(_copied(value), weight, event)

    def _add(self, value: Any, weight: int, event: Event) -> None:
        if not self._open:
            self.value = None if value is _MERGE else value
            return
        holder = self._open[-1]
        holder.weight += weight
        if isinstance(holder.value, list):
            holder.value.append("<<" if value is _MERGE else value)
        elif holder.key is None:
            holder.key = value if value is _MERGE else _key(value, event)
            if holder.key in holder.value:
                self.twice.append((_line_number(event), holder.key))
        else:
            if holder.key is _MERGE:
                holder.merged += _merged(value, event)
            else:
                holder.value[holder.key] = "<<" if value is _MERGE else value
            holder.key = None


def _merged(value: Any, event: Event) -> list[dict[str, Any]]:
    """What `<<` brings in: mappings, the first of which wins."""
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise YAMLProblem(f"{_line(event)}map merge requires map or sequence of maps as the value")
    return sources


def _key(value: Any, event: Event) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise YAMLProblem(f"{_line(event)}a key is a text, not {'null' if value is None else 'a list or mapping'}")


def _scalar(event: Any) -> Any:
    tag = event.tag
    if tag is None and event.implicit[0]:
        return _MERGE if event.value == "<<" else _number(plain(event.value), event)
    if tag in (None, "!", _TAG + "str", _TAG + "binary", _TAG + "timestamp"):
        return event.value
    if tag in (_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null", _TAG + "merge"):
        value = _number(plain(event.value), event)
        return float(value) if tag == _TAG + "float" and type(value) is int else value
    raise YAMLProblem(f"{_line(event)}the tag {tag} is not known")


def _number(value: Any, event: Event) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise YAMLProblem(f"{_line(event)}JSON has no number for {value}")
    return value


def plain(text: str) -> Any:
    """What a text without quotes means: null, a boolean, a number, or itself."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if _INTEGER(digits):
        return _integer(digits)
    if _FLOAT(digits):
        return float(digits)
    return math.nan if _NOT_A_NUMBER(text) else text


def _integer(digits: str) -> int | float:
    sign, bare = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
    if len(bare) > 1 and bare[0] == "0" and bare[1].isdigit():
        return sign * int(bare, 8)
    return sign * int(bare, 0) if len(bare) < 4000 else float(digits)


def _depth(value: Any) -> int:
    """How many mappings and lists are within each other; bounded, since what is anchored was."""
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _line(event: Event) -> str:
    return f"line {_line_number(event)}: "


def _line_number(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _in_words(error: yaml.YAMLError) -> str:
    """What Go's parser, which is a translation of the same one, says: the line is that of the context, and counted its own way."""
    problem = getattr(error, "problem", None)
    if problem is None:
        return str(error).splitlines()[0] if str(error) else "not YAML"
    for mark in (getattr(error, "context_mark", None), getattr(error, "problem_mark", None)):
        if mark is not None and mark.line:
            return f"line {mark.line + isinstance(error, yaml.scanner.ScannerError)}: {problem}"
    return str(problem)


class _Dumper(yaml.CSafeDumper):
    """Writes no anchors, and quotes what could be taken for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_BLOCK_SAFE = re.compile(
    r"[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff](?:[\n\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe]*[^\s])?\n?"
)
_IS_WORD = re.compile(r"[-+.0-9][-+.:_0-9A-Za-z]*|=|<<").fullmatch


def _text(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text and _BLOCK_SAFE.fullmatch(text) and " \n" not in text:
        style = "|"
    elif plain(text) is not text or (_IS_WORD(text) and dumper.resolve(yaml.ScalarNode, text, (True, False)) != _TAG + "str"):
        style = '"'
    return dumper.represent_scalar(_TAG + "str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> bytes:
    """The YAML of a JSON value: keys in order, lists not indented, nothing folded."""
    written = yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, sort_keys=True, width=80, encoding="utf-8"
    )
    assert isinstance(written, bytes)  # noqa: S101
    return written
