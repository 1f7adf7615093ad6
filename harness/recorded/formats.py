"""The formats in which predictions are recorded, and what a line of each says.

Known are THUDM/ChatGLM-6B's generated_predictions.txt, open-compass/LawBench's files of one task, the tables of
FudanDISC/DISC-LawLLM's objective questions, lm-eval's samples, and one of our own:

    {"id": 17, "prediction": "…"}         or, for the repeats of a sampled answer, "prediction": ["…", "…"]
    {"id": 17, "logprobs": [-1.5, -0.2]}  the log-likelihood of each choice

`id` is a document's place in its split, counted from 0, or a text, its `id` column. `prompt` may be there, too.

Not here: what files and answers are (`harness.recorded.recordings`), finding them (`harness.recorded.predictions`), or
joining answers with documents (`harness.recorded.join`).
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from harness.data.rows import parsed
from harness.errors import HarnessError
from harness.recorded.recordings import Answer, Claim, Complaints, File, Format, Response, Responses, has, lines

# --- ChatGLM's generated_predictions.txt ------------------------------------------------------------------------------


def _chatglm_claim(file: File, forced: bool) -> Claim | None:
    return Claim("", 0) if forced or has(file, "labels", "predict") else None


def _chatglm(file: File, complaints: Complaints) -> Iterator[Answer]:
    for where, place, content in lines(file, complaints):
        labels, predict = content.get("labels"), content.get("predict")
        if not isinstance(labels, str) or not isinstance(predict, str):
            complaints.add(where, "has no texts 'labels' and 'predict'")
            continue
        document = {"content": "", "summary": labels, "chunk": 0}
        yield Answer(where, place, ((predict,),), document, complete=True)


# --- LawBench's files of one task -------------------------------------------------------------------------------------

_LAWBENCH_GROUPS = ("lawbench", "lawbench_one_shot")
_LAWBENCH = re.compile(r"[123]-\d{1,2}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def _lawbench_claim(file: File, forced: bool) -> Claim | None:
    named = _LAWBENCH.fullmatch(file.path.stem)
    if named is None or file.path.suffix != ".json":
        return Claim("", 0) if forced else None
    shown = {*PurePosixPath(file.root).parts, *file.path.parts}  # predictions/one_shot/<model>/1-1.json
    zero, one = _LAWBENCH_GROUPS
    return Claim(named[0].replace("-", "_"), 0, one if "one_shot" in shown else zero)


class _Pairs(dict[str, Any]):
    """A JSON object that has the first of what it names twice, and knows which names those are."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]


