"""What a reader should know first, in sentences, in English and in Chinese: what each step of the family changed.

A step's sentence names the scores whose difference from the parent is real (`harness.leaderboard.changes`), the
largest first. Without any step, one sentence says which checkpoints are the best alone.

Not here: verdicts of a gate in full sentences (`harness.verdicts.wording`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.leaderboard.changes import Change, Step
from harness.leaderboard.table import Table
from harness.reports import numbers_in_words

DETAILED = 3
"""The most scores that a step's sentence names in each direction; of the others it says how many there are."""


class Sentence(NamedTuple):
    """One statement in the page's languages. Names of checkpoints and tasks stand between two backquotes."""

    en: str
    zh: str


def of(table: Table, steps: Sequence[Step]) -> list[Sentence]:
    """Return the sentences of the page, those on the largest changes first."""
    compared = [step for step in steps if step.changes]
    if compared:
        return [_of_step(table, step) for step in sorted(compared, key=_weight, reverse=True)]
    return _of_leaders(table)


def _name(table: Table, row: int) -> str:
    """Return a checkpoint's name without backquotes, which mark where a name begins and ends."""
    return table.rows[row].checkpoint.name.replace("`", "'")


def _weight(step: Step) -> tuple[int, float]:
    """Return a number by which steps with losses come first, then those with the largest changes."""
    real = [change for change in step.changes if change.outcome != "open"]
    return any(change.outcome == "worse" for change in real), max(map(_size, real), default=0.0)


def _size(change: Change) -> float:
    """Return the size of a difference, as a share of its scale."""
    comparison = change.judgement.comparison
    size = abs(comparison.difference)
    return size if comparison.score.fraction else size / (abs(comparison.baseline) or 1.0)


def _of_step(table: Table, step: Step) -> Sentence:
    child, parent = (_name(table, place) for place in (step.edge.child, step.edge.parent))
    real = sorted((change for change in step.changes if change.outcome != "open"), key=_size, reverse=True)
    better = [change for change in real if change.outcome == "better"]
    worse = [change for change in real if change.outcome == "worse"]
    rest = len(step.changes) - len(real)
    english, chinese = [], []
    if better:
        english.append(f"gained {_listed(better, 'of')}")
        chinese.append(f"提高：{_listed_in_chinese(better)}")
    if worse:
        english.append(f"lost {_listed(worse, 'of')}")
        chinese.append(f"下降：{_listed_in_chinese(worse)}")
    if not real:
        count = "its only score" if rest == 1 else f"any of {rest} scores"
        return Sentence(
            f"`{child}` cannot be told apart from `{parent}` on {count}.",
            f"`{child}` 与 `{parent}` 相比，{rest} 项成绩均无法区分。",
        )
    if rest:
        english.append("nothing else can be told apart")
        chinese.append(f"其余 {rest} 项无法区分")
    return Sentence(
        f"`{child}` against `{parent}`: {'; '.join(english)}.", f"`{child}` 与 `{parent}` 相比，{'；'.join(chinese)}。"
    )


def _listed(changes: Sequence[Change], preposition: str) -> str:
    parts = [f"{_points(change)} {preposition} `{change.judgement.score.task}`" for change in changes[:DETAILED]]
    more = len(changes) - DETAILED
    return ", ".join(parts) + (f" and in {numbers_in_words.counted(more, 'more score')}" if more > 0 else "")


def _points(change: Change) -> str:
    score = change.judgement.score
    number = numbers_in_words.change(change.judgement.comparison.difference, score).lstrip("+−")
    return f"{number} points" if score.fraction else number


def _listed_in_chinese(changes: Sequence[Change]) -> str:
    parts = []
    for change in changes[:DETAILED]:
        score = change.judgement.score
        number = numbers_in_words.change(change.judgement.comparison.difference, score).lstrip("+−")
        parts.append(f"`{score.task}` {number}{' 个百分点' if score.fraction else ''}")
    more = len(changes) - DETAILED
    return "、".join(parts) + (f"等（另有 {more} 项）" if more > 0 else "")


def _of_leaders(table: Table) -> list[Sentence]:
    """Return which checkpoints are the best alone in how many columns."""
    contested = [column for column in table.columns if sum(cell is not None for cell in column.cells) > 1]
    if not contested:
        return []
    alone: Counter[str] = Counter()
    for column in contested:
        leading = [number for number, cell in enumerate(column.cells) if cell and cell.leading]
        if len(leading) == 1:
            alone[_name(table, leading[0])] += 1
    total, open_columns = len(contested), len(contested) - sum(alone.values())
    sentences = [
        Sentence(
            f"`{name}` is the best alone on {count} of {numbers_in_words.counted(total, 'score')}.",
            f"在 {total} 项成绩中，`{name}` 有 {count} 项单独居首。",
        )
        for name, count in alone.most_common(DETAILED)
    ]
    if open_columns:
        scores = numbers_in_words.counted(open_columns, "score")
        sentences.append(
            Sentence(
                f"On {scores}, the best cannot be told apart from others.",
                f"另有 {open_columns} 项无法区分谁居首位。",
            )
        )
    return sentences
