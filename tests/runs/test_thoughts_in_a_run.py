"""Thoughts and chat templates through whole runs of checkpoints whose answers are known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.reports.report import Report
from harness.runs.estimate import forecast
from harness.runs.options import Options
from harness.runs.sweep import run
from support import chained

HEADS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
PLAIN = HEADS + "{% if add_generation_prompt %}<assistant>{% endif %}"
OPENS = HEADS + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
WORDS = ({"question": "三加四是？", "answer": "7"}, {"question": "十减三是？", "answer": "7"})
LETTERS = (
    {"question": "一加二是？", "A": "二", "B": "一", "C": "三", "D": "四", "answer": "C"},
    {"question": "二加二是？", "A": "二", "B": "一", "C": "四", "D": "三", "answer": "C"},
)


def questions(folder: Path, rows: Any, name: str = "q.jsonl") -> str:
    file = folder / name
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def evaluate(model: Path | str, task: str, *, metrics: tuple[str, ...] = (), **changes: Any) -> Report:
    folder = Path(task).parent / "out"
    [report] = run([parse(str(model))], Options((task,), folder, comparisons=metrics, max_gen_toks=64, **changes))
    return report


def score(report: Report) -> float:
    return report.manifest.scores[0].value


@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
@pytest.mark.parametrize(
    "marks",
    [
        ("<think>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<|my_thought_start|>", "<|my_thought_end|>"),
    ],
    ids=lambda marks: marks[0],
)
def test_the_answer_behind_a_thought_is_scored(tmp_path: Path, marks: tuple[str, str], special: bool) -> None:
    chain = chained.saying(f"{marks[0]}89{marks[1]}7", after="：", tokens=marks)
    model = chained.model(tmp_path / "model", chain, tokens=marks, special=special)
    report = evaluate(model, questions(tmp_path, WORDS), metrics=("exact_match",))
    assert score(report) == 1
    [info] = report.manifest.tasks.values()
    assert (info.thoughts, info.unfinished_thoughts) == (2, 0)


def test_gpt_oss_answers_in_its_final_channel(tmp_path: Path) -> None:
    tokens = ("<|channel|>", "<|message|>")
    chain = chained.saying("<|channel|>final<|message|>7", after="：", tokens=tokens)
    model = chained.model(tmp_path / "model", chain, tokens=tokens)
    assert score(evaluate(model, questions(tmp_path, WORDS), metrics=("exact_match",))) == 1


def test_marks_that_only_the_reference_names_are_found(tmp_path: Path) -> None:
    model = chained.model(tmp_path / "model", chained.saying("(89)7", after="："))
    task = questions(tmp_path, WORDS)
    assert score(evaluate(model, task, metrics=("exact_match",))) == 0
    report = evaluate(f"{model},think=(,)", task, metrics=("exact_match",))
    assert score(report) == 1
    assert report.manifest.tasks["q.jsonl"].thoughts == 2
    assert parse(report.manifest.checkpoint.reference).think == "(,)"


def test_a_mark_without_a_counterpart_stops_the_run(tmp_path: Path) -> None:
    template = PLAIN + "{% if x %}<|deep_thought|>{% endif %}"
    model = chained.model(tmp_path / "model", chained.saying("7", after=">"), template=template)
    task = questions(tmp_path, WORDS)
    for is_applied in (True, False):  # the model may think without its template, too
        with pytest.raises(
            HarnessError, match=r"'<\|deep_thought\|>', a mark of thoughts whose counterpart is unknown"
        ):
            evaluate(model, task, metrics=("exact_match",), apply_chat_template=is_applied)
    assert score(evaluate(f"{model},think=none", task, metrics=("exact_match",), apply_chat_template=True)) == 1


@pytest.mark.parametrize("template", [PLAIN, OPENS], ids=["plain", "opens"])
def test_letters_are_not_chosen_inside_a_thought(tmp_path: Path, template: str) -> None:
    chain = {"：": "C", ">": "C", "\n": "A", "C": "</s>", "A": "</s>"}
    model = chained.model(tmp_path / "model", chain, template=template)
    task = questions(tmp_path, LETTERS)
    report = evaluate(model, task, apply_chat_template=True)
    assert score(report) == 1
    prompts = set(report.samples("q.jsonl")["prompt"].str.rpartition("<assistant>")[2])
    notes = [note for note in report.manifest.notes if "choices are scored after" in note]
    if template == OPENS:
        assert prompts == {"<think>\n\n</think>"}
        assert len(notes) == 1
    else:
        assert prompts == {""}
        assert not notes


def test_a_forecast_counts_the_closed_thought(tmp_path: Path) -> None:
    model = chained.model(tmp_path / "model", {">": "C"}, template=OPENS)
    options = Options((questions(tmp_path, LETTERS),), tmp_path / "out", apply_chat_template=True)
    [cost] = forecast([parse(str(model))], options)
    [report] = run([parse(str(model))], options)
    assert report.manifest.engine is not None
    assert cost.total.tokens == report.manifest.engine.tokens_fed


def test_generated_answers_begin_inside_the_thought_that_a_template_opens(tmp_path: Path) -> None:
    tokens = ("<think>", "</think>")
    chain = chained.saying("89</think>7", after="\n", tokens=tokens)
    model = chained.model(tmp_path / "model", chain, template=OPENS, tokens=tokens)
    report = evaluate(model, questions(tmp_path, WORDS), metrics=("exact_match",), apply_chat_template=True)
    assert score(report) == 1
    endless = chained.model(tmp_path / "endless", {"\n": "8", "8": "9", "9": "8"}, template=OPENS, tokens=tokens)
    report = evaluate(endless, questions(tmp_path, WORDS), metrics=("exact_match",), apply_chat_template=True)
    assert report.manifest.tasks["q.jsonl"].unfinished_thoughts == 2


def test_an_instruction_that_is_in_no_prompt_is_noted_by_name(tmp_path: Path) -> None:
    ignores = PLAIN.replace("in messages", "in messages if m.role != 'system'")
    model = chained.model(tmp_path / "model", {">": "C", "C": "</s>"}, template=ignores)
    task = questions(tmp_path, LETTERS)
    report = evaluate(model, task, apply_chat_template=True, system_instruction="你是")
    assert [note for note in report.manifest.notes if "the system instruction '你是' are in no prompt" in note]
    report = evaluate(model, task, apply_chat_template=True)
    assert not [note for note in report.manifest.notes if "system" in note]


def test_a_template_that_spoils_earlier_turns_is_refused_only_where_there_are_some(tmp_path: Path) -> None:
    last = "<user>{{ messages[-1].content }}<assistant>"
    model = chained.model(tmp_path / "model", {">": "7", "7": "</s>"}, template=last)
    single = questions(tmp_path, WORDS)
    assert score(evaluate(model, single, metrics=("exact_match",), apply_chat_template=True)) == 1
    for task, shots in ((single, 1), (questions(tmp_path, CONVERSATIONS, "turns.jsonl"), None)):
        with pytest.raises(HarnessError, match="leaves out a question: correct it"):
            evaluate(model, task, metrics=("exact_match",), apply_chat_template=True, num_fewshot=shots)


CONVERSATIONS = [
    {
        "messages": [
            {"role": "user", "content": "一加一是？"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "三加四是？"},
            {"role": "assistant", "content": "7"},
        ]
    }
]


def test_a_template_that_shortens_questions_is_refused(tmp_path: Path) -> None:
    template = PLAIN.replace("m.content", "m.content[:500]")
    model = chained.model(tmp_path / "model", {">": "C"}, template=template)
    with pytest.raises(HarnessError, match="shortens or changes a question"):
        evaluate(model, questions(tmp_path, LETTERS), apply_chat_template=True)
