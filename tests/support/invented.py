"""A mirror of data sets with the real layout and invented documents: C-Eval's 52 subjects, and GSM8K."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

GOODS = ("苹果", "桌子", "雨伞", "铅笔", "书包", "茶杯", "毛巾", "风筝")


def mirror(folder: Path, *, questions: int = 2) -> Path:
    """Write the mirror into `folder` and return `folder`; each C-Eval subject has `questions` questions."""
    for subject in subjects():
        rng = random.Random(subject)
        place = folder / "ceval" / "ceval-exam" / subject
        _write(place, "dev", [_exam(rng, i) for i in range(5)])
        _write(place, "val", [_exam(rng, i) for i in range(questions)])
        _write(place, "test", [{**_exam(rng, i), "answer": ""} for i in range(questions)])
    _card(folder / "ceval" / "ceval-exam", subjects(), ("dev", "val", "test"))
    rng = random.Random(0)
    place = folder / "openai" / "gsm8k" / "main"
    _write(place, "train", [_sum(rng) for _ in range(12)])
    _write(place, "test", [_sum(rng) for _ in range(6)])
    _card(folder / "openai" / "gsm8k", ["main"], ("train", "test"))
    return folder


def subjects() -> list[str]:
    """Return the configurations of the members of the group `ceval`."""
    group = Path(__file__).resolve().parents[2] / "tasks" / "ceval" / "_ceval.yaml"
    return [name.removeprefix("ceval_") for name in yaml.safe_load(group.read_text(encoding="utf-8"))["task"]]


def _exam(rng: random.Random, number: int) -> dict[str, Any]:
    options = rng.sample(GOODS, 4)
    return {
        "id": number,
        "question": f"小店第{rng.randrange(1000)}天卖得最多的是什么？",
        **dict(zip("ABCD", options, strict=True)),
        "answer": rng.choice("ABCD"),
        "explanation": "",
    }


def _sum(rng: random.Random) -> dict[str, Any]:
    a, b = rng.randrange(2, 60), rng.randrange(2, 60)
    good = rng.choice(("pencils", "kites", "cups"))
    return {"question": f"Ann has {a} {good} and buys {b} more. How many has she?", "answer": f"{a}+{b}\n#### {a + b}"}


def _card(folder: Path, configs: list[str], splits: tuple[str, ...]) -> None:
    """Write the data set's card, whose head lists the files of each configuration, as on the hub."""
    listed = [
        {"config_name": name, "data_files": [{"split": s, "path": f"{name}/{s}-*.parquet"} for s in splits]}
        for name in configs
    ]
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': listed})}---\n", encoding="utf-8")


def _write(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
