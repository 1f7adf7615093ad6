"""Which checkpoint of a leaderboard descends from which.

A checkpoint that `harness train` made names its parent by fingerprint. A quantised copy descends from the checkpoint
with the same weights that is not quantised. For other checkpoints, a file says it (`--lineage`):

    sft: cpt                                    # child: parent, by their names on the page
    lora: {parent: sft, corpora: [law, chat]}   # also what it learned from

Not here: how a training is recorded (`harness.checkpoints.history`), or what a step changed
(`harness.leaderboard.changes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from harness.common import safe_load, validation
from harness.common.validation import Strict
from harness.errors import HarnessError, did_you_mean
from harness.leaderboard.table import Row

Relation = Literal["trained", "quantised", "stated"]


class Stated(Strict):
    """What a file says about one checkpoint."""

    parent: str | None = None
    corpora: tuple[str, ...] = ()


class Edge(NamedTuple):
    """A step of the family: `child` was made from `parent`; both are numbers of rows."""

    parent: int
    child: int
    relation: Relation


def read(file: Path) -> dict[str, Stated]:
    """Return what the YAML `file` says about checkpoints, by name. Raises HarnessError if it is not as above."""
    content = safe_load.settings_file(file, "lineage", "--lineage")
    if not isinstance(content, dict):
        raise HarnessError(f"the lineage {file} does not map checkpoints to parents: write, for example, 'sft: cpt'")
    whole = {name: {"parent": entry} if isinstance(entry, str) else entry for name, entry in content.items()}
    try:
        return TypeAdapter(dict[str, Stated]).validate_python(whole)
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"the lineage {file} cannot be used: {problem.path}: {problem.message}") from error


def edges(rows: Sequence[Row], stated: Mapping[str, Stated]) -> list[Edge]:
    """Return the steps between the checkpoints in `rows`, in the order of the children.

    What is `stated` comes before what reports say. Raises HarnessError if it names a checkpoint that is not in `rows`
    or is there twice, or if a checkpoint would descend from itself.
    """
    names = {name for child, entry in stated.items() for name in (child, entry.parent) if name is not None}
    places = {name: _place(rows, name) for name in sorted(names)}
    steps: list[Edge] = []
    for number, row in enumerate(rows):
        entry = stated.get(row.checkpoint.name)
        if entry is not None and places[row.checkpoint.name] == number and entry.parent is not None:
            steps.append(Edge(places[entry.parent], number, "stated"))
        elif (edge := _original(rows, number) or _trained_from(rows, number)) is not None:
            steps.append(edge)
    _require_no_circle(rows, steps)
    return steps


def _place(rows: Sequence[Row], name: str) -> int:
    places = [number for number, row in enumerate(rows) if row.checkpoint.name == name]
    if len(places) == 1:
        return places[0]
    if places:
        raise HarnessError(f"--lineage names '{name}', which {len(places)} checkpoints are called: give them names")
    known = [row.checkpoint.name for row in rows]
    raise HarnessError(f"--lineage names '{name}', which is no checkpoint of the reports{did_you_mean(name, known)}")


def _original(rows: Sequence[Row], number: int) -> Edge | None:
    """Return the step from the checkpoint of which `rows[number]` is a quantised copy; None if it is none."""
    info = rows[number].checkpoint
    if info.quantization is None:
        return None
    for place, row in enumerate(rows):
        other = row.checkpoint
        is_same = (other.base, other.adapter, _stage(row)) == (info.base, info.adapter, _stage(rows[number]))
        if is_same and other.quantization is None and other.kind != "recorded":
            return Edge(place, number, "quantised")
    return None


def _stage(row: Row) -> tuple[str, str] | None:
    training = row.checkpoint.training
    return None if training is None else (training.recipe, training.stage)


def _trained_from(rows: Sequence[Row], number: int) -> Edge | None:
    training = rows[number].checkpoint.training
    if training is None:
        return None
    for place, row in enumerate(rows):
        if place != number and row.checkpoint.fingerprint == training.parent_fingerprint:
            return Edge(place, number, "trained")
    return None


def _require_no_circle(rows: Sequence[Row], steps: Sequence[Edge]) -> None:
    parents = {edge.child: edge.parent for edge in steps}
    for child in parents:
        above, place = {child}, parents.get(child)
        while place is not None:
            if place in above:
                name = rows[place].checkpoint.name
                raise HarnessError(f"by --lineage, '{name}' descends from itself: correct the file")
            above.add(place)
            place = parents.get(place)
