"""A commented task definition to start from, with two documents so that it runs unchanged."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from harness.common import atomic_write, places
from harness.errors import HarnessError
from harness.tasks.catalogue import Catalogue

_DOCUMENTS = (
    {"question": "法国的首都是哪里？", "choices": ["里昂", "巴黎", "马赛", "尼斯"], "answer": 1},
    {"question": "一年有几个季节？", "choices": ["两个", "三个", "四个", "五个"], "answer": 2},
)
_DEFINITION = """\
# A task is an lm-eval YAML file: https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/task_guide.md
task: "{name}"

# Your documents. Rows may have any columns; the templates below use them by name. For a data set of the hub or of a
# --data mirror, write its name, org/name, as dataset_path and remove dataset_kwargs.
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test

# The prompt: a Jinja template over a row. No space or line end is added.
output_type: multiple_choice # the likeliest item of doc_to_choice is the answer
doc_to_text: "{{{{question}}}}\\n答案："
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer # the column with the place of the right choice, counted from 0
target_delimiter: "" # the text between prompt and answer; lm-eval's default is a space
num_fewshot: 0

metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true

# For generated answers, instead of output_type, doc_to_choice, doc_to_target and metric_list above:
# output_type: generate_until
# doc_to_target: "{{{{choices[answer]}}}}"
# generation_kwargs:
#   until: ["\\n"]
#   max_gen_toks: 64
# metric_list:
#   - metric: exact_match
#     aggregation: mean
#     higher_is_better: true

metadata:
  version: 1 # raise it with every change that may change a score
  protocol: Zero-shot, the likeliest of the given texts.
"""


class NewTask(NamedTuple):
    """The files written for a new task."""

    definition: Path
    data: Path


def write(name: str, folder: Path = Path()) -> NewTask:
    """Write `name`/`name`.yaml and the documents that it reads below `folder`.

    Raises HarnessError if `name` cannot be a task's name or is already one, or if the files cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][\w-]*", name):
        raise HarnessError(f"'{name}' cannot be a task's name: use letters, digits, _ and -")
    if name in Catalogue().own:
        raise HarnessError(f"there is a task '{name}' already, which yours would hide: choose another name")
    place = folder / name
    task = NewTask(place / f"{name}.yaml", place / f"{name}.jsonl")
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _DOCUMENTS)
    if os.path.lexists(place):
        raise HarnessError(f"{place} exists already: choose another name, or edit the files in it")
    try:
        with atomic_write.folder(place) as hidden:
            (hidden / task.data.name).write_text(rows, encoding="utf-8")
            (hidden / task.definition.name).write_text(_DEFINITION.format(name=name, data=task.data), encoding="utf-8")
    except OSError as error:
        advice = places.advice(error, "work in another folder")
        raise HarnessError(f"{place} cannot be written ({error.strerror}): {advice}") from error
    return task
