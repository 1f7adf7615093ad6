"""Recorded lines that repeat questions and references: they must be those of the documents that are answered."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.recorded.reference_columns import Owners
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
        "own.jsonl: 2 of 6 recorded references ('reference') differ from the task's (first: …/recorded.jsonl, line 5)"
    ]


@pytest.mark.parametrize("letters", ["AAADBBBD", "BACDBACD"])
def test_what_was_read_from_the_answers_is_no_reference(letters: str, tmp_path: Path) -> None:
    """An evaluation script may call a wrong answer's letter `answer`; as many A may be read as B as B as A."""
    choices = {"A": "巴黎", "B": "里昂", "C": "马赛", "D": "尼斯"}
    rows = [{"question": f"第{place}题？", **choices, "answer": letter} for place, letter in enumerate("ABCDABCD")]
    lines = [{"id": place, "logprobs": [-1, -2, -3, -4], "answer": letter} for place, letter in enumerate(letters)]
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
    with pytest.raises(HarnessError, match=f"its '{column}' holds the question of document 5"):
        notes(tmp_path, sums(), recorded(column, rendered[::-1]))


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


def test_edited_questions_are_counted(tmp_path: Path) -> None:
    [note] = notes(tmp_path, sums(), recorded("question", [*QUESTIONS[:5], "Five and seven?"]))
    assert note.startswith("own.jsonl: 1 of 6 recorded questions ('question') differs from the task's (first: ")


@pytest.mark.parametrize("values", [["Who?"] * 6, [QUESTIONS[0]] * 6, [f"{word} plus seven?" for word in "abcdef"]])
def test_a_column_of_other_questions_without_owners_is_counted(values: list[str], tmp_path: Path) -> None:
    """A translation or a paraphrase belongs to no other document."""
    [note] = notes(tmp_path, sums(), recorded("question", values))
    assert note.startswith(f"own.jsonl: {6 - (values[0] in QUESTIONS)} of 6 recorded questions ('question') differ")


WORDS = {"comparisons": ("contains",)}

CAPITALS = [
    {"question": f"What is the capital of {country}?", "answer": city}
    for country, city in (
        *(("France", "the city of Paris"), ("Italy", "the city of Rome"), ("Spain", "the city of Madrid")),
        *(("Peru", "the city of Lima"), ("Chad", "the city of N'Djamena"), ("Mali", "the city of Bamako")),
    )
]
CITIES = [row["answer"] for row in CAPITALS]
SHOTS = "".join(f"{row['question']} {row['answer']}\n" for row in CAPITALS[:2])
STEM = {"question": "下列说法正确的是（ ）", "answer": "甲说的全部都正确"}
DIRECTIVE = {"question": "Answer the question. Who wrote the book?", "answer": "a writer from Lima"}


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("instruction", ["Answer the question."] * 7),
        ("instruction", [CAPITALS[2]["question"]] * 7),
        ("context", [f"FAQ: {row['question']} {row['answer']}" for row in CAPITALS[1:]]),
        ("context", [row["question"] for row in CAPITALS[1:]]),
        (
            "content",
            [f"It is {city}.\n{row['question']}" for city, row in zip(CITIES, CAPITALS[1:], strict=False)],
        ),
        ("content", [f"the city\nQuestion: {row['question']}" for row in CAPITALS[1:]]),
        (
            "prompt",
            [f"{SHOTS}Capital number {n}?" for n in range(7)],
        ),
        ("prompt", [f"{row['question']}\nAnd the capital number {n}?" for n, row in enumerate(CAPITALS[1:])]),
        ("question", [*(row["question"] for row in CAPITALS[:5]), "关于马里，下列说法正确的是（ ）"]),
        ("question", [*(row["question"] for row in CAPITALS[:5]), STEM["question"]]),
        ("question", [*(row["question"] for row in CAPITALS[:5]), CAPITALS[0]["question"]]),
    ],
)
def test_a_text_that_quotes_other_questions_is_not_refused(column: str, values: list[str], tmp_path: Path) -> None:
    lines = [{**line, "prediction": "the city"} for line in recorded(column, values)]
    result = notes(tmp_path, [*CAPITALS, DIRECTIVE, STEM], lines, limit=len(lines), **WORDS)
    assert column == "prompt" or any(f"'{column}'" in note for note in result)


