"""The texts of samples for the site: prompts and expected answers once for each class, answers for each checkpoint.

Texts are written in parts of about `PART` characters, which the page loads when it shows them. What an earlier build
wrote from the same report is used again without reading the report's texts.

Not here: values by document (`harness.leaderboard.vectors`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from harness.common import atomic_write, safe_load
from harness.leaderboard.chunks import FOLDER, Chunks
from harness.leaderboard.vectors import Side, Unit, Values
from harness.reports.report import MANIFEST
from harness.reports.sums import SUMS

Which = Literal["none", "flips", "all"]
PART = 1_000_000
"""Characters of text in one file."""
BUILT = "built.json"
"""In the data folder: which files hold the texts of which report, for the next build."""
_QUESTION = ("prompt", "target", "choices")
_ANSWER = ("responses", "prediction", "logprobs", "endings")
Mask = npt.NDArray[np.bool_]


class Texts:
    """Writes texts of samples into the data of a site."""

    def __init__(self, chunks: Chunks, site: Path, which: Which) -> None:
        self._chunks, self._file, self._which = chunks, site / FOLDER / BUILT, which
        self._before = _read(self._file)
        self._now: dict[str, Any] = {}

    def questions(self, unit: Unit, metrics: Mapping[str, Values], primary: str | None) -> list[Any]:
        """Return for each class of `unit` where its questions are: pairs of first row and document."""
        return [
            self._parts(members[0], unit, _QUESTION, self._mask(unit, members, metrics, primary))
            for members in unit.classes
        ]

    def answers(self, unit: Unit, metrics: Mapping[str, Values], primary: str | None) -> dict[int, Any]:
        """Return for each row of the table where its answers to `unit` are."""
        return {
            side.row: self._parts(side, unit, _ANSWER, self._mask(unit, members, metrics, primary))
            for members in unit.classes
            for side in members
        }

    def finish(self) -> None:
        """Remember what was written, for the next build. Raises OSError."""
        if self._now:
            with atomic_write.file(self._file, tag="new") as hidden:
                hidden.write_text(json.dumps(self._now, sort_keys=True) + "\n", encoding="utf-8")
        else:
            self._file.unlink(missing_ok=True)

    def _mask(self, unit: Unit, members: Sequence[Side], metrics: Mapping[str, Values], primary: str | None) -> Mask:
        """Return which rows of a class are shown: all, none, or those whose score is not the same for all."""
        count = members[0].table.num_rows
        if self._which != "flips":
            return np.full(count, self._which == "all")
        values = metrics[primary].sides if primary is not None and primary in metrics else []
        sides = [values[unit.sides.index(side)] for side in members] if values else []
        differing = np.zeros(count, dtype=np.bool_)
        for side in sides[1:]:
            differing |= np.array([a != b for a, b in zip(side or (), sides[0] or (), strict=False)] or [False] * count)
        return differing

    def _parts(self, side: Side, unit: Unit, columns: Sequence[str], mask: Mask) -> list[list[Any]]:
        if not mask.any():
            return []
        key = _key(side, unit, columns, mask)
        before = self._before.get(key)
        if isinstance(before, list) and all(self._chunks.keep(name) for _, name in before):
            self._now[key] = before
            return before
        self._now[key] = self._written(side, unit, columns, mask)
        return list(self._now[key])

    def _written(self, side: Side, unit: Unit, columns: Sequence[str], mask: Mask) -> list[list[Any]]:
        table = side.report.table(unit.task, ["filter", *columns])
        table = table.filter(pc.equal(table["filter"], unit.filter)).drop_columns(["filter"])
        rows = [row if is_shown else None for row, is_shown in zip(_rows(table, columns), mask.tolist(), strict=True)]
        parts, start, size = [], 0, 0
        for place, row in enumerate(rows):
            size += 0 if row is None else sum(map(_length, row))
            if size >= PART or place == len(rows) - 1:
                document = {"columns": list(columns), "rows": rows[start : place + 1]}
                parts.append([start, self._chunks.add(document)])
                start, size = place + 1, 0
        return parts


def _rows(table: Any, columns: Sequence[str]) -> list[list[Any]]:
    listed = [table[name].to_pylist() for name in columns]
    return [list(row) for row in zip(*listed, strict=True)]


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_length, value)) if isinstance(value, list) else 8


def _key(side: Side, unit: Unit, columns: Sequence[str], mask: Mask) -> str:
    """Return a digest of all that decides the texts of a unit in a report."""
    digest = hashlib.sha256(repr((unit.task, unit.filter, *columns)).encode("utf-8", "replace"))
    digest.update(mask.tobytes())
    for name in (MANIFEST, SUMS):
        file = side.report.folder / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:24]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = safe_load.json_file(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
