"""lm-eval's outcome of a task whose documents were evaluated in parts, without aggregation (`Task.restricted_to`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.common.failures import Failure
from harness.tasks.task import Request, Task


def of_parts(
    task: Task,
    last: Mapping[str, Any],
    samples: Sequence[dict[str, Any]],
    requests: Sequence[Request],
    unscorable: Sequence[Failure],
) -> dict[str, Any]:
    """Return what lm-eval would have returned if all documents of `samples` had been evaluated at once.

    `last` is the outcome of the last part, with the result keys of all parts; `requests` are the requests of `samples`,
    with their responses. `unscorable` are the failures of all parts.
    """
    samples = sorted(samples, key=lambda sample: sample["doc_id"])
    results = {**last["results"][task.name]}
    keys = [key for key in results if "," in key and "_stderr," not in key]
    aggregates, failures = task.aggregate(samples, keys, requests)
    results |= aggregates
    reported = {failure.doc_id for failure in unscorable}
    failures = [*unscorable, *(failure for failure in failures if failure.doc_id not in reported)]
    metrics = [key.split(",", 1) for key in keys]
    counts = [sum(item["filter"] == name and metric in item["metrics"] for item in samples) for metric, name in metrics]
    largest = max(counts, default=0)
    results["sample_len"] = largest
    return {
        **last,
        "results": {task.name: results},
        "n-samples": {task.name: {"original": len(task.documents), "effective": largest}},
        "samples": {task.name: samples},
        "unscorable": sorted(failures),
    }
