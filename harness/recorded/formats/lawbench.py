"""open-compass/LawBench's prediction files: one JSON object per task, `<model>/1-1.json`, of numbered entries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from harness.data.rows import parse_json
from harness.recorded.answers import Answer
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.formats.format import Claim, Format

ZERO_SHOT, ONE_SHOT = "lawbench", "lawbench_one_shot"
_STEM = re.compile(r"[123]-\d{1,2}")
_NUMBER = re.compile(r"[0-9]{1,18}")


def _claim(file: File, forced: bool) -> Claim | None:
    stem = _STEM.fullmatch(file.path.stem)
    if stem is None or file.path.suffix.lower() != ".json":
        return Claim("", 0) if forced else None
    folders = {*PurePosixPath(file.root).parts, *file.path.parts}  # predictions/one_shot/<model>/1-1.json
    return Claim(stem[0].replace("-", "_"), 0, ONE_SHOT if "one_shot" in folders else ZERO_SHOT)


class _Entries(dict[str, Any]):
    """A JSON object that keeps the first of several entries with the same key, and remembers which keys repeat."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]


def _read(file: File, complaints: Complaints) -> Iterator[Answer]:
    try:
        entries = parse_json(file.text(), object_pairs_hook=_Entries)
    except (ValueError, RecursionError) as error:
        complaints.add(file.label, f"is not JSON ({error})", error)
        return
    if not isinstance(entries, _Entries):
        complaints.add(file.label, "is not a JSON object of numbered entries")
        return
    for key in entries.repeated:
        complaints.add(f"{file.label}, entry {key}", "appears twice")
    for key, entry in reversed(entries.items()):
        where = f"{file.label}, entry {key}"
        if (problem := _problem(key, entry)) is not None:
            complaints.add(where, problem)
            continue
        prompt = _prompt(entry.get("origin_prompt"))
        document = {"instruction": "", "question": prompt, "answer": entry["refr"]}
        yield Answer(where, int(key), ((entry["prediction"],),), document, complete=True, prompt=prompt)


def _problem(key: str, entry: object) -> str | None:
    """Return what is wrong with the `entry` of a prediction file, or None."""
    if not _NUMBER.fullmatch(key):
        return "is not numbered"
    if not isinstance(entry, dict) or not isinstance(entry.get("prediction"), str):
        return "has no text 'prediction'"
    if not isinstance(entry.get("refr"), str):
        return "has no reference 'refr'"
    return None


def _prompt(turns: object) -> str:
    """Return the text of a recorded prompt, which is a text or a list of turns of a conversation."""
    if isinstance(turns, list):
        return "\n".join(str(turn.get("prompt", "")) for turn in turns if isinstance(turn, dict))
    return turns if isinstance(turns, str) else ""


def _task_name(claim: Claim, task: str | None) -> str:
    if not claim.task or (task and task.endswith(f"_{claim.task}")):
        return task or ""
    return f"{task or claim.family}_{claim.task}"


LAWBENCH = Format("lawbench", "<model>/1-1.json", _claim, _read, _task_name, (ZERO_SHOT, ONE_SHOT))