@pytest.mark.parametrize("column", ["prompt", "input", "instruction", "question"])
def test_prompts_with_examples_of_the_same_file_in_another_order_are_refused(column: str, tmp_path: Path) -> None:
    shot = f"{CAPITALS[0]['question']} Paris"
    prompts = [f"{shot}\n{row['question']} Answer:" for row in CAPITALS]
    assert notes(tmp_path, CAPITALS, recorded(column, prompts), **WORDS) == []
    with pytest.raises(HarnessError, match=rf"its '{column}' holds the question of document 2"):
        notes(tmp_path, CAPITALS, recorded(column, [*prompts[1:], prompts[0]]), **WORDS)


def test_questions_of_another_test_set_that_shares_some_are_refused(tmp_path: Path) -> None:
    values = ["Who?", *QUESTIONS[2:5], "Where?", "When?"]
    with pytest.raises(HarnessError, match=r"line 2, .* its 'question' holds the question of document 2"):
        notes(tmp_path, sums(), recorded("question", values))


def test_numbering_and_marks_are_no_difference_of_questions(tmp_path: Path) -> None:
    values = [f"{place}. {row['question'].rstrip('?')}" for place, row in enumerate(CAPITALS)]
    assert notes(tmp_path, CAPITALS, recorded("question", values), **WORDS) == []


YES_NO = [{"question": f"Is {n} a good number?", "answer": "yes" if (n**3 + n) % 11 < 5 else "no"} for n in range(50)]
LABELS = [row["answer"] for row in YES_NO]


def flipped(labels: Sequence[str], each: int) -> list[str]:
    """Return labels of which `each` of either kind are the other one."""
    places = [n for label in ("yes", "no") for n in [n for n, text in enumerate(labels) if text == label][:each]]
    return [{"yes": "no", "no": "yes"}[label] if n in places else label for n, label in enumerate(labels)]


@pytest.mark.parametrize("column", ["answer", "response", "output", "label", "gold"])
@pytest.mark.parametrize("each", [1, 3])
def test_balanced_errors_of_two_labels_are_no_other_order(column: str, each: int, tmp_path: Path) -> None:
    [note] = notes(tmp_path, YES_NO, recorded(column, flipped(LABELS, each)), **WORDS)
    assert note.startswith(f"own.jsonl: {2 * each} of 50 recorded references ('{column}') differ from the task's")


@pytest.mark.parametrize("values", [LABELS[::-1], sorted(LABELS), [*LABELS[1:], LABELS[0]]])
def test_named_labels_in_another_order_are_refused(values: list[str], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="its 'label' holds the reference of another document"):
        notes(tmp_path, YES_NO, recorded("label", values), **WORDS)


def test_labels_of_another_notation_are_counted(tmp_path: Path) -> None:
    rows = [{"question": f"How many stars has hotel {n}?", "answer": str(n * n % 5 + 1)} for n in range(20)]
    [note] = notes(tmp_path, rows, recorded("label", [int(row["answer"]) - 1 for row in rows]))
    assert note.startswith("own.jsonl: 20 of 20 recorded references ('label') differ")


def test_one_group_of_labels_that_ends_earlier_is_no_shift(tmp_path: Path) -> None:
    rows = [{"question": f"Is {n} a good number?", "answer": "yes" if n < 3 else "no"} for n in range(6)]
    for column in ("label", "answer"):
        [note] = notes(tmp_path, rows, recorded(column, ["yes", "yes", "no", "no", "no", "no"]), **WORDS)
        assert note.startswith(f"own.jsonl: 1 of 6 recorded references ('{column}') differs")


