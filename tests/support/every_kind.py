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
import yaml

from harness.checkpoints.reference import parse
from harness.engine.engine import AnswerBatch, Engine
from harness.engine.requests import Generation
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from support import invented, mirrors, tiny

GOODS = ("tea", "rice", "silk", "salt", "iron", "wine")
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
JUDGING = """
def judged(doc, results):
    values = {"letters": [float(len(results[0])), float(len(doc["story"]))]}
    return {**values, "hard_only": float("a" in results[0])} if doc["hard"] else values
def longest(values):
    return max(value for value, _ in values)
"""


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
        rows = [_question(first + k) for k in range(count)]
        mirrors.write(folder / "data", "me/caravans", config, test=rows, train=[_question(k) for k in range(500, 506)])
    mirrors.write(folder / "data", "shibing624/AdvertiseGen", "default", validation=COPY)
    mirrors.write(folder / "data", "CLUEbenchmark/CLUENER2020", "data", train=ENTITIES, validation=ENTITIES)
    _write_tasks(folder / "tasks")
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


def _question(number: int) -> dict[str, Any]:
    return {
        "story": f"Caravan {number // 2}",
        "question": f"What is in bale {number}?",
        "choices": [GOODS[(number + k) % 6] for k in range(2 + number % 3)],
        "answer": number % 2,
        "hard": number % 2 == 0,
    }


def _metric(name: str, aggregation: str = "mean") -> dict[str, Any]:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": True}


def _definition(name: str, config: str, **changes: Any) -> dict[str, Any]:
    content = {
        "task": name,
        "dataset_path": "me/caravans",
        "dataset_name": config,
        "test_split": "test",
        "fewshot_split": "train",
        "training_split": "train",
        "output_type": "multiple_choice",
        "doc_to_text": "{{story}} {{question}} Answer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "num_fewshot": 2,
        "metric_list": [_metric("acc"), _metric("acc_norm")],
        "metadata": {"version": 1, "cluster": "{{story}}"},
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def _write_tasks(folder: Path) -> None:
    folder.mkdir()
    says = {
        "output_type": "generate_until",
        "doc_to_target": "{{choices[answer]}}",
        "doc_to_choice": None,
        "num_fewshot": 0,
        "repeats": 2,
        "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 6},
        "metric_list": [_metric("exact_match")],
        "filter_list": [
            {"name": "first", "filter": [{"function": "take_first"}]},
            {
                "name": "letter",
                "filter": [
                    {"function": "regex", "regex_pattern": "([a-z])"},
                    {"function": "majority_vote"},
                    {"function": "take_first"},
                ],
            },
        ],
        "metadata": {"version": 1},
    }
    group = {
        "group": "pick",
        "task": ["pick_red", "pick_blue"],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": False}],
    }
    judge = _definition("judge", "both", **{**says, "repeats": 1, "filter_list": None, "metric_list": None})
    for name, content in {
        "red": _definition("pick_red", "red"),
        "blue": _definition("pick_blue", "blue"),
        "say": _definition("say", "both", **says),
        "group": group,
        "judge": judge,
    }.items():
        text = yaml.safe_dump(content, allow_unicode=True)
        if name == "judge":
            text += (
                "process_results: !function judging.judged\nmetric_list:\n"
                "- {metric: letters, aggregation: !function judging.longest, higher_is_better: true}\n"
                "- {metric: hard_only, aggregation: mean, higher_is_better: true}\n"
            )
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    (folder / "judging.py").write_text(JUDGING)
