"""The format of this project for recorded answers, JSON lines:

    {"id": 17, "prediction": "…"}         or, for the repeats of a sampled answer, "prediction": ["…", "…"]
    {"id": 17, "logprobs": [-1.5, -0.2]}  the log-likelihood of each choice, in nats

`id` is the value of the document's column `id` if the task is a user's own file whose column `id` identifies every row.
Otherwise a number is the document's place in its split, counted from 0, and a text the value of its `id` column. A line
may also have a `prompt`. Its other columns are compared with the document (`harness.recorded.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.recorded import likelihoods
from harness.recorded.answers import Answer, Responses
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.formats.format import Claim, Format
from harness.recorded.lines import has_keys, lines

_READ = {"id", "prediction", "logprobs", "prompt"}


def _claim(file: File, forced: bool) -> Claim | None:
    has_format = forced or has_keys(file, "id", "prediction") or has_keys(file, "id", "logprobs")
    return Claim(file.path.stem, 0) if has_format else None


def _read(file: File, complaints: Complaints) -> Iterator[Answer]:
    for where, _, content in lines(file, complaints):
        key, prompt = content.get("id"), content.get("prompt")
        if isinstance(key, bool) or not isinstance(key, int | str):
            complaints.add(where, "has no 'id' that is a whole number or a text")
            continue
        responses = _responses(content)
        if responses is None:
            complaints.add(where, _problem(content))
            continue
        prompt = prompt if isinstance(prompt, str) else None
        beside = {name: value for name, value in content.items() if name not in _READ}
        if prompt is None and content.get("prompt"):
            beside["prompt"] = content["prompt"]  # a list of turns
        yield Answer(where, key, responses, {}, prompt=prompt, beside=beside, names_id=True)


def _responses(content: dict[str, Any]) -> Responses | None:
    prediction, logprobs = content.get("prediction"), content.get("logprobs")
    if isinstance(prediction, str):
        return ((prediction,),)
    if isinstance(prediction, list) and prediction and all(isinstance(text, str) for text in prediction):
        return (tuple(prediction),)
    if isinstance(logprobs, list) and logprobs and likelihoods.problem(logprobs) is None:
        return tuple(((float(value), False),) for value in logprobs)
    return None


def _problem(content: dict[str, Any]) -> str:
    """Return why a line holds no responses."""
    neither = "has neither a text 'prediction' nor finite numbers 'logprobs'"
    logprobs = content.get("logprobs")
    if not isinstance(logprobs, list) or not logprobs:
        return neither
    problem = likelihoods.problem(logprobs)
    return neither if problem in likelihoods.NOT_FINITE else f"has 'logprobs' {problem}"


def task_name(claim: Claim, task: str | None) -> str:
    """Return the task that the user names, else the one that the file is named after."""
    return task or claim.task


OWN_LINES = Format("jsonl", '{"id", "prediction"} lines', _claim, _read, task_name)
