"""Recorded lines that repeat questions and references: they must be those of the documents that are answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.recorded.references import is_same, normalised
from harness.recorded.score import Scoring, score

LONG = (
    "红色的裙子，飘逸又显瘦，适合约会。",
    "白色的上衣，简约而大方，适合通勤。",
    "黑色的外套，厚实又保暖，适合冬天。",
)


def notes(folder: Path, rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]], **options: Any) -> list[str]:
    """Return the notes of the report of `lines` on a test set of `rows`."""
    questions, file = folder / "own.jsonl", folder / "recorded.jsonl"
    for path, content in ((questions, rows), (file, lines)):
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in content), encoding="utf-8")
    [report] = score(Scoring(file, folder / "out", task=str(questions), **options))
    return report.manifest.notes


def sums(count: int = 6) -> list[dict[str, Any]]:
    return [{"question": f"{place} + 7 = ?", "answer": str(place + 7)} for place in range(count)]


def recorded(column: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"id": place, "prediction": "7", column: value} for place, value in enumerate(values)]


ANSWERS = [row["answer"] for row in sums()]
QUESTIONS = [row["question"] for row in sums()]


@pytest.mark.parametrize("column", ["reference", "Labels", "target", "gold", "ground_truth", "answer", "答案"])
@pytest.mark.parametrize(
    "values",
    [
        ANSWERS[::-1],
        [*ANSWERS[1:], ANSWERS[0]],
        ANSWERS[1:],
        [ANSWERS[1], ANSWERS[0], *ANSWERS[2:]],
        [int(answer) for answer in ANSWERS[::-1]],
        [f" {answer}\n" for answer in ANSWERS[::-1]],
    ],
)
def test_references_in_another_order_are_refused(column: str, values: list[Any], tmp_path: Path) -> None:
    rows = recorded(column, values)
    error = rf"recorded\.jsonl, line 1, answers document 0 of own\.jsonl, but its '{column}' holds the reference of d"
    with pytest.raises(HarnessError, match=error):
        notes(tmp_path, sums()[: len(rows)] if len(rows) == 6 else sums(), rows, limit=len(rows))


@pytest.mark.parametrize(
    "values",
    [
        ANSWERS,
        [f" {answer}\n" for answer in ANSWERS],
        [int(answer) for answer in ANSWERS],
        [[answer] for answer in ANSWERS],
        ["７", "８", *ANSWERS[2:]],
        [None, "", *ANSWERS[2:]],
    ],
)
def test_references_that_agree_are_not_mentioned(values: list[Any], tmp_path: Path) -> None:
    assert notes(tmp_path, sums(), recorded("reference", values)) == []


def test_an_edited_reference_is_counted(tmp_path: Path) -> None:
    values = [*ANSWERS[:4], "12 apples", "99"]
    assert notes(tmp_path, sums(), recorded("reference", values)) == [
        "own.jsonl: 2 of 6 recorded references ('reference') differ from the task's (first: "
        f"{tmp_path / 'recorded.jsonl'}, line 5)"
    ]


def test_what_was_read_from_the_answers_is_no_reference(tmp_path: Path) -> None:
    """An evaluation script may call a wrong answer's letter `answer`."""
    choices = {"A": "巴黎", "B": "里昂", "C": "马赛", "D": "尼斯"}
    rows = [{"question": f"第{place}题？", **choices, "answer": letter} for place, letter in enumerate("ABCDABCD")]
    lines = [{"id": place, "logprobs": [-1, -2, -3, -4], "answer": letter} for place, letter in enumerate("AAADBBBD")]
    assert notes(tmp_path, rows, lines)[0].startswith("own.jsonl: 4 of 8 recorded references ('answer') differ")


@pytest.mark.parametrize(
    "values",
    ["ABCD", "abcd", ["巴黎", "里昂", "马赛", "尼斯"], [0, 1, 2, 3], [1, 2, 3, 4], ["(A)", "B.", "C", "D"]],
)
def test_the_right_choice_may_have_any_form(values: Sequence[Any], tmp_path: Path) -> None:
    choices = {"A": "巴黎", "B": "里昂", "C": "马赛", "D": "尼斯"}
    rows = [{"question": f"第{place}题？", **choices, "answer": letter} for place, letter in enumerate("ABCD")]
    lines = [{"id": p, "logprobs": [-1, -2, -3, -4], "label": value} for p, value in enumerate(values)]
    assert notes(tmp_path, rows, lines) == []
    with pytest.raises(HarnessError, match=r"line [12], answers document [01] of own\.jsonl, but its 'label' holds"):
        notes(tmp_path, rows, [{**line, "label": value} for line, value in zip(lines, values[::-1], strict=True)])


