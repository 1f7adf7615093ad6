"""Questions with choices in a user's own test set: one right letter, or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.own_files import file_tasks, question_files
from support import tiny
from support.own_questions import BUY, FRUIT, built, written


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("base"), tiny.tokenizer())


@pytest.mark.parametrize(
    ("row", "prompt", "place"),
    [
        (BUY, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({**BUY, "answer": "鱼市"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "（B）"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "A": "b", "B": "a", "answer": "a"}, "哪里卖纸？\nA. b\nB. a\n答案：", 1),
        ({**BUY, "answer": "Ｂ"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "b"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": "B. 鱼市"}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({**BUY, "answer": 0.0}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({"Question": "Q?", "Options": ["x", "y"], "Answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({**BUY, "C": ""}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 0),
        ({**BUY, "C": None, "D": None, "answer": ["B"]}, "哪里卖纸？\nA. 书店\nB. 鱼市\n答案：", 1),
        ({"question": "Q?", "choices": ["x", "y", "z"], "answer": 0}, "Q?\nA. x\nB. y\nC. z\nAnswer:", 0),
        ({"question": "Q?", "choices": ["3", "7", "1"], "answer": "7"}, "Q?\nA. 3\nB. 7\nC. 1\nAnswer:", 1),
        ({"question": "Q?", "choices": [30, 0, 10], "answer": 30}, "Q?\nA. 30\nB. 0\nC. 10\nAnswer:", 0),
        ({"question": "Q?", "choices": ["1", "0"], "answer": 0}, "Q?\nA. 1\nB. 0\nAnswer:", 0),
        ({"question": "Q?", "A": 0, "B": 1, "C": 2, "answer": "B"}, "Q?\nA. 0\nB. 1\nC. 2\nAnswer:", 1),
        ({"question": "Q?", "option_a": "x", "option_b": "y", "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"question": "Q?", "options": {"a": "x", "b": "y"}, "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"prompt": "Q?", "A": "x", "B": "y", "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"instruction": "选。", "input": "Q?", "A": "x", "B": "y", "output": "B"}, "选。\nQ?\nA. x\nB. y\n答案：", 1),
        ({"question": "Q?", "options": {"A": "x", "B": "y"}, "answer": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        ({"question": "Q?", "options": ["A. x", "B. y"], "label": "B"}, "Q?\nA. x\nB. y\nAnswer:", 1),
        (
            {"question": "Q?", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
            "Q?\nA. x\nB. y\nAnswer:",
            1,
        ),
        ({"passage": "P.", "question": "Q?", "choices": [1, 2.5], "answer": "A"}, "P.\nQ?\nA. 1\nB. 2.5\nAnswer:", 0),
    ],
)
def test_choices_get_letters(tmp_path: Path, row: dict[str, Any], prompt: str, place: int) -> None:
    questions = question_files.read(written(tmp_path, row))
    assert questions.is_multiple_choice
    assert (questions.documents[0]["prompt"], questions.documents[0]["answer"]) == (prompt, place)


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "AC",
            "CA",
            "A,C",
            "A、C",
            "A，C",
            "A C",
            "A;C",
            "A；C",
            "A/C",
            "A|C",
            "A和C",
            "A and C",
            "ＡＣ",
            "a,c",
            "(A)(C)",
        ),
        *(["A", "C"], ["C", "A"], '["A", "C"]', "['A', 'C']", ["苹果", "梨"], "苹果、梨", "苹果,梨", "苹果\n梨"),
        *("A. 苹果\nC. 梨", "A. 苹果;C. 梨", [0, 2], "0,2", ["A. 苹果", "C. 梨"], "A.C", "（A）（C）"),
    ],
    ids=str,
)
def test_several_right_choices_are_a_set_of_letters(tmp_path: Path, answer: object) -> None:
    single = {**FRUIT, "answer": 1 if answer in ([0, 2], "0,2") else "B"}
    questions = question_files.read(written(tmp_path, {**FRUIT, "answer": answer}, single))
    assert questions.metrics == ("exact_set", "partial_credit")
    assert [document["answer"] for document in questions.documents] == ["AC", "B"]
    assert questions.documents[0]["prompt"] == (
        "问题：哪些是水果？\nA. 苹果\nB. 石头\nC. 梨\nD. 铁\n答案（一个或多个字母）："
    )


def test_letter_sets_are_generated_and_compared(base: Path, tmp_path: Path, capsys) -> None:
    file = written(tmp_path, FRUIT, {**FRUIT, "question": "哪个是石头？", "answer": "B"})
    requests = built(file, (), 1).instances
    assert "\n答案（一个或多个字母）：B\n\n问题：" in requests[0].args[0]
    assert requests[0].args[1]["until"] == ["\n问题：", "\n\n"]
    task = file_tasks.build(str(file))
    document = task.documents[0]
    assert task.score(document, ["AC"]) == {"exact_set": 1, "partial_credit": 1}
    assert task.score(document, ["A"]) == {"exact_set": 0, "partial_credit": 0.5}
    assert task.score(document, ["AB"]) == task.score(document, [""]) == {"exact_set": 0, "partial_credit": 0}
    assert (task.understood(document, "AC"), task.understood(document, "")) == (True, False)
    [report] = run([parse(str(base))], Options((str(file),), tmp_path / "out", max_gen_toks=8))
    assert [(score.metric, score.n) for score in report.manifest.scores] == [("exact_set", 2), ("partial_credit", 2)]
    assert main(["run", "--model", str(base), "--tasks", str(file), "--metric", "bleu"]) == 2
    assert "with answers in words, and no task here is one" in capsys.readouterr().err
    predictions = written(
        tmp_path, {"id": 0, "prediction": "\n选A和C。"}, {"id": 1, "prediction": "B股"}, name="p.jsonl"
    )
    assert main(["score", "--predictions", str(predictions), "--task", str(file), "-o", str(tmp_path / "out")]) == 0
    assert " 50.0 %" in capsys.readouterr().out
