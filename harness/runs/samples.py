"""lm-eval's logged samples → rows of a report, and rows → scores.

lm-eval's own `prompt_hash` covers only the first request of a document; ours covers every argument and the generation
settings, so that two equal hashes mean two equal questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.metrics.aggregate import Estimate, mean_estimate
from harness.tasks import Metric

Row = dict[str, Any]


def row(sample: Mapping[str, Any]) -> Row:
    """Return the report row of one document under one filter; metric values are under the metrics' names."""
    arguments = [list(args) for args in sample["arguments"]]
    responses = list(sample["resps"])
    scored = bool(responses) and isinstance(responses[0][0], tuple | list)
    made: Row = {
        "doc_id": int(sample["doc_id"]),
        "filter": sample["filter"],
        "doc_hash": sample["doc_hash"],
        "prompt_hash": digest(arguments),
        "target_hash": sample["target_hash"],
        "prompt": str(arguments[0][0]),
        "target": str(sample["target"]),
        **{name: sample[name] for name in sample["metrics"]},
    }
    if scored:
        logprobs = [float(answers[0][0]) for answers in responses]
        made["choices"] = [str(args[1]) for args in arguments]
        made["logprobs"] = logprobs
        made["greedy"] = [bool(answers[0][1]) for answers in responses]
        made["prediction"] = made["choices"][max(range(len(logprobs)), key=logprobs.__getitem__)].strip()
        target = sample["target"]
        if isinstance(target, int) and 0 <= target < len(logprobs):
            made["target"] = made["choices"][target].strip()
    else:
        made["responses"] = [str(answer) for answers in responses for answer in answers]
        made["prediction"] = str(_first(sample["filtered_resps"]))
    return made


def digest(content: Any) -> str:
    """Return the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def estimate(task: str, metric: Metric, rows: Sequence[Row], *, is_mean: bool, value: float) -> Estimate:
    """Return a task's number for `metric`: the mean of its rows with an interval, or lm-eval's `value` without one.

    Raises HarnessError naming task and metric where a sample's value is NaN.
    """
    values = [r[metric.name] for r in rows if r["filter"] == metric.filter and r.get(metric.name) is not None]
    if not is_mean or not all(isinstance(v, int | float) for v in values):
        return Estimate(float(value), None, None, None, len(values))
    try:
        return mean_estimate([float(v) for v in values])
    except HarnessError as error:
        raise HarnessError(f"task {task}, metric {metric.name}: {error}") from error


def is_fraction(metric: Metric, rows: Sequence[Row]) -> bool:
    """Tell whether every sample's value lies in [0, 1], so that the score reads as a percentage."""
    values = [r[metric.name] for r in rows if r["filter"] == metric.filter and r.get(metric.name) is not None]
    return bool(values) and all(isinstance(v, int | float) and 0 <= v <= 1 for v in values)


def _first(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value
