"""lm-eval's logged samples → rows of a report.

lm-eval's own `prompt_hash` covers only the first request of a document. The hash here covers every argument of every
request and the generation settings, so that equal hashes mean equal questions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.backends.answer_text import AnswerText

Row = dict[str, Any]
"""A row of a report's samples: the columns of `harness.reports.report.SAMPLE_COLUMNS`, then the metrics."""


def row(sample: Mapping[str, Any], cluster: str | None = None) -> Row:
    """Return the report row of one document and filter, from lm-eval's logged sample.

    `cluster` identifies the text that the document shares with others (`harness.tasks.clusters`).
    """
    arguments = [list(args) for args in sample["arguments"]]
    responses = list(sample["resps"])
    has_likelihoods = bool(responses) and isinstance(responses[0][0], tuple | list)
    columns: Row = {
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
    if has_likelihoods:
        return columns | _choice_columns(arguments, responses, sample["target"])
    answers = [text for repeats in responses for text in repeats]
    columns["responses"] = [str(text) for text in answers]
    columns["endings"] = [text.ending if isinstance(text, AnswerText) else "unknown" for text in answers]
    columns["prediction"] = str(_first(sample["filtered_resps"]))
    return columns


def _choice_columns(arguments: Sequence[Sequence[Any]], responses: Sequence[Any], target: object) -> Row:
    """Return the columns of a document whose choices were scored by their log-likelihoods."""
    choices = _choices(arguments)
    logprobs = [float(repeats[0][0]) for repeats in responses][: len(choices)]
    columns: Row = {
        "choices": choices,
        "logprobs": logprobs,
        "greedy": [bool(repeats[0][1]) for repeats in responses][: len(choices)],
        "prediction": choices[max(range(len(logprobs)), key=logprobs.__getitem__)].strip(),
    }
    if isinstance(target, int) and 0 <= target < len(logprobs):
        columns["target"] = choices[target].strip()
    return columns


def _choices(arguments: Sequence[Sequence[Any]]) -> list[str]:
    """Return the choices of a document, from its (context, continuation) requests.

    If each request has its own context (Winogrande), a choice begins where the contexts begin to differ. Requests
    without a context that follow requests with one are not choices; they measure the likelihood of a choice by itself,
    for mutual information.
    """
    pairs = [(str(request[0]), str(request[1])) for request in arguments]
    half = len(pairs) // 2
    if half and all(context for context, _ in pairs[:half]) and not any(context for context, _ in pairs[half:]):
        pairs = pairs[:half]
    contexts = [context for context, _ in pairs]
    first, last = min(contexts), max(contexts)
    start = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return [context[start:] + continuation for context, continuation in pairs]


def digest(content: object) -> str:
    """Return the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _first(value: object) -> Any:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return value
