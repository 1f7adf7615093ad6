"""`make oracle`: published answers, scored by `harness score`, beside the published scores; and what repair changes."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from statistics import fmean

import pytest

from harness.reports.report import Report
from support import measured
from support.rescored import Rescored
from tolerances import PUBLISHED_SCORE

pytestmark = [pytest.mark.oracle, pytest.mark.data]

UNPUBLISHED = ("2-9", "2-10")
PROOFREADING = "2-1"
"""Scored with tables of alike characters upstream, without them here (`tests/metrics/lawbench/test_published.py`)."""
REPORT = Path(__file__).resolve().parents[2] / "reports" / f"{date.today():%Y-%m-%d}-published-answers.md"
HEAD = """# Published answers, scored again, {today}

Made by `make oracle`. {versions}; Python {python} on {machine}.

The answers that open-compass/LawBench publishes of ten models, zero-shot, scored by one command:

    harness score --predictions predictions/lawbench-zero-shot

It took {seconds:.0f} s in one process. Equal means: score and abstention rate differ from the published
results.csv by less than {tolerance:g}. 2-9 and 2-10 are not published; 2-1 is scored without upstream's tables of alike
characters, so it is near and not equal. Scores are from 0 to 100.

| model | tasks equal | largest difference | 2-1, published | 2-1, here | 2-1 without template marks |
|---|---|---|---|---|---|
{models}

Where upstream's metric misreads answers, `score_repaired` stands beside `score`. Means over the ten models, and the
model for which most changes:

| task | published | repaired | most for | published | repaired |
|---|---|---|---|---|---|
{repaired}
"""


def test_lawbenchs_published_answers_give_its_published_scores(data: Path, lawbench: Rescored) -> None:
    with (data / "predictions" / "lawbench-zero-shot-results.csv").open(encoding="utf-8") as file:
        published = {
            (row["model_name"], row["task"]): (float(row["score"]), float(row["abstention_rate"]))
            for row in csv.DictReader(file)
            if row["task"] not in UNPUBLISHED
        }
    by_model = {report.manifest.checkpoint.name: _values(report) for report in lawbench.reports}
    assert {model for model, _ in published} == set(by_model)
    models = []
    for model, values in by_model.items():
        differences = []
        for (_, task), (points, abstention) in ((key, value) for key, value in published.items() if key[0] == model):
            here = values[task]
            if task != PROOFREADING:
                differences += [abs(here["score"] - points), abs(here["abstention"] - abstention)]
        assert len(differences) == 2 * (20 - len(UNPUBLISHED) - 1)
        assert max(differences) < PUBLISHED_SCORE, model
        proofread = (published[model, PROOFREADING][0], *(values[PROOFREADING][name] for name in _BOTH))
        near = " | ".join(f"{100 * value:.2f}" for value in proofread)
        models.append(f"| {model} | {len(differences) // 2} | {max(differences):.0e} | {near} |")
    REPORT.write_text(
        HEAD.format(
            **measured.on("jieba", "cn2an", "lm_eval"),
            seconds=lawbench.seconds,
            tolerance=PUBLISHED_SCORE,
            models="\n".join(models),
            repaired="\n".join(_repaired(by_model)),
        ),
        encoding="utf-8",
    )


_BOTH = ("score", "score_repaired")


def _values(report: Report) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for score in report.manifest.scores:
        values.setdefault(score.task.removeprefix("lawbench_").replace("_", "-"), {})[score.metric] = score.value
    return values


def _repaired(by_model: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    first = next(iter(by_model.values()))
    rows = []
    for task in (name for name in first if "score_repaired" in first[name] and name != PROOFREADING):
        both: dict[str, tuple[float, float]] = {
            model: (values[task]["score"], values[task]["score_repaired"]) for model, values in by_model.items()
        }
        changes = {model: abs(after - before) for model, (before, after) in both.items()}
        most = max(changes, key=changes.__getitem__)
        numbers = [fmean(pair[0] for pair in both.values()), fmean(pair[1] for pair in both.values()), *both[most]]
        mean, repaired, before, after = (f"{100 * number:.1f}" for number in numbers)
        rows.append(f"| {task} | {mean} | {repaired} | {most} | {before} | {after} |")
    return rows
