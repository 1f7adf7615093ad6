"""A mirror that is half there, renamed or damaged: one sentence names the file or column, and what helps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import mirrors
import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError
from harness.runs.describe import summaries

LETTERED = {**dict(zip("ABCD", ("甲", "乙", "丙", "丁"), strict=True)), "answer": "A", "explanation": "1. 因为。"}
EXAM = [{"id": i, "question": f"第{i}问", **LETTERED} for i in range(5)]
MMLU = [{"question": f"q{i}", "choices": list("abcd"), "answer": 1} for i in range(5)]
SUMS = [{"question": f"{i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1}"} for i in range(9)]
PAIRS = [{"sentence1": "下雨了", "sentence2": "天晴", "label": 2, "idx": i} for i in range(3)]
TALKS = [
    {"id": i, "context": ["男：你好"], "question": "谁？", "choice": ["甲", "乙"], "answer": "甲"} for i in range(3)
]
PIQA = [{"goal": "拧紧螺丝", "sol1": "用螺丝刀", "sol2": "用勺子", "label": 0}]
# task: data set, configuration, splits, the one that is asked, and the columns of it that are read
TASKS: dict[str, tuple[str, str, dict[str, list[dict[str, Any]]], str, str]] = {
    "ceval_law": (
        "ceval/ceval-exam",
        "law",
        {"dev": EXAM, "val": EXAM, "test": EXAM},
        "val",
        "question A B C D answer",
    ),
    "ceval_test_law": ("ceval/ceval-exam", "law", {"dev": EXAM, "val": EXAM, "test": EXAM}, "test", "question A B C D"),
    "ceval_cot_law": (
        "ceval/ceval-exam",
        "law",
        {"dev": EXAM, "val": EXAM, "test": EXAM},
        "val",
        "question A B C D answer",
    ),
    "ceval_gen_law": ("ceval/ceval-exam", "law", {"dev": EXAM, "val": EXAM, "test": EXAM}, "val", "question A answer"),
    "ceval_gen_cot_law": (
        "ceval/ceval-exam",
        "law",
        {"dev": EXAM, "val": EXAM, "test": EXAM},
        "val",
        "explanation answer",
    ),
    "mmlu_anatomy": ("cais/mmlu", "anatomy", {"dev": MMLU, "test": MMLU}, "test", "question choices answer"),
    "mmlu_hendrycks_anatomy": ("cais/mmlu", "anatomy", {"dev": MMLU, "test": MMLU}, "test", "question choices answer"),
    "gsm8k_fixed": ("openai/gsm8k", "main", {"train": SUMS, "test": SUMS}, "test", "question answer"),
    "cmnli": ("clue/clue", "cmnli", {"validation": PAIRS}, "validation", "sentence1 sentence2 label"),
    "c3_ppl": ("clue/clue", "c3", {"validation": TALKS}, "validation", "context question choice answer"),
    "c3_gen": ("clue/clue", "c3", {"validation": TALKS}, "validation", "context question choice answer"),
    "piqa": ("baber/piqa", "default", {"validation": PIQA}, "validation", "goal label"),
}


COLUMNS = [(name, column) for name, (*_, columns) in TASKS.items() for column in columns.split()]


def mirror(name: str, folder: Path) -> Path:
    """Write a mirror that task `name` can be built on, and return the file its documents are in."""
    dataset, config, splits, asked, _ = TASKS[name]
    mirrors.write(folder, dataset, config, **splits)
    mirrors.task(name, folder)  # nothing is wrong yet
    return folder / dataset / config / f"{asked}-00000-of-00001.parquet"


def complaint(name: str, folder: Path) -> str:
    with pytest.raises(HarnessError) as told:
        mirrors.requests(mirrors.task(name, folder))
    dataset = TASKS[name][0]
    assert f"'hf download --repo-type dataset {dataset} --local-dir {folder}/{dataset}'" in str(told.value)
    return str(told.value)


def listed(folder: Path) -> dict[str, str]:
    return {line.name: line.at_hand for line in summaries(folder)}


def test_what_is_at_hand_is_told_by_files_and_an_empty_folder_hides_nothing(tmp_path: Path) -> None:
    mirror("ceval_law", tmp_path)
    assert listed(tmp_path)["ceval"] == "1 of 52"
    assert listed(tmp_path)["cmnli"].startswith("no: hf download")
    file = mirror("cmnli", tmp_path)
    assert listed(tmp_path)["cmnli"] == "yes"
    file.unlink()
    (tmp_path / "clue/clue/ocnli").mkdir()
    assert listed(tmp_path)["cmnli"].startswith(f"no: {tmp_path}/clue/clue holds no data: remove it, or fill it with")
    assert listed(tmp_path)["ceval"] == "1 of 52"
    (tmp_path / "ceval/ceval-exam/README.md").unlink()
    assert listed(tmp_path)["ceval"] == "1 of 52"
    assert "lacks the README.md that says which files are 'law'" in complaint("ceval_law", tmp_path)


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_renamed_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    for one in mirror(name, tmp_path).parent.iterdir():
        table = pq.read_table(one)
        pq.write_table(table.rename_columns([f"old_{x}" if x == column else x for x in table.column_names]), one)
    assert re.search(f"has no (split or )?column '{column}'", complaint(name, tmp_path))


def test_a_renamed_choice_of_a_template_without_names_is_told_all_the_same(tmp_path: Path) -> None:
    """What lm-eval says of piqa's own `{{[sol1, sol2]}}` names no column."""
    file = mirror("piqa", tmp_path)
    table = pq.read_table(file)
    pq.write_table(table.rename_columns(["sol" if x == "sol1" else x for x in table.column_names]), file)
    assert "if its columns are others, fetch it anew" in complaint("piqa", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_split_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.unlink()
    only = len(list(file.parent.iterdir())) == 0
    assert ("holds no data" if only else f"{file.relative_to(tmp_path)}") in complaint(name, tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file} is damaged" in complaint(name, tmp_path)
