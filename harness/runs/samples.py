"""lm-eval's logged samples → rows of a report.

lm-eval's own `prompt_hash` covers only the first request of a document; ours covers every argument and the generation
settings, so that two equal hashes mean two equal questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def row(sample: Mapping[str, Any], cluster: str | None = None) -> Row:
    """Return the report row of one document under one filter; metric values are under the metrics' names.

    `cluster` is what the document shares with others (`harness.tasks.clusters`).
    """
    arguments = [list(args) for args in sample["arguments"]]
    responses = list(sample["resps"])
    scored = bool(responses) and isinstance(responses[0][0], tuple | list)
    made: Row = {
        "doc_id": int(sample["doc_id"]),
        "filter": sample["filter"],
        "doc_hash": sample["doc_hash"],
        "prompt_hash": digest(arguments),
        "target_hash": sample["target_hash"],
        "cluster": cluster,
        "prompt": str(arguments[0][0]),
        "target": str(sample["target"]),
        **{name: sample[name] for name in sample["metrics"]},
    }
    if scored:
        choices = _choices(arguments)
        logprobs = [float(answers[0][0]) for answers in responses][: len(choices)]
        made["choices"] = choices
        made["logprobs"] = logprobs
        made["greedy"] = [bool(answers[0][1]) for answers in responses][: len(choices)]
        made["prediction"] = made["choices"][max(range(len(logprobs)), key=logprobs.__getitem__)].strip()
        target = sample["target"]
        if isinstance(target, int) and 0 <= target < len(logprobs):
            made["target"] = made["choices"][target].strip()
    else:
        made["responses"] = [str(answer) for answers in responses for answer in answers]
        made["prediction"] = str(_first(sample["filtered_resps"]))
    return made


def _choices(arguments: Sequence[Sequence[Any]]) -> list[str]:
    """Return the choices that a document's (context, continuation) requests are about.

    Where each has a context of its own (Winogrande), a choice is where its context begins to differ, and the rest.
    Requests without a context after those with one ask for a choice's likelihood by itself (mutual information).
    """
    asked = [(str(args[0]), str(args[1])) for args in arguments]
    half = len(asked) // 2
    if half and all(context for context, _ in asked[:half]) and not any(context for context, _ in asked[half:]):
        asked = asked[:half]
    contexts = [context for context, _ in asked]
    first, last = min(contexts), max(contexts)
    start = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return [context[start:] + continuation for context, continuation in asked]


def digest(content: Any) -> str:
    """Return the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _first(value: Any) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value
