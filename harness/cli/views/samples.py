"""How samples look in a terminal: prompt, expected answer, response, what was read from it, and scores."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.text import Text

from harness.common import console, terminal
from harness.common.console import Console, escape
from harness.reports.report import SAMPLE_COLUMNS, Report, Score

PROMPT_LINES = 12
ANSWER_LINES = 12

Sample = Mapping[Hashable, Any]
"""A row of a report's samples, by column."""


def show_samples(report: Report, which: str, task: str | None, limit: int) -> None:
    """Print at most `limit` samples per task: those `wrong` or `right` by the primary metric, or `all`."""
    out = console.create()
    for name in [task] if task else report.manifest.tasks:
        rows = report.samples(name)
        score = next((score for score in report.manifest.scores if score.task == name and score.primary), None)
        if score is None or score.metric not in rows:
            out.print(f"{escape(name)}: no score per sample", highlight=False)
            continue
        rows = rows[rows["filter"] == score.filter]
        metrics = _metrics_per_sample(report, name, rows)
        selected = _select(rows, score, which) if score.metric in metrics else None
        if selected is None:
            out.print(f"{escape(name)}: {escape(score.metric)} calls no sample right or wrong", highlight=False)
            selected = rows
        title = f"{len(rows):,} samples"
        if len(selected) < len(rows) or which != "all":
            title = f"{len(selected):,} of {len(rows):,} samples are {which}"
        out.rule(f"{escape(name)}: {title}")
        for sample in selected.head(limit).to_dict("records"):
            _show(out, sample, metrics)
        if len(selected) > limit:
            out.print(f"… {len(selected) - limit:,} more: raise --limit to see them", highlight=False)


def _metrics_per_sample(report: Report, task: str, rows: pd.DataFrame) -> list[str]:
    """Return the metrics that have a value per sample: numbers, and pairs whose sums make a ratio."""
    columns = [column for column in rows.columns if column not in SAMPLE_COLUMNS.names]
    pairs = {
        score.metric for score in report.manifest.scores if score.task == task and score.aggregation in (None, "ratio")
    }
    return [column for column in columns if rows[column].dtype.kind == "f" or column in pairs]


def _select(rows: pd.DataFrame, score: Score, which: str) -> pd.DataFrame | None:
    """Return the samples that are `which` (wrong or right), or None if the metric calls no sample right or wrong."""
    values = rows[score.metric].map(value)
    if values.isna().all() or not score.fraction:
        return None
    right = values >= 1 if score.higher_is_better else values <= 0
    scored = values.notna()
    return {"right": rows[right & scored], "wrong": rows[~right & scored], "all": rows}[which]


def _show(out: Console, sample: Sample, metrics: Sequence[str]) -> None:
    show_question(out, sample)
    show_answer(out, "answered", sample)
    scores = [f"[bold]{escape(name)}[/] {text}" for name in metrics if (text := _score_text(sample[name]))]
    out.print("   ".join(scores) + "\n", highlight=False)


def show_question(out: Console, sample: Sample, remark: str = "") -> None:
    """Print a sample's document number, a `remark` (rich markup), the end of its prompt, and the expected answer."""
    out.print(f"[bold]document {sample['doc_id']}[/]{remark}", highlight=False)
    lines = str(sample["prompt"]).splitlines()
    hidden = len(lines) - PROMPT_LINES
    if hidden > 0:
        out.print(f"[dim]… {hidden} lines before[/]", highlight=False)
    out.print("\n".join(lines[-PROMPT_LINES:]), markup=False, highlight=False, soft_wrap=True)
    _line(out, "expected", str(sample["target"]))


def show_answer(out: Console, title: str, sample: Sample) -> None:
    """Print a sample's response under `title`, and the prediction read from the response if the two differ."""
    prediction, responses = str(sample["prediction"]), sample["responses"]
    response = prediction if responses is None or not len(responses) else str(responses[0])
    _line(out, title, _cut(response))
    if prediction.strip() != response.strip():
        _line(out, "read as", _cut(prediction))


def _line(out: Console, title: str, text: str) -> None:
    # Not as markup, which rich reads in quadratic time: an answer may be one mark ten thousand times.
    out.print(Text.assemble((title, "bold"), f" {terminal.lines(text)}"), highlight=False, soft_wrap=True)


def _cut(text: str) -> str:
    """Return the first `ANSWER_LINES` lines of `text`, and a note on how many more there are."""
    lines = text.splitlines()
    more = len(lines) - ANSWER_LINES
    return "\n".join(lines[:ANSWER_LINES]) + f"\n… {more} more lines" if more > 0 else text


def _score_text(cell: object) -> str:
    """Return a sample's score as text: a dash for a ratio with denominator 0, empty if the sample has no score."""
    number = value(cell)
    if number != number:
        return ""
    return "–" if isinstance(cell, str) and not json.loads(cell)[1] else f"{number:.4g}"


def value(cell: Any) -> float:
    """Return a sample's score as a number.

    A ratio, stored as [numerator, denominator], is divided; it is 1 if the denominator is 0. The result is NaN if the
    sample has no score, because the metric leaves this sample out or is defined only over all samples together.
    """
    if isinstance(cell, str):  # sufficient statistics are stored as JSON
        parts = json.loads(cell)
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, int | float) for part in parts):
            return float("nan")
        return float(parts[0] / parts[1]) if parts[1] else 1.0
    return float("nan") if cell is None else float(cell)
