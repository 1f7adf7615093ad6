"""Rows of a user's own test sets, and the files and tasks made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.tasks.own_files import file_tasks

BUY = {"question": "哪里卖纸？", "A": "书店", "B": "鱼市", "answer": "A"}

FRUIT = {"question": "哪些是水果？", "A": "苹果", "B": "石头", "C": "梨", "D": "铁", "answer": "AC"}


def written(folder: Path, *rows: dict[str, Any], name: str = "my.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def built(file: Path, comparisons: tuple[str, ...] = (), shots: int = 0) -> Any:
    """Return lm-eval's object of the task of `file`, its requests built as in a run."""
    task = file_tasks.build(str(file), comparisons).lm_eval
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(1234)
    task.build_all_requests(rank=0, world_size=1)
    return task