@pytest.mark.parametrize("cut", [None, 4, 9])
def test_labels_of_chatglms_lines_may_be_cut_but_not_in_another_order(cut: int | None, tmp_path: Path) -> None:
    rows = [{"content": f"类型#{place}", "summary": text} for place, text in enumerate(LONG)]
    lines = [{"labels": text[:cut], "predict": "好"} for text in LONG]
    assert not [note for note in notes(tmp_path, rows, lines) if "label" in note]
    for order in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):
        with pytest.raises(HarnessError, match="its 'labels' holds the reference of "):
            notes(tmp_path, rows, [lines[place] for place in order])


@pytest.mark.parametrize("column", ["question", "Problem", "题目", "prompt", "input"])
def test_a_question_of_another_document_is_refused(column: str, tmp_path: Path) -> None:
    assert notes(tmp_path, sums(), recorded(column, QUESTIONS)) == []
    assert notes(tmp_path, sums(), recorded(column, [f"Question:  {text}\nAnswer:" for text in QUESTIONS])) == []
    for values in (QUESTIONS[::-1], [QUESTIONS[0], QUESTIONS[2], QUESTIONS[1], *QUESTIONS[3:]]):
        with pytest.raises(HarnessError, match=f"its '{column}' holds the question of document [25]"):
            notes(tmp_path, sums(), recorded(column, values))
    rendered = [f"<|im_start|>user\n{text}<|im_end|>" for text in QUESTIONS]
    assert notes(tmp_path, sums(), recorded(column, rendered)) == []
    if column != "input":
        with pytest.raises(HarnessError, match="question"):
            notes(tmp_path, sums(), recorded("question", rendered[::-1]))


def test_a_part_of_the_question_may_show_that_it_is_another_one(tmp_path: Path) -> None:
    rows = [{"instruction": "Add.", "input": f"Numbers {place} and 7", "output": str(place + 7)} for place in range(4)]
    inputs = [row["input"] for row in rows]
    unread = "own.jsonl: 'instruction' of the recorded lines: not read, since each line's id names its document"
    lines = [{**line, "instruction": "Sum up."} for line in recorded("input", inputs)]
    assert notes(tmp_path, rows, lines) == [unread]
    with pytest.raises(HarnessError, match="its 'input' holds the question of document 3"):
        notes(tmp_path, rows, recorded("input", inputs[::-1]))


@pytest.mark.parametrize("column", ["messages", "conversations", "prompt"])
def test_the_last_question_of_a_recorded_conversation_counts(column: str, tmp_path: Path) -> None:
    turns = [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi!"}, {"role": "user", "content": text}]
        for text in QUESTIONS
    ]
    assert notes(tmp_path, sums(), recorded(column, turns)) == []
    with pytest.raises(HarnessError, match=f"its '{column}' holds the question of document 5"):
        notes(tmp_path, sums(), recorded(column, turns[::-1]))


def test_a_number_that_was_read_from_many_answers_is_no_reference(tmp_path: Path) -> None:
    [note] = notes(tmp_path, sums(), recorded("answer", ["7", "7", "9", "7", "9", "7"]))
    assert note.startswith("own.jsonl: 4 of 6 recorded references ('answer') differ")


def test_a_question_within_a_longer_number_is_another_one(tmp_path: Path) -> None:
    rows = [{"question": "1 + 1", "answer": "2"}, {"question": "11 + 1", "answer": "12"}]
    with pytest.raises(HarnessError, match=r"line 1, answers document 0 .* question of document 1"):
        notes(tmp_path, rows, recorded("question", ["11 + 1", "1 + 1"]))


def test_an_edited_question_is_counted_and_questions_of_other_data_are_refused(tmp_path: Path) -> None:
    [note] = notes(tmp_path, sums(), recorded("question", [*QUESTIONS[:5], "Five and seven?"]))
    assert note.startswith("own.jsonl: 1 of 6 recorded questions ('question') differs from the task's (first: ")
    with pytest.raises(HarnessError, match=r"line 1, answers document 0 of own\.jsonl, but its 'question' holds ano"):
        notes(tmp_path, sums(), recorded("question", ["Who?"] * 6))


def test_other_columns_are_named_as_not_read(tmp_path: Path) -> None:
    lines = [{**line, "model": "m"} for line in recorded("instruction", ["Answer briefly."] * 6)]
    assert notes(tmp_path, sums(), lines) == [
        "own.jsonl: 'instruction', 'model' of the recorded lines: not read, since each line's id names its document"
    ]


@pytest.mark.parametrize(
    ("recorded_text", "expected", "same"),
    [
        ("A b", "Ａ  B", True),
        ("红色的", "红色的裙子", True),
        ("1", "12", False),
        ("1", "1.5", False),
        ("7", "7元", True),
        ("the", "therefore", False),
        ("3 4", "34", False),
    ],
)
def test_white_space_width_and_case_are_no_difference(recorded_text: str, expected: str, same: bool) -> None:
    assert is_same(normalised(recorded_text), normalised(expected)) is same
