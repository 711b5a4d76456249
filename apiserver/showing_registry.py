"""Changes and findings as people read them, as programs do (`json`), and as code scanners do (`sarif`, SARIF 2.1.0)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from apiserver.config import StartError

if TYPE_CHECKING:
    from registry.diff import Change
    from registry.rules import Finding, Rule

Document = dict[str, Any]

FORMS = ("text", "json", "sarif")
STYLES = {"breaking": "red", "error": "red", "warning": "yellow", "compatible": "green", "waived": "dim"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def check(output: str) -> None:
    """StartError for a form that there is not."""
    if output not in FORMS:
        raise StartError(f"-o {output}: there are {', '.join(FORMS)}", exit_code=2)


def changes(found: Sequence[Change], output: str, file: str) -> None:
    """What changed. `file` is the lock, where scanners are told to look."""
    if output == "json":
        _write({"changes": [_change(each) for each in found], "refused": sum(each.refused for each in found)})
    elif output == "sarif":
        results = [
            _result(each.rule, "error" if each.refused else "note", f"{each.where}: {each.message}", each.where, file, each.waived)
            for each in found
            if each.rule is not None
        ]
        _write(_sarif([each.rule for each in found if each.rule is not None], results))
    else:
        for each in found:
            number = f" ({each.rule.id})" if each.rule is not None else ""
            _line("waived" if each.waived else each.verdict.value, f"{each.where}: {each.message}{number}", each.waived)
        refused = sum(each.refused for each in found)
        _end(found, f"{_count(len(found), 'change')}, {refused} refused" if found else "nothing has changed", refused)


def findings(found: Sequence[Finding], output: str) -> None:
    """What breaks rules."""
    if output == "json":
        _write({"findings": [_finding(each) for each in found]})
    elif output == "sarif":
        results = [
            _result(each.rule, each.rule.level.value, f"{each.where}: {each.message}", each.where, each.source, each.waived)
            for each in found
        ]
        _write(_sarif([each.rule for each in found], results))
    else:
        for each in found:
            source = f"{_shown(each.source)}: " if each.source else ""
            text = f"{source}{each.where}: {each.message} ({each.rule.id})"
            _line("waived" if each.waived else each.rule.level.value, text, each.waived)
        open_ = [each.rule.level.value for each in found if not each.waived]
        errors, warnings = open_.count("error"), open_.count("warning")
        _end(found, f"{_count(errors, 'error')}, {_count(warnings, 'warning')}, {len(found) - len(open_)} waived", errors)


def _change(change: Change) -> Document:
    said: Document = {
        "verdict": change.verdict.value,
        "refused": change.refused,
        "resource": change.resource,
        "version": change.version,
        "path": change.path,
        "message": change.message,
    }
    return said | _about(change.rule, change.waived)


def _finding(finding: Finding) -> Document:
    said: Document = {
        "level": finding.rule.level.value,
        "resource": finding.resource,
        "version": finding.version,
        "path": finding.path,
        "message": finding.message,
        "source": _shown(finding.source),
    }
    return said | _about(finding.rule, finding.waived)


def _about(rule: Rule | None, waived: str) -> Document:
    said: Document = {"rule": rule.id, "name": rule.name, "page": rule.page} if rule is not None else {}
    return said | ({"waived": waived} if waived else {})


def _sarif(rules: Iterable[Rule], results: list[Document]) -> Document:
    """One run of one tool. Rules are told once each."""
    told = {
        rule.id: {
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.says},
            "help": {"text": f"{rule.says} See {rule.page}."},
            "defaultConfiguration": {"level": rule.level.value},
        }
        for rule in rules
    }
    driver = {"name": "skep", "version": distribution_version("skep"), "rules": [told[number] for number in sorted(told)]}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(rule: Rule, level: str, message: str, where: str, source: str, waived: str) -> Document:
    file, _, line = source.rpartition(":") if source.rpartition(":")[2].isdigit() else (source, "", "1")
    physical = {"artifactLocation": {"uri": quote(Path(_shown(file)).as_posix())}, "region": {"startLine": int(line)}}
    result: Document = {
        "ruleId": rule.id,
        "level": level,
        "message": {"text": message},
        "locations": [{"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": where}]}],
    }
    return result | ({"suppressions": [{"kind": "inSource", "justification": waived}]} if waived else {})


def _shown(path: str) -> str:
    """A path as it is seen from here, if it is below."""
    here = f"{os.getcwd()}{os.sep}"
    return path.removeprefix(here)


def _line(word: str, text: str, waived: str) -> None:
    style = STYLES.get(word, "yellow")
    line = Text.assemble((f"{word}: ", style), text)
    _print(line.append(f" [{waived}]", "dim") if waived else line)


def _end(found: Sequence[object], text: str, refused: int) -> None:
    if found:
        _print(Text())
    _print(Text(text, "bold red" if refused else "bold"))


def _print(line: Text) -> None:
    """Coloured on a terminal, plain elsewhere; no line is folded."""
    Console(file=sys.stdout, highlight=False, soft_wrap=True).print(line)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _write(said: Document) -> None:
    sys.stdout.write(json.dumps(said, indent=2, ensure_ascii=False) + "\n")
