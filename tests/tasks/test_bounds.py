"""Chance and ceiling: computed from the documents' choices, stated by a task, and averaged with the scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.reports.report import Report, Score
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.bounds import Bounds, of_task, stated
from harness.tasks.catalogue import Catalogue
from harness.tasks.describe import describe
from support import tiny

UTILS = """import datasets

WORDS = ["甲", "乙乙", "丙", "丁"]


def _made(*documents):
    rows = [{"question": f"第{i}题", "choices": WORDS[:n], "answer": a} for i, (n, a) in enumerate(documents)]
    return {"test": datasets.Dataset.from_list(rows)}


def mixed(**_):
    return _made((2, 0), (3, 1), (4, 2))


def four(**_):
    return _made((4, 3))


def several(**_):
    return _made((4, [0, 2]), (2, [1]))


def half(doc, results):
    return {"acc": 0.5}
"""
CHOICE = """custom_dataset: !function utils.{data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}答："
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
num_fewshot: 0
metric_list: [{metrics}]
metadata: {{version: 1{more}}}
"""
FREE = """custom_dataset: !function utils.four
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}答："
doc_to_target: "{{{{choices[answer]}}}}"
num_fewshot: 0
generation_kwargs: {{until: ["\\n"], max_gen_toks: 2}}
metric_list: [{metrics}]
metadata: {{version: 1{more}}}
"""
GROUP = """group: {name}
task: [{members}]
aggregate_metric_list:
- {{metric: {metric}, aggregation: mean, weight_by_size: {by_size}}}
"""
ACC = "{metric: acc}"
EXACT = "{metric: exact_match, aggregation: mean, higher_is_better: true}"
ERRORS = "{metric: exact_match, aggregation: mean, higher_is_better: false}"
MIXED = (1 / 2 + 1 / 3 + 1 / 4) / 3


def write(folder: Path, name: str, definition: str, **parts: str) -> None:
    text = definition.format(**{"data": "four", "metrics": ACC, "more": "", "name": name} | parts)
    head = "" if text.startswith("group:") else f"task: {name}\n"
    (folder / f"{name}.yaml").write_text(head + text, encoding="utf-8")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "utils.py").write_text(UTILS, encoding="utf-8")
    write(folder, "mixed", CHOICE, data="mixed", metrics=f"{ACC}, {{metric: acc_norm}}, {{metric: exact_match}}")
    write(folder, "four", CHOICE, metrics=f"{ACC}, {{metric: acc_mutual_info}}")
    write(folder, "several", CHOICE, data="several")
    write(folder, "says", CHOICE, more=", chance: 0.3, ceiling: 0.9", metrics=f"{ACC}, {{metric: acc_norm}}")
    write(folder, "half", CHOICE + "process_results: !function utils.half\n")
    write(folder, "free", FREE, metrics=EXACT)
    write(folder, "free_says", FREE, metrics=EXACT, more=", chance: 0.125, ceiling: 1")
    write(folder, "by_task", GROUP, members="mixed, four", metric="acc", by_size="false")
    write(folder, "by_sample", GROUP, members="mixed, four", metric="acc", by_size="true")
    write(folder, "lacking", GROUP, members="free, free_says", metric="exact_match", by_size="false")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("base"))


def evaluated(base: Path, tasks: Path, output: Path, *names: str, **changes: Any) -> Report:
    [report] = run([parse(str(base))], Options(tasks=names, output=output, include=(tasks,), **changes))
    return report


@pytest.fixture(scope="module")
def scores(base: Path, tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Score]:
    names = ("by_task", "by_sample", "several", "says", "half", "lacking")
    report = evaluated(base, tasks, tmp_path_factory.mktemp("reports"), *names)
    return {(score.task, score.metric): score for score in report.manifest.scores}


def bounds(score: Score) -> tuple[float | None, float | None]:
    return score.chance, score.ceiling


@pytest.mark.parametrize(
    ("task", "metric", "chance"),
    [
        ("mixed", "acc", MIXED),
        ("mixed", "acc_norm", MIXED),
        ("mixed", "exact_match", None),
        ("four", "acc", 1 / 4),
        ("four", "acc_mutual_info", 1 / 4),
        ("several", "acc", (2 / 4 + 1 / 2) / 2),
        ("half", "acc", None),
        ("free", "exact_match", None),
    ],
)
def test_chance_is_the_score_of_a_uniform_guess(scores: Any, task: str, metric: str, chance: float | None) -> None:
    assert bounds(scores[task, metric]) == (chance and pytest.approx(chance), None)


def test_chance_is_computed_from_the_evaluated_documents(base: Path, tasks: Path, tmp_path: Path) -> None:
    report = evaluated(base, tasks, tmp_path, "mixed", limit=2)
    assert report.manifest.scores[0].chance == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_stated_bounds_take_precedence(scores: Any) -> None:
    assert bounds(scores["says", "acc"]) == (0.3, 0.9)
    assert bounds(scores["says", "acc_norm"]) == (0.3, None)
    assert bounds(scores["free_says", "exact_match"]) == (0.125, 1.0)


def test_an_averages_chance_has_the_weights_of_its_scores(scores: Any) -> None:
    assert bounds(scores["by_task", "acc"]) == (pytest.approx((MIXED + 1 / 4) / 2), None)
    assert bounds(scores["by_sample", "acc"]) == (pytest.approx((3 * MIXED + 1 / 4) / 4), None)


def test_an_average_over_a_task_without_chance_has_none(scores: Any) -> None:
    assert bounds(scores["lacking", "exact_match"]) == (None, None)


@pytest.mark.parametrize(
    ("definition", "metrics", "more", "message"),
    [
        (CHOICE, ACC, "chance: 25%", r"metadata.chance is '25%', which is not a number: write it in the unit of acc"),
        (CHOICE, ACC, "ceiling: true", r"metadata.ceiling is True, which is not a number"),
        (CHOICE, ACC, "chance: .nan", r"metadata.chance is nan, which is not a number"),
        (CHOICE, ACC, "chance: 25", r"metadata.chance is 25, but acc lies between 0 and 1: write a fraction, such as"),
        (CHOICE, ACC, "chance: 0.9, ceiling: 0.9", r"more acc is better: write a chance below the ceiling"),
        (FREE, ERRORS, "chance: 0.1, ceiling: 0.9", r"less exact_match is better: write a chance above the ceiling"),
    ],
)
def test_impossible_bounds_are_refused_before_the_run(
    base: Path, tasks: Path, tmp_path: Path, definition: str, metrics: str, more: str, message: str
) -> None:
    (tmp_path / "utils.py").write_text(UTILS, encoding="utf-8")
    write(tmp_path, "wrong", definition, metrics=metrics, more=f", {more}")
    with pytest.raises(HarnessError, match=rf"^task wrong: .*{message}") as error:
        evaluated(base, tmp_path, tmp_path / "out", "wrong")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(HarnessError, match="task wrong"):
        describe("wrong", None, (tmp_path,))


def test_the_ceiling_lies_below_chance_if_less_is_better(tmp_path: Path) -> None:
    (tmp_path / "utils.py").write_text(UTILS, encoding="utf-8")
    write(tmp_path, "errors", FREE, metrics=ERRORS, more=", chance: 0.75, ceiling: 0")
    task = Catalogue([tmp_path]).load(["errors"]).tasks["errors"]
    assert stated(task) == Bounds(0.75, 0.0)


def test_a_description_shows_stated_bounds(tasks: Path) -> None:
    assert describe("says", None, (tasks,)).facts.items() >= {"chance": "30 %", "ceiling": "90 %"}.items()
    assert "chance" not in describe("free", None, (tasks,)).facts


def test_bits_per_character_have_no_bounds(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("春天来了。", encoding="utf-8")
    (task,) = Catalogue().load([f"ppl:{tmp_path / 'text.txt'}"]).tasks.values()
    rows = [{"filter": "none", "bits_per_character": (3.0, 5), "bits_per_byte": (3.0, 15), "responses": ["-2"]}]
    assert of_task(task, rows) == {}
