"""Runs of a tiny checkpoint whose answers are scripted, so that expected scores are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.checkpoints.reference import parse
from harness.engine import engine
from harness.engine.requests import Generation
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from support import tiny


def report(monkeypatch: Any, folder: Path, mirror: Path, answers: dict[str, str], *tasks: str) -> Report:
    """Return the report of `tasks` on the data of `mirror`; `answers` maps the end of a prompt to its answer."""
    words = tiny.tokenizer()

    def decode(_: Any, prompts: Any, missing: Any) -> Any:
        for index, prompt in enumerate(prompts):
            if missing[index]:
                text = words.decode(prompt.ids)
                [answer] = [answer for end, answer in answers.items() if text.endswith(end)]
                yield engine.AnswerBatch([(index, Generation(answer, is_cut=False))], 0, 3)

    monkeypatch.setattr(engine.Engine, "decode", decode)
    return answered(folder, mirror, *tasks, max_gen_toks=64)


def answered(folder: Path, mirror: Path, *tasks: str, **options: Any) -> Report:
    """Return the report of a tiny checkpoint with random weights on `tasks`."""
    base = folder / "base"
    if not base.exists():
        tiny.llama(base, context=8192)
    [result] = run([parse(str(base))], Options(tasks=tasks, output=folder / "runs", data=mirror, **options))
    return result
