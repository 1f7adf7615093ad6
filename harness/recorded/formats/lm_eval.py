"""lm-eval's samples: `samples_<task>_<date>.jsonl`, one line per document and filter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness.recorded import likelihoods
from harness.recorded.answers import Answer, Response, Responses
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.formats.format import Claim, Format
from harness.recorded.lines import has_keys, lines

_STEM = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d.-]+")


def _claim(file: File, forced: bool) -> Claim | None:
    stem = _STEM.fullmatch(file.path.stem)
    if file.path.suffix.lower() == ".jsonl" and stem:
        return Claim(stem[1], 0)
    return Claim("", 0) if forced or has_keys(file, "doc_id", "resps", "doc") else None


def _read(file: File, complaints: Complaints) -> Iterator[Answer]:
    filters: dict[int, Any] = {}
    for where, _, content in lines(file, complaints):
        key, document = content.get("doc_id"), content.get("doc")
        responses = _responses(content.get("resps"))
        if responses is not None and (problem := _problem(responses)) is not None:
            complaints.add(where, f"has log-likelihoods {problem}")
            continue
        if not isinstance(key, int) or key < 0 or not isinstance(document, dict) or responses is None:
            complaints.add(where, "has no 'doc_id', 'doc' and 'resps' as lm-eval writes them")
            continue
        if filters.setdefault(key, content.get("filter")) != content.get("filter"):
            continue  # the same answer, as another filter reads it
        arguments = _arguments(content.get("arguments"))
        prompt = str(arguments[0][0]) if arguments and arguments[0] else None
        yield Answer(where, key, responses, document, complete=True, prompt=prompt, arguments=arguments)


def _responses(requests: Any) -> Responses | None:
    """Return the responses of a document's requests, or None if they are malformed."""
    try:
        is_nested = isinstance(requests, list) and all(isinstance(repeats, list) and repeats for repeats in requests)
        return tuple(tuple(map(_response, repeats)) for repeats in requests) or None if is_nested else None
    except (TypeError, ValueError):
        return None


def _response(response: Any) -> Response:
    """Return one response; lm-eval writes the pair (log-likelihood, is greedy) as two texts, which are parsed."""
    if isinstance(response, str):
        return response
    likelihood, is_greedy = response
    return float(likelihood), str(is_greedy) == "True"


def _problem(responses: Responses) -> str | None:
    """Return what is wrong with the log-likelihoods among `responses`, or None if nothing is."""
    values = [response[0] for repeats in responses for response in repeats if isinstance(response, tuple)]
    return likelihoods.problem(values)


def _arguments(requests: object) -> list[list[Any]] | None:
    """Return the arguments of each request: lm-eval writes lists, or objects such as {"gen_args_0": {"arg_0": …}}."""
    if isinstance(requests, dict):
        return [
            list(arguments.values()) if isinstance(arguments, dict) else [arguments] for arguments in requests.values()
        ] or None
    if isinstance(requests, list):
        return [list(arguments) for arguments in requests if isinstance(arguments, list)] or None
    return None


def _task_name(claim: Claim, task: str | None) -> str:
    return claim.task or task or ""  # --task may name the group


LM_EVAL = Format("lm-eval", "samples_<task>_<date>.jsonl", _claim, _read, _task_name)
