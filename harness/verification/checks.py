"""The result of verifying a report: checks, each of which holds, does not hold, or could not be made.

Not here: the checks themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Result = Literal["holds", "does not hold", "could not be checked"]
HOLDS: Result = "holds"
FAILS: Result = "does not hold"
UNKNOWN: Result = "could not be checked"

RELATIVE = 1e-9
"""The relative difference below which two numbers count as equal: other versions of numpy may round differently."""
ABSOLUTE = 1e-12


class Check(NamedTuple):
    """One claim of a report, compared with what was computed again."""

    name: str
    """The claim: `files`, `samples`, `averages`, `documents`, `prompts`, `scores`, `checkpoint`, …"""
    task: str | None
    """The task or average; None for the whole report."""
    result: Result
    detail: str
    """What was compared, what differs (the first example by name), or why it could not be checked."""


@dataclass(frozen=True)
class Verification:
    """All checks of one report."""

    folder: Path
    checkpoint: str
    """The name of the checkpoint; empty if the manifest cannot be read."""
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether everything that could be checked holds."""
        return not any(check.result == FAILS for check in self.checks)

    def count(self, result: Result) -> int:
        """Return the number of checks with this result."""
        return sum(check.result == result for check in self.checks)


def concluded(name: str, task: str | None, problems: Sequence[str], detail: str) -> Check:
    """Return a check that holds, with `detail`, if there are no `problems`. Otherwise it states the first problem."""
    if not problems:
        return Check(name, task, HOLDS, detail)
    others = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return Check(name, task, FAILS, f"{problems[0]}{others}")


def equal(first: object, second: object) -> bool:
    """Return whether two values of JSON are the same, numbers within `RELATIVE`."""
    if isinstance(first, bool) or isinstance(second, bool) or first is None or second is None:
        return first is second or (first == second and None not in (first, second))
    if isinstance(first, int | float) and isinstance(second, int | float):
        both_nan = math.isnan(first) and math.isnan(second)
        return both_nan or math.isclose(first, second, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(equal(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def different_fields(claimed: Mapping[str, Any], computed: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words each entry of `computed` that `claimed` states differently."""
    for name, value in computed.items():
        if not equal(claimed.get(name), value):
            before, after = shown_apart(claimed.get(name), value)
            yield f"{name} is {before} in the report, {after} computed again"


def shown_apart(first: object, second: object) -> tuple[str, str]:
    """Return two different values in a few words each, which differ."""
    if shown(first) != shown(second):
        return shown(first), shown(second)
    texts = str(first), str(second)
    pairs = enumerate(zip(*texts, strict=False))
    equal_letters = next((place for place, (one, other) in pairs if one != other), 0)
    start = max(equal_letters - 20, 0) if equal_letters > 40 else 0
    ellipsis = "…" if start else ""
    return f"{ellipsis}{shown(texts[0][start:])}", f"{ellipsis}{shown(texts[1][start:])}"


def shown(value: object) -> str:
    """Return a value in a few words."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
