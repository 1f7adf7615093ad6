"""How samples look in a terminal: what was asked, expected, answered, understood, and scored."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from harness.cli.views.tables import console
from harness.reports.report import SAMPLE_COLUMNS, Report, Score

PROMPT_LINES = 12
ANSWER_LINES = 12
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Sample = Mapping[Hashable, Any]


def show_samples(report: Report, which: str, task: str | None, limit: int) -> None:
    """Print samples that are `wrong`, `right` or `all`, by each task's first metric (1 is right)."""
    out = console()
    for name in [task] if task else report.manifest.tasks:
        rows = report.samples(name)
        score = next((s for s in report.manifest.scores if s.task == name and s.primary), None)
        if score is None or score.metric not in rows:
            out.print(f"{escape(name)}: has no score a sample", highlight=False)
            continue
        rows = rows[rows["filter"] == score.filter]
        chosen = _chosen(rows, score, which) if score.metric in _readable(report, name, rows) else None
        if chosen is None:
            out.print(f"{escape(name)}: by {escape(score.metric)} no sample is right or wrong", highlight=False)
            chosen = rows
        counted = f"{len(rows):,} samples"
        if len(chosen) < len(rows) or which != "all":
            counted = f"{len(chosen):,} of {len(rows):,} samples are {which}"
        out.rule(f"{escape(name)}: {counted}")
        metrics = _readable(report, name, rows)
        for sample in chosen.head(limit).to_dict("records"):
            _show(out, sample, metrics)
        if len(chosen) > limit:
            out.print(f"… {len(chosen) - limit:,} more: --limit shows them", highlight=False)


def _readable(report: Report, task: str, rows: pd.DataFrame) -> list[str]:
    """Return the metrics of which a sample has a value of its own: pairs are one if their sums make a ratio."""
    found = {column: rows[column].dtype.kind == "f" for column in rows.columns if column not in SAMPLE_COLUMNS.names}
    pairs = {s.metric for s in report.manifest.scores if s.task == task and s.aggregation in (None, "ratio")}
    return [metric for metric, is_number in found.items() if is_number or metric in pairs]


def _chosen(rows: pd.DataFrame, score: Score, which: str) -> pd.DataFrame | None:
    """Return the samples that are `which`, or None where the metric calls no sample right or wrong."""
    values = rows[score.metric].map(value)
    if values.isna().all() or not score.fraction:
        return None
    right = values >= 1 if score.higher_is_better else values <= 0
    counts = values.notna()
    return {"right": rows[right & counts], "wrong": rows[~right & counts], "all": rows}[which]


def _show(out: Console, sample: Sample, metrics: Sequence[str]) -> None:
    show_question(out, sample)
    show_answer(out, "answered", sample)
    told = [f"[bold]{escape(name)}[/] {text}" for name in metrics if (text := _told(sample[name]))]
    out.print("   ".join(told) + "\n", highlight=False)


def show_question(out: Console, sample: Sample, remark: str = "") -> None:
    """Print which document it is, with a `remark` in markup; the end of what was asked; what was expected."""
    out.print(f"[bold]document {sample['doc_id']}[/]{remark}", highlight=False)
    lines = str(sample["prompt"]).splitlines()
    hidden = len(lines) - PROMPT_LINES
    if hidden > 0:
        out.print(f"[dim]… {hidden} lines before[/]", highlight=False)
    out.print(_plain("\n".join(lines[-PROMPT_LINES:])), markup=False, highlight=False, soft_wrap=True)
    _line(out, "expected", str(sample["target"]))


def show_answer(out: Console, title: str, sample: Sample) -> None:
    """Print what was said, and what that was read as where it is not the same."""
    prediction, responses = str(sample["prediction"]), sample["responses"]
    said = prediction if responses is None or not len(responses) else str(responses[0])
    _line(out, title, _cut(said))
    if prediction.strip() != said.strip():
        _line(out, "read as", _cut(prediction))


def _line(out: Console, title: str, text: str) -> None:
    out.print(f"[bold]{escape(title)}[/] {escape(_plain(text))}", highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Return text without what a terminal would obey."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def _cut(text: str) -> str:
    lines = text.splitlines()
    more = len(lines) - ANSWER_LINES
    return "\n".join(lines[:ANSWER_LINES]) + f"\n… {more} more lines" if more > 0 else text


def _told(given: Any) -> str:
    """Return a sample's score for people, a dash where it is a share of nothing; empty where it has none."""
    number = value(given)
    if number != number:
        return ""
    return "–" if isinstance(given, str) and not json.loads(given)[1] else f"{number:.4g}"


def value(given: Any) -> float:
    """Return a sample's score; of its part in a ratio [numerator, denominator], the share, 1 where nothing counts.

    NaN where it has none: the metric leaves it out, or is one of the whole.
    """
    if isinstance(given, str):  # sufficient statistics are stored as JSON
        parts = json.loads(given)
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, int | float) for part in parts):
            return float("nan")
        return float(parts[0] / parts[1]) if parts[1] else 1.0
    return float("nan") if given is None else float(given)
