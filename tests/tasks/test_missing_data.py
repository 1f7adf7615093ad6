"""A mirror that is half there, renamed or damaged: one sentence names the file or column, and what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mirrors
import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError

LETTERED = {**dict(zip("ABCD", ("甲", "乙", "丙", "丁"), strict=True)), "answer": "A", "explanation": "1. 因为。"}
EXAM = [{"id": i, "question": f"第{i}问", **LETTERED} for i in range(5)]
MMLU = [{"question": f"q{i}", "choices": list("abcd"), "answer": 1} for i in range(5)]
SUMS = [{"question": f"{i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1}"} for i in range(9)]
PAIRS = [{"sentence1": "下雨了", "sentence2": "天晴", "label": 2, "idx": i} for i in range(3)]
TALKS = [
    {"id": i, "context": ["男：你好"], "question": "谁？", "choice": ["甲", "乙"], "answer": "甲"} for i in range(3)
]
PIQA = [{"goal": "拧紧螺丝", "sol1": "用螺丝刀", "sol2": "用勺子", "label": 0}]
# task: data set, configuration, splits, the one that is asked, and a column of it
TASKS: dict[str, tuple[str, str, dict[str, list[dict[str, Any]]], str, str]] = {
    "ceval_law": ("ceval/ceval-exam", "law", {"dev": EXAM, "val": EXAM, "test": EXAM}, "val", "question"),
    "ceval_test_law": ("ceval/ceval-exam", "law", {"dev": EXAM, "val": EXAM, "test": EXAM}, "test", "B"),
    "ceval_cot_law": ("ceval/ceval-exam", "law", {"dev": EXAM, "val": EXAM, "test": EXAM}, "val", "D"),
    "mmlu_hendrycks_anatomy": ("cais/mmlu", "anatomy", {"dev": MMLU, "test": MMLU}, "test", "choices"),
    "gsm8k_fixed": ("openai/gsm8k", "main", {"train": SUMS, "test": SUMS}, "test", "question"),
    "cmnli": ("clue/clue", "cmnli", {"validation": PAIRS}, "validation", "sentence1"),
    "c3_ppl": ("clue/clue", "c3", {"validation": TALKS}, "validation", "question"),
    "c3_gen": ("clue/clue", "c3", {"validation": TALKS}, "validation", "choice"),
    "piqa": ("baber/piqa", "default", {"validation": PIQA}, "validation", "goal"),
}


@pytest.fixture(params=TASKS)
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path, str]:
    """A task, a mirror it can be built on, the file its documents are in, and a column of that."""
    dataset, config, splits, asked, column = TASKS[request.param]
    mirrors.write(tmp_path, dataset, config, **splits)
    mirrors.task(request.param, tmp_path)  # nothing is wrong yet
    return request.param, tmp_path, tmp_path / dataset / config / f"{asked}-00000-of-00001.parquet", column


def complaint(name: str, folder: Path) -> str:
    with pytest.raises(HarnessError) as told:
        mirrors.requests(mirrors.task(name, folder))
    dataset = TASKS[name][0]
    assert f"'hf download --repo-type dataset {dataset} --local-dir {folder}/{dataset}'" in str(told.value)
    return str(told.value)


def test_a_renamed_column_is_named(mirror: tuple[str, Path, Path, str]) -> None:
    name, folder, file, column = mirror
    for one in file.parent.iterdir():
        table = pq.read_table(one)
        pq.write_table(table.rename_columns([f"old_{x}" if x == column else x for x in table.column_names]), one)
    assert f"has no column '{column}'" in complaint(name, folder)


def test_a_split_that_is_not_there_is_named(mirror: tuple[str, Path, Path, str]) -> None:
    name, folder, file, _ = mirror
    file.unlink()
    said = complaint(name, folder)
    only = len(list(file.parent.iterdir())) == 0
    assert f"{file.relative_to(folder)}" in said or (only and "holds no data" in said)


def test_a_damaged_file_is_named(mirror: tuple[str, Path, Path, str]) -> None:
    name, folder, file, _ = mirror
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file} is damaged" in complaint(name, folder)
