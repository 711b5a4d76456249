"""A log that is kept, for tests to read."""

from __future__ import annotations

from typing import Any, NamedTuple


class Line(NamedTuple):
    """What was logged: its level (`debug`, `info`, `warning`, `error`), the event in a few words, and its facts."""

    level: str
    event: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return " ".join([f"{self.level}: {self.event}", *(f"{name}={value}" for name, value in self.facts.items())])


class Lines:
    """A structured logger that keeps its lines. `bind` makes one that adds facts, and has the same lines."""

    def __init__(self, lines: list[Line] | None = None, **facts: Any) -> None:
        self.lines: list[Line] = [] if lines is None else lines
        self._facts = facts

    def bind(self, **facts: Any) -> Lines:
        """A logger that says these facts each time."""
        return Lines(self.lines, **(self._facts | facts))

    def debug(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._line("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._line("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._line("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self._line("error", event, fields)

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append(Line(level, event, self._facts | fields))