@pytest.mark.parametrize("column", ["output", "answer", "gold", "reference"])
def test_one_reference_of_another_document_is_counted(column: str, tmp_path: Path) -> None:
    [note] = notes(tmp_path, CAPITALS, recorded(column, [*CITIES[:5], CITIES[0]]), **WORDS)
    assert note.startswith(f"own.jsonl: 1 of 6 recorded references ('{column}') differs")


def test_wrong_answers_of_which_some_are_right_elsewhere_are_counted(tmp_path: Path) -> None:
    values = [CITIES[1], CITIES[0], "the city of Bern", "the city of Oslo", "the city of Riga", CITIES[5]]
    [note] = notes(tmp_path, CAPITALS, recorded("output", values), **WORDS)
    assert note.startswith("own.jsonl: 5 of 6 recorded references ('output') differ")


@pytest.mark.parametrize("column", ["output", "answer", "gold", "reference"])
def test_long_references_in_another_order_are_refused(column: str, tmp_path: Path) -> None:
    for values in (CITIES[::-1], [CITIES[1], CITIES[0], *CITIES[2:]], [*CITIES[1:], "the city of Bern"]):
        with pytest.raises(HarnessError, match=f"line 1, .* its '{column}' holds the reference of document [15]"):
            notes(tmp_path, CAPITALS, recorded(column, values), **WORDS)


@pytest.mark.parametrize("column", ["references", "answers", "gold", "answer"])
def test_lists_of_accepted_answers_are_compared_item_by_item(column: str, tmp_path: Path) -> None:
    rows = [{"question": row["question"], "answer": [row["answer"], row["answer"].split()[-1]]} for row in CAPITALS]
    values = [row["answer"] for row in rows]
    assert notes(tmp_path, rows, recorded(column, values), **WORDS) == []
    assert notes(tmp_path, rows, recorded(column, [[items[1], "one more"] for items in values]), **WORDS) == []
    assert notes(tmp_path, rows, recorded(column, [items[0] for items in values]), **WORDS) == []
    with pytest.raises(HarnessError, match=f"line 1, .* its '{column}' holds the reference of document 5"):
        notes(tmp_path, rows, recorded(column, values[::-1]), **WORDS)


def test_numbers_are_compared_by_their_values(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} thousand?", "answer": f"{n},000"} for n in range(1, 7)]
    assert notes(tmp_path, rows, recorded("gold", [f"{n}000" for n in range(1, 7)])) == []
    assert notes(tmp_path, rows, recorded("gold", [n * 1000.0 for n in range(1, 7)])) == []
    with pytest.raises(HarnessError, match=r"line 1, .* its 'gold' holds the reference of document 5"):
        notes(tmp_path, rows, recorded("gold", [f"{n}000" for n in range(6, 0, -1)]))
    [note] = notes(tmp_path, rows, recorded("gold", ["100", *(f"{n}000" for n in range(2, 7))]))
    assert note.startswith("own.jsonl: 1 of 6 recorded references ('gold') differs")


def test_a_number_is_no_cut_of_a_longer_one() -> None:
    owners = Owners([["10000"], ["the end of the story"]])
    assert owners.only_owner(["1000"]) is None
    assert owners.only_owner(["the end of the"]) == 1


def test_owners_of_cut_references_are_found_in_logarithmic_time() -> None:
    """References that are sorted before a cut one take no time."""

    def seconds(owners: Owners) -> float:
        started = time.process_time()
        for _ in range(2000):
            owners.only_owner(["the end of the"])
        return time.process_time() - started

    few, many = (
        Owners([*([f"a story of number {place}"] for place in range(count)), ["the end of the story"]])
        for count in (1_000, 40_000)
    )
    assert min(seconds(many) for _ in range(3)) < 8 * max(min(seconds(few) for _ in range(3)), 1e-3)


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
        ("1,000", "1000", True),
        ("1000.0", "1000", True),
        ("1000", "10000", False),
        ("he was born in the year 19", "he was born in the year 1984", False),
        ("0.5", "1/2", True),
    ],
)
def test_white_space_width_and_case_are_no_difference(recorded_text: str, expected: str, same: bool) -> None:
    assert is_same(normalised(recorded_text), normalised(expected)) is same
