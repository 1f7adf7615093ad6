"""LawBench's scores of an answer: upstream's and, where those misread answers, repaired ones; one function per task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.metrics.lawbench import published, repaired
from harness.metrics.stats.estimates import ratio

__all__ = ["ratio"]

Scores = dict[str, float]


def _process_results(task: str) -> Callable[[dict[str, Any], list[str]], Scores]:
    """Return the `process_results` of `task`; a document that upstream leaves out of its average gets no score."""
    scorers = {"": published.SCORERS[task]}
    if task in repaired.REPAIRED_SCORERS:
        scorers["_repaired"] = repaired.REPAIRED_SCORERS[task]

    def process_results(doc: dict[str, Any], results: list[str]) -> Scores:
        scores: Scores = {}
        for suffix, scorer in scorers.items():
            answer_score = scorer(results[0], doc["answer"])
            scores[f"abstention{suffix}"] = float(answer_score.abstained)
            if answer_score.score is not None:
                scores[f"score{suffix}"] = answer_score.score
        return scores

    return process_results


def task_2_1(doc: dict[str, Any], results: list[str]) -> dict[str, float | tuple[float, float]]:
    """Return the numerators and denominators of F0.5; upstream counts no abstentions here."""
    prompt = f"{doc['instruction']}\n{doc['question']}"
    pair = repaired_pair = published.proofreading(prompt, results[0], doc["answer"]).f_beta_pair()
    if repaired.without_template(prompt) != prompt:
        repaired_pair = repaired.proofreading(prompt, results[0], doc["answer"]).f_beta_pair()
    return {"score": pair, "score_repaired": repaired_pair, "abstention": 0.0}


task_1_1 = _process_results("1-1")
task_1_2 = _process_results("1-2")
task_2_2 = _process_results("2-2")
task_2_3 = _process_results("2-3")
task_2_4 = _process_results("2-4")
task_2_5 = _process_results("2-5")
task_2_6 = _process_results("2-6")
task_2_7 = _process_results("2-7")
task_2_8 = _process_results("2-8")
task_2_9 = _process_results("2-9")
task_2_10 = _process_results("2-10")
task_3_1 = _process_results("3-1")
task_3_2 = _process_results("3-2")
task_3_3 = _process_results("3-3")
task_3_4 = _process_results("3-4")
task_3_5 = _process_results("3-5")
task_3_6 = _process_results("3-6")
task_3_7 = _process_results("3-7")
task_3_8 = _process_results("3-8")