def _lawbench(file: File, complaints: Complaints) -> Iterator[Answer]:
    try:
        entries = parsed(file.text(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        complaints.add(file.shown, f"is not JSON ({error})", error)
        return
    if not isinstance(entries, _Pairs):
        complaints.add(file.shown, "is no JSON object of numbered entries")
        return
    for key in entries.repeated:
        complaints.add(f"{file.shown}, entry {key}", "is there twice")
    for key, entry in reversed(entries.items()):
        where = f"{file.shown}, entry {key}"
        if not _NUMBER.fullmatch(key):
            complaints.add(where, "is not numbered")
        elif not isinstance(entry, dict) or not isinstance(entry.get("prediction"), str):
            complaints.add(where, "has no text 'prediction'")
        elif not isinstance(entry.get("refr"), str):
            complaints.add(where, "has no reference 'refr'")
        else:
            prompt = _turns(entry.get("origin_prompt"))
            document = {"instruction": "", "question": prompt, "answer": entry["refr"]}
            yield Answer(where, int(key), ((entry["prediction"],),), document, complete=True, prompt=prompt)


def _turns(prompt: Any) -> str:
    if isinstance(prompt, list):
        return "\n".join(str(turn.get("prompt", "")) for turn in prompt if isinstance(turn, dict))
    return prompt if isinstance(prompt, str) else ""


# --- DISC-LawLLM's tables ---------------------------------------------------------------------------------------------

_DISC_KINDS = {"single": "single", "multi": "multiple"}
_DISC = re.compile(r"([a-z]+)_results")


def _disc_claim(file: File, forced: bool) -> Claim | None:
    named, kind = _DISC.fullmatch(file.path.stem), _DISC_KINDS.get(PurePosixPath(file.root, file.path).parent.name)
    if named and kind and file.path.suffix == ".csv":
        return Claim(f"{kind}_{named[1]}", 1)
    return Claim("", 0) if forced else None


def _disc(file: File, complaints: Complaints) -> Iterator[Answer]:
    rows = csv.DictReader(io.StringIO(file.text(), newline=""), strict=True)
    for needed in ("model_output", "input"):
        if needed not in (rows.fieldnames or ()):
            raise HarnessError(f"{file.shown} has no column '{needed}': it is no table of DISC-LawLLM's answers")
    place = -1
    try:
        for place, row in enumerate(rows):
            where = f"{file.shown}, line {rows.line_num}"
            said = row["model_output"]
            if said is None:
                complaints.add(where, "ends before the column 'model_output'")
                continue
            yield Answer(where, place, ((said,),), {"input": row["input"]})
    except csv.Error as error:
        complaints.add(f"{file.shown}, line {rows.line_num}", f"is not CSV ({error})", error)


# --- lm-eval's samples ------------------------------------------------------------------------------------------------

_LM_EVAL = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT[\d.-]+")


def _lm_eval_claim(file: File, forced: bool) -> Claim | None:
    named = _LM_EVAL.fullmatch(file.path.stem)
    if file.path.suffix == ".jsonl" and named:
        return Claim(named[1], 0)
    return Claim("", 0) if forced or has(file, "doc_id", "resps", "doc") else None


def _lm_eval(file: File, complaints: Complaints) -> Iterator[Answer]:
    filters: dict[int, Any] = {}
    for where, _, content in lines(file, complaints):
        key, document = content.get("doc_id"), content.get("doc")
        responses = _lm_eval_responses(content.get("resps"))
        if not isinstance(key, int) or key < 0 or not isinstance(document, dict) or responses is None:
            complaints.add(where, "has no 'doc_id', 'doc' and 'resps' as lm-eval writes them")
            continue
        if filters.setdefault(key, content.get("filter")) != content.get("filter"):
            continue  # the same answer, read by another filter
        arguments = _lm_eval_arguments(content.get("arguments"))
        prompt = str(arguments[0][0]) if arguments and arguments[0] else None
        yield Answer(where, key, responses, document, complete=True, prompt=prompt, arguments=arguments)


def _lm_eval_responses(told: Any) -> Responses | None:
    """Return an answer's responses; lm-eval writes (log-likelihood, is greedy) as two texts."""
    try:
        listed = isinstance(told, list) and all(isinstance(repeats, list) and repeats for repeats in told)
        return tuple(tuple(map(_response, repeats)) for repeats in told) or None if listed else None
    except (TypeError, ValueError):
        return None


def _response(told: Any) -> Response:
    if isinstance(told, str):
        return told
    likelihood, greedy = told
    if not math.isfinite(float(likelihood)):
        raise ValueError(likelihood)
    return float(likelihood), str(greedy) == "True"


def _lm_eval_arguments(told: Any) -> list[list[Any]] | None:
    if isinstance(told, dict):
        return [list(one.values()) if isinstance(one, dict) else [one] for one in told.values()] or None
    return [list(one) for one in told if isinstance(one, list)] or None if isinstance(told, list) else None


# --- ours -------------------------------------------------------------------------------------------------------------


def _own_claim(file: File, forced: bool) -> Claim | None:
    known = forced or has(file, "id", "prediction") or has(file, "id", "logprobs")
    return Claim(file.path.stem, 0) if known else None


def _own(file: File, complaints: Complaints) -> Iterator[Answer]:
    for where, _, content in lines(file, complaints):
        key, prompt = content.get("id"), content.get("prompt")
        if isinstance(key, bool) or not isinstance(key, int | str):
            complaints.add(where, "has no 'id', a whole number or a text")
            continue
        responses = _own_responses(content)
        if responses is None:
            complaints.add(where, "has neither a text 'prediction' nor finite numbers 'logprobs'")
            continue
        yield Answer(where, key, responses, {}, prompt=prompt if isinstance(prompt, str) else None)


def _own_responses(content: dict[str, Any]) -> Responses | None:
    said, likelihoods = content.get("prediction"), content.get("logprobs")
    if isinstance(said, str):
        return ((said,),)
    if isinstance(said, list) and said and all(isinstance(one, str) for one in said):
        return (tuple(said),)
    if isinstance(likelihoods, list) and likelihoods and all(_is_finite(one) for one in likelihoods):
        return tuple(((float(one), False),) for one in likelihoods)
    return None


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


# --- all of them ------------------------------------------------------------------------------------------------------


def _own_task(claim: Claim, told: str | None) -> str:
    return told or claim.task


def _lm_eval_task(claim: Claim, told: str | None) -> str:
    return claim.task or told or ""  # what is told may be the group


def _chatglm_task(_: Claim, told: str | None) -> str:
    return told or "adgen_chatglm"


def _lawbench_task(claim: Claim, told: str | None) -> str:
    if not claim.task or (told and told.endswith(f"_{claim.task}")):
        return told or ""
    return f"{told or claim.family}_{claim.task}"


def _disc_task(claim: Claim, told: str | None) -> str:
    return f"{told or 'disc_law'}_{claim.task}" if claim.task and not (told or "").endswith(claim.task) else told or ""


REPORT = Format("report", "a folder with manifest.json", lambda *_: None, lambda *_: iter(()), _own_task)
"""A report of ours, which is no file."""

FORMATS = {
    one.name: one
    for one in (
        Format("lawbench", "<model>/1-1.json", _lawbench_claim, _lawbench, _lawbench_task, _LAWBENCH_GROUPS),
        Format("disc-law", "<model>/single/lbk_results.csv", _disc_claim, _disc, _disc_task, ("disc_law",)),
        Format("lm-eval", "samples_<task>_<date>.jsonl", _lm_eval_claim, _lm_eval, _lm_eval_task),
        Format("chatglm", '{"labels", "predict"} lines', _chatglm_claim, _chatglm, _chatglm_task),
        Format("jsonl", '{"id", "prediction"} lines', _own_claim, _own, _own_task),
        REPORT,
    )
}
"""By name, in the order in which files are looked at."""
