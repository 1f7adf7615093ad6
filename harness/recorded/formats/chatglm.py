"""THUDM/ChatGLM-6B's `generated_predictions.txt`: JSON lines with the texts `labels` and `predict`."""

from __future__ import annotations

from collections.abc import Iterator

from harness.recorded.answers import Answer
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.formats.format import Claim, Format
from harness.recorded.lines import has_keys, lines


def _claim(file: File, forced: bool) -> Claim | None:
    return Claim("", 0) if forced or has_keys(file, "labels", "predict") else None


def _read(file: File, complaints: Complaints) -> Iterator[Answer]:
    for where, place, content in lines(file, complaints):
        labels, predict = content.get("labels"), content.get("predict")
        if not isinstance(labels, str) or not isinstance(predict, str):
            complaints.add(where, "lacks the texts 'labels' and 'predict'")
            continue
        document = {"content": "", "summary": labels, "chunk": 0}
        yield Answer(where, place, ((predict,),), document, complete=True, beside={"labels": labels})


def _task_name(_: Claim, task: str | None) -> str:
    return task or "adgen_chatglm"


CHATGLM = Format("chatglm", '{"labels", "predict"} lines', _claim, _read, _task_name)
