"""Invented tasks about caravans: choices with an average over two tasks, sampled texts, an aggregation of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

GOODS = ("tea", "rice", "silk", "salt", "iron", "wine")
DATASET = "me/caravans"
SAYS = {
    "output_type": "generate_until",
    "doc_to_target": "{{choices[answer]}}",
    "doc_to_choice": None,
    "num_fewshot": 0,
    "repeats": 2,
    "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "filter_list": [
        {"name": "first", "filter": [{"function": "take_first"}]},
        {
            "name": "letter",
            "filter": [
                {"function": "regex", "regex_pattern": "([a-z])"},
                {"function": "majority_vote"},
                {"function": "take_first"},
            ],
        },
    ],
    "metadata": {"version": 1},
}
"""Changes to `definition` for a task whose answers are sampled texts."""
JUDGING = """
def judged(doc, results):
    values = {"letters": [float(len(results[0])), float(len(doc["story"]))]}
    return {**values, "hard_only": float("a" in results[0])} if doc["hard"] else values
def longest(values):
    return max(value for value, _ in values)
"""
"""The scorer and the aggregation of the task `judge`."""
JUDGED = (
    "process_results: !function judging.judged\nmetric_list:\n"
    "- {metric: letters, aggregation: !function judging.longest, higher_is_better: true}\n"
    "- {metric: hard_only, aggregation: mean, higher_is_better: true}\n"
)


def question(number: int, *, caravan: int, hard: int) -> dict[str, Any]:
    """Return a document: `caravan` questions are about one caravan, and every question divisible by `hard` is hard."""
    return {
        "story": f"Caravan {number // caravan}",
        "question": f"What is in bale {number}?",
        "choices": [GOODS[(number + k) % 6] for k in range(2 + number % 3)],
        "answer": number % 2,
        "hard": number % hard == 0,
    }


def definition(name: str, config: str, **changes: Any) -> dict[str, Any]:
    """Return the YAML of the task `name` on a configuration of the data set; a change to None removes a key."""
    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")]
    content = {
        "task": name,
        "dataset_path": DATASET,
        "dataset_name": config,
        "test_split": "test",
        "fewshot_split": "train",
        "training_split": "train",
        "output_type": "multiple_choice",
        "doc_to_text": "{{story}} {{question}} Answer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "num_fewshot": 2,
        "metric_list": metrics,
        "metadata": {"version": 1, "cluster": "{{story}}"},
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def write_tasks(folder: Path, more: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write the group `pick` of two tasks, `say`, `judge` and the definitions `more`, by name, into a new folder."""
    folder.mkdir()
    definitions: dict[str, Mapping[str, Any]] = {
        "red": definition("pick_red", "red"),
        "blue": definition("pick_blue", "blue"),
        "say": definition("say", "both", **SAYS),
        "judge": definition("judge", "both", **{**SAYS, "repeats": 1, "filter_list": None, "metric_list": None}),
        "group": {
            "group": "pick",
            "task": ["pick_red", "pick_blue"],
            "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
        },
        **(more or {}),
    }
    for name, content in definitions.items():
        text = yaml.safe_dump(dict(content), allow_unicode=True) + (JUDGED if name == "judge" else "")
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "judging.py").write_text(JUDGING)
