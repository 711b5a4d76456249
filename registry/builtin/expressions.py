"""What is wrong with expressions in the fields of built-in kinds: they are compiled where they are stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from registry import cel
from registry.errors import Cause, forbidden, invalid, required

ALTOGETHER = 20_000
"""Characters that the expressions of one object may have together: compiling so many takes up to 0.3 s."""


def expression_causes(
    text: str, variables: Mapping[str, str | cel.Shape], path: str, wanted: Sequence[str] = ("bool",)
) -> tuple[list[Cause], cel.Program | None]:
    """What is wrong with an expression, and the expression if nothing is. `wanted`: see `registry.cel.compile`."""
    if not text.strip():
        return [required(path, "expression is not specified")], None
    try:
        return [], cel.compile(text, variables, wanted)
    except cel.CompileError as error:
        said = str(error)
        return [invalid(path, text, said if said.startswith("must evaluate") else f"compilation failed: {said}")], None


def length_causes(texts: Iterable[str], path: str) -> Iterator[Cause]:
    """Whether expressions are too long together. If they are, none should be compiled."""
    size = sum(map(len, texts))
    if size > ALTOGETHER:
        yield forbidden(path, f"its expressions may have at most {ALTOGETHER} characters together, they have {size}")
