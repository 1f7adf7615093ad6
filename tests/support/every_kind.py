"""A small world with a task of every kind, and reports of runs on it whose generated answers are scripted.

Kinds: choices with few-shot examples and an average over two tasks, samples of a text under two filters, a metric with
an aggregation of its own, corpus BLEU, counts of extracted entities, own questions, and own texts.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.checkpoints.reference import parse
from harness.engine.engine import AnswerBatch, Engine
from harness.engine.requests import Generation
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from support import caravans, invented, mirrors, tiny

TEXTS = ("tea", "", "wine\n", "it is salt", "<think>hm</think>rice", "b", "这件上衣很简约。", '{"name": ["林晚"]}', "7")
COPY = [
    {"content": "类型#上衣*颜色#白色", "summary": "这件白色的上衣，很简约大方。"},
    {"content": "类型#裙", "summary": "红色的裙子。"},
]
ENTITIES = [
    {"text": "林晚在邮局上班。", "entities": [{"type": "name", "text": "林晚", "start": 0, "end": 1}]},
    {"text": "老周去了银行。", "entities": [{"type": "name", "text": "老周", "start": 0, "end": 1}]},
]
TASKS = ("pick", "say", "judge", "adgen", "cluener_json")
CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "


class World(NamedTuple):
    """Data, definitions and a checkpoint."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def own(self) -> tuple[str, ...]:
        """The tasks that are files, as `--tasks` names them."""
        files = (self.folder / "words.jsonl", self.folder / "choices.jsonl")
        return (*map(str, files), f"ppl:{self.folder / 'story.txt'}")

    def options(self, output: Path, *tasks: str, **changes: Any) -> Options:
        changes = {"keep_paths": True} | changes
        return Options(tasks=tasks, output=output, data=self.data, include=(self.folder / "tasks",), **changes)

    def answered(self, output: Path, *tasks: str, model: str = "", **changes: Any) -> Report:
        """Return the report of the checkpoint, or of the reference `model`, with scripted texts."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "decode", scripted)
            [report] = run([parse(model or str(self.base))], self.options(output, *tasks, **changes))
        return report


def scripted(_: Any, prompts: Any, missing: Any) -> Any:
    """Answer each prompt with one of `TEXTS`, samples of one prompt with several."""
    for index, prompt in enumerate(prompts):
        if missing[index]:
            text = TEXTS[(zlib.crc32(repr(prompt.ids).encode()) + prompt.sample) % len(TEXTS)]
            yield AnswerBatch([(index, Generation(text, is_cut=False))], 0, 3)


def build(folder: Path) -> World:
    """Write the world into `folder`."""
    invented.mirror(folder / "data", questions=1)
    for config, count, first in (("red", 5, 0), ("blue", 4, 12), ("both", 6, 200)):
        rows = [caravans.question(first + k, caravan=2, hard=2) for k in range(count)]
        shots = [caravans.question(k, caravan=2, hard=2) for k in range(500, 506)]
        mirrors.write(folder / "data", caravans.DATASET, config, test=rows, train=shots)
    mirrors.write(folder / "data", "shibing624/AdvertiseGen", "default", validation=COPY)
    mirrors.write(folder / "data", "CLUEbenchmark/CLUENER2020", "data", train=ENTITIES, validation=ENTITIES)
    caravans.write_tasks(folder / "tasks")
    words = [{"question": f"What is {k} and {k}?", "answer": f"it is {2 * k}"} for k in range(4)]
    choices = [{"question": f"第{k}问？", "A": "书店", "B": "鱼市", "answer": "AB"[k % 2]} for k in range(4)]
    for name, rows in (("words", words), ("choices", choices)):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "story.txt").write_text("The brown fox jumps.\n\nThe dog is lazy. " * 9, encoding="utf-8")
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = CHAT
    tiny.llama(folder / "base", tokenizer, context=2048)
    return World(folder)
