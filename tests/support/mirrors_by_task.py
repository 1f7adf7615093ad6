"""A small mirror for one task of each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support import mirrors

LETTERED = {**dict(zip("ABCD", ("甲", "乙", "丙", "丁"), strict=True)), "answer": "A", "explanation": "1. 因为。"}
EXAM = [{"id": i, "question": f"第{i}问", **LETTERED} for i in range(5)]
MMLU = [{"question": f"q{i}", "choices": list("abcd"), "answer": 1} for i in range(5)]
SUMS = [{"question": f"{i} + 1?", "answer": f"It is {i + 1}.\n#### {i + 1}"} for i in range(9)]
PAIRS = [{"sentence1": "下雨了", "sentence2": "天晴", "label": 2, "idx": i} for i in range(3)]
TALKS = [
    {"id": i, "context": ["男：你好"], "question": "谁？", "choice": ["甲", "乙"], "answer": "甲"} for i in range(3)
]
PIQA = [{"goal": "拧紧螺丝", "sol1": "用螺丝刀", "sol2": "用勺子", "label": 0}]
# task: data set, configuration, splits, the evaluated split, and the columns of it that the task reads
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


def mirror(name: str, folder: Path) -> Path:
    """Write a complete mirror for the task `name`, and return the file with its documents."""
    dataset, config, splits, split, _ = TASKS[name]
    mirrors.write(folder, dataset, config, **splits)
    mirrors.task(name, folder)  # the mirror is complete
    return folder / dataset / config / f"{split}-00000-of-00001.parquet"
