"""LawBench's scores of an answer, upstream's and, where those misread it, repaired ones; one function a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.metrics.lawbench import published
from harness.metrics.lawbench import repaired as lawbench_repaired
from harness.metrics.stats.estimates import ratio

__all__ = ["ratio"]

Scores = dict[str, float]


def _scored(task: str) -> Callable[[dict[str, Any], list[str]], Scores]:
    """Return what scores the answers of `task`; a document that upstream leaves out of its average has no score."""
    judges = {"": published.JUDGES[task]}
    if task in lawbench_repaired.REPAIRED:
        judges["_repaired"] = lawbench_repaired.REPAIRED[task]

    def process_results(doc: dict[str, Any], results: list[str]) -> Scores:
        found: Scores = {}
        for suffix, judge in judges.items():
            judged = judge(results[0], doc["answer"])
            found[f"abstention{suffix}"] = float(judged.abstained)
            if judged.score is not None:
                found[f"score{suffix}"] = judged.score
        return found

    return process_results


def task_2_1(doc: dict[str, Any], results: list[str]) -> dict[str, float | tuple[float, float]]:
    """Return numerators and denominators of F0.5; upstream counts no abstentions here."""
    prompt = f"{doc['instruction']}\n{doc['question']}"
    pair = published.proofreading(prompt, results[0], doc["answer"]).pair()
    alone = lawbench_repaired.without_template(prompt)
    repaired = pair if alone == prompt else published.proofreading(alone, results[0], doc["answer"]).pair()
    return {"score": pair, "score_repaired": repaired, "abstention": 0.0}


task_1_1 = _scored("1-1")
task_1_2 = _scored("1-2")
task_2_2 = _scored("2-2")
task_2_3 = _scored("2-3")
task_2_4 = _scored("2-4")
task_2_5 = _scored("2-5")
task_2_6 = _scored("2-6")
task_2_7 = _scored("2-7")
task_2_8 = _scored("2-8")
task_2_9 = _scored("2-9")
task_2_10 = _scored("2-10")
task_3_1 = _scored("3-1")
task_3_2 = _scored("3-2")
task_3_3 = _scored("3-3")
task_3_4 = _scored("3-4")
task_3_5 = _scored("3-5")
task_3_6 = _scored("3-6")
task_3_7 = _scored("3-7")
task_3_8 = _scored("3-8")
