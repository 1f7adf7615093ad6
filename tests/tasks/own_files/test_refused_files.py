"""Files and metrics that make no test set are refused with their line and advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.errors import HarnessError
from harness.runs.options import Options
from harness.runs.sweep import run
from harness.tasks.own_files import question_files
from support import tiny
from support.own_questions import BUY, FRUIT, written


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("base"), tiny.tokenizer())


@pytest.mark.parametrize(
    ("rows", "comparisons", "message"),
    [
        ([], (), "holds no rows"),
        ([{"title": "a", "body": "b"}], (), "no known layout in the columns title, body: rename them"),
        ([{"question": "谁？", "answer": "我"}], (), "has answers in words: say how they are compared, with --metric"),
        ([{"question": "谁？", "answer": "我"}], ("f1",), "there is no --metric f1 for answers in words: choose among"),
        ([{"question": "谁？", "answer": "我"}], ("number",), "line 1: its answer '我' holds no number"),
        (
            [{"question": "?", "answer": "a"}, {"question": "?", "answer": "😀!"}],
            ("rouge",),
            "line 2: its answer '😀!'",
        ),
        (
            [{"question": "?", "answer": "a"}, {"question": "?", "answer": "\u200b"}],
            ("contains",),
            "line 2: its answer has",
        ),
        ([{"question": "?", "answers": ["a", "\ufeff \u2060"]}], ("exact_match",), "line 1: its answer has no visible"),
        ([{"question": "?", "answers": ["a", "❤️"]}], ("bleu",), "line 1: its answer '❤️' has no word"),
        ([BUY, {"question": "谁？"}], (), "line 2: 'A', 'B' … is not a list of 2 to 26 choices"),
        ([BUY, {**BUY, "answer": "C"}], (), "line 2: 'answer' is 'C', which is not one of its 2 choices"),
        ([BUY, {**BUY, "answer": None}], (), "line 2: 'answer' does not name one choice"),
        ([{**BUY, "answer": 0}, {**BUY, "answer": 2}], (), "which is not one of its 2 choices, counted from 0"),
        ([BUY, {**BUY, "answer": 1}], (), "line 2: 'answer' is '1', which is not one of its 2 choices"),
        ([{**BUY, "A": "1", "B": "0", "answer": "0"}], (), "may be texts of choices, or count them from 0: name them"),
        ([{**BUY, "answer": 1}, {**BUY, "answer": 1}], (), "they may count from 1: name them by letters"),
        ([{**BUY, "A": "B", "B": "甲", "answer": "B"}], (), "is more than one of its 2 choices"),
        ([{**BUY, "B": "书店", "answer": "书店"}], (), "'answer' is '书店', which is more than one of its 2 choices"),
        ([{**BUY, "answer": "AX"}], (), "'answer' is 'AX', which is not one of its 2 choices"),
        ([{**BUY, "answer": "ABA"}], (), "'answer' names a choice twice"),
        ([{**BUY, "answer": ["A", "书店"]}], (), "'answer' names a choice twice"),
        ([{**BUY, "answer": []}], (), "line 1: 'answer' is an empty list"),
        ([{**BUY, "answer": "bad"}], (), "'answer' is 'bad', which is not one of its 2 choices"),
        ([FRUIT, {**FRUIT, "D": "AB", "answer": "AB"}], (), "line 2: 'answer' is 'AB', which may be the text of a"),
        ([{**FRUIT, "answer": [1, 3]}], (), "they may count from 1: name them by letters"),
        ([{**FRUIT, "answer": "1,3"}], (), "they may count from 1: name them by letters"),
        ([{"question": "谁？", "answer": float("nan")}], ("bleu",), "line 1: 'answer' is not a text"),
        ([{"question": "谁？", "answer": "我"}, BUY], ("bleu",), "line 1: 'A', 'B' … is not a list of 2 to 26 choices"),
        (
            [{"content": "一", "summary": "二", "A": "三", "B": "四"}],
            (),
            "no known layout in the columns content, summary",
        ),
        ([{"question": "谁？", "answer": "2024/05/01"}], (), "has answers in words"),
        ([{"question": "谁？", "answer": "1,3,4"}], (), "has answers in words"),
        ([{"question": "", "answer": "1"}], (), "line 1: 'question' is missing or empty"),
        ([{"question": ["a"], "answer": "1"}], (), "line 1: 'question' is not a text"),
        ([{"question": "谁？", "answer": {"a": 1}}], ("bleu",), "line 1: 'answer' is not a text"),
        (
            [{"question": "谁？", "answers": []}],
            ("bleu",),
            "line 1: 'answers' is an empty list, or has entries that are not",
        ),
        (
            [{"instruction": "a", "output": "b", "history": ["c"]}],
            ("bleu",),
            "'history' is not a list of questions and",
        ),
        ([{"messages": [{"role": "user", "content": "a"}]}], ("bleu",), "does not end with a question and its answer"),
        ([{"messages": [{"role": [], "content": "a"}]}], ("bleu",), "of a role ([]) other than system, human"),
        ([{"messages": [{"role": "tool", "content": "a"}]}], ("bleu",), "of a role (tool) other than system, human"),
        ([{"messages": ["a"]}], ("bleu",), "line 1: 'messages' holds an item that is not a turn (item 1, a text)"),
        (
            [{"messages": [{"role": "user", "content": "a"}, {"content": "b"}]}],
            ("bleu",),
            "holds a turn without a role, 'from' or 'role' (turn 2)",
        ),
        (
            [{"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "b"}]}],
            ("bleu",),
            "line 1: 'messages' holds a turn without text (turn 1, user)",
        ),
        (
            [{"prompt": "a", "response": "b", "history": "none"}],
            ("bleu",),
            "line 1: 'history' is not a list of questions and answers, but a text",
        ),
        (
            [{"query": "a", "response": "b", "laws": "第一条"}],
            ("bleu",),
            "line 1: 'laws' is not a list of articles of law",
        ),
        (
            [{"query": "a", "laws": [], "history": ["[客户] a", "b"]}],
            ("bleu",),
            "line 1: an entry of 'history' begins with none of [客户], [律师]",
        ),
        (
            [{"query": "a", "laws": [], "history": ["[律师] a", "[客户] b"]}],
            ("bleu",),
            "line 1: 'history' does not begin with a question that is answered",
        ),
    ],
)
def test_a_file_that_cannot_be_a_test_set_is_refused(
    tmp_path: Path, rows: Any, comparisons: Any, message: str, capsys
) -> None:
    file = written(tmp_path, *rows)
    with pytest.raises(HarnessError) as error:
        question_files.read(file, comparisons)
    assert message in str(error.value)
    assert str(file) in str(error.value)
    metric = ["--metric", ",".join(comparisons)] if comparisons else []
    assert (
        main(["run", "--model", "nowhere", "--tasks", str(file), *metric]) == 2
    )  # before any checkpoint is looked for
    assert message in capsys.readouterr().err


def conversation(*turns: tuple[str, Any], column: str = "conversations") -> dict[str, Any]:
    """Return a row of ShareGPT."""
    return {column: [{"from": role, "value": value} for role, value in turns]}


IMAGE = {"type": "image_url", "image_url": {"url": "x.png"}}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (conversation(("human", "a"), ("gpt", "")), "holds a turn without text (turn 2, assistant)"),
        (conversation(("system", ""), ("human", "a"), ("gpt", " \n")), "a turn without text (turn 3, assistant)"),
        (conversation(("human", None), ("gpt", "a")), "a turn without text (turn 1, user)"),
        (conversation(("human", "a"), ("gpt", [])), "a turn without text (turn 2, assistant)"),
        (conversation(("human", "a"), ("gpt", 3)), "a turn whose content is a number, not a text (turn 2, gpt)"),
        (conversation(("human", "a"), ("gpt", {"a": 1})), "a turn whose content is a mapping, not a text"),
        (conversation(("human", [IMAGE]), ("gpt", "a")), "a part of the type image_url, which is not text (turn 1,"),
        (conversation(("human", [{"type": "text"}]), ("gpt", "a")), "a turn with a part whose text is null"),
        (conversation(("human", "a"), ("tool", "b")), "a turn of a role (tool) other than system, human"),
        (conversation(("human", "a"), ("gpt", "b"), ("system", "c")), "its answer, but with assistant, system"),
        (conversation(("human", "a"), ("system", "c"), ("gpt", "b")), "its answer, but with system, assistant"),
        (conversation(("human", "a")), "does not end with a question and its answer, but with user"),
        (conversation(("gpt", "a"), ("gpt", "b")), "its answer, but with assistant, assistant"),
        (conversation(("system", "")), "does not end with a question and its answer: correct"),
        ({"conversations": [{"from": "human", "text": "a"}]}, "a turn with neither 'value' nor 'content' (turn 1,"),
        ({"conversations": None}, "line 2: it has no 'conversations': correct or remove it"),
        ({"conversations": []}, "'conversations' is an empty list"),
        ({"conversations": "[]"}, "'conversations' is an empty list"),
        ({"conversations": "a"}, "'conversations' is not a list of turns, but a text"),
        ({"conversations": {"from": "human"}}, "'conversations' is not a list of turns, but a mapping"),
        ({"conversations": None, "id": 3}, "it has no 'conversations', but id"),
        ({"instruction": "a", "output": "b"}, "it has no 'conversations', but instruction, output"),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    file = written(tmp_path, conversation(("human", "a"), ("gpt", "b")), row)
    with pytest.raises(HarnessError, match=r"line 2: .*: correct or remove it$") as error:
        question_files.read(file, ("bleu",))
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ([["a", ""]], "the answer in item 1 of 'history' is empty"),
        ([["a", "b"], [None, "c"]], "the question in item 2 of 'history' is empty"),
        ([["a", "b", "c"]], "'history' is not a list of questions and answers: its item 1 is not two texts"),
        ([["a", 1]], "its item 1 is not two texts"),
        ({"a": "b"}, "'history' is not a list of questions and answers, but a mapping"),
        ("[['a', 'b']]", "but a text"),
    ],
)
def test_what_is_wrong_with_a_history_is_said(tmp_path: Path, history: Any, problem: str) -> None:
    for pair in ({"prompt": "c", "response": "d"}, {"instruction": "c", "output": "d"}):
        with pytest.raises(HarnessError, match="line 1: ") as error:
            question_files.read(written(tmp_path, {**pair, "history": history}), ("bleu",))
        assert problem in str(error.value)


def test_a_metric_without_a_test_set_is_refused(base: Path, capsys) -> None:
    assert main(["run", "--model", str(base), "--tasks", "ceval", "--metric", "bleu"]) == 2
    assert "--metric is for a test set of your own" in capsys.readouterr().err


def test_a_metric_applies_to_the_test_sets_with_answers_in_words(base: Path, tmp_path: Path, capsys) -> None:
    written(tmp_path, BUY, {**BUY, "answer": "B"}, name="choices.jsonl")
    assert main(["run", "--model", str(base), "--tasks", str(tmp_path / "*.jsonl"), "--metric", "bleu"]) == 2
    assert "with answers in words, and no task here is one" in capsys.readouterr().err
    written(tmp_path, {"prompt": "写诗", "completion": "春眠不觉晓"}, name="words.jsonl")
    options = Options((str(tmp_path / "*.jsonl"),), tmp_path / "out", comparisons=("bleu",), max_gen_toks=4)
    [report] = run([parse(str(base))], options)
    scores = [(score.task, score.metric) for score in report.manifest.scores]
    assert scores == [("choices.jsonl", "acc"), ("words.jsonl", "bleu4_characters")]
    with pytest.raises(HarnessError, match="no file matches"):
        next(run([parse(str(base))], Options((str(tmp_path / "*.csv"),), tmp_path / "out")))


def test_a_path_of_no_test_set_is_refused_with_advice(base: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.txt").write_text("text")
    assert main(["run", "--model", str(base), "--tasks", str(tmp_path / "x.txt")]) == 2
    assert f"to measure a text write ppl:{tmp_path / 'x.txt'}" in capsys.readouterr().err
    assert main(["run", "--model", str(base), "--tasks", "nowhere.jsonl"]) == 2
    assert "there is no file nowhere.jsonl: check the path" in capsys.readouterr().err
