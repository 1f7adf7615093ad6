"""Rows as examples: every layout, what is said of a file, and rows that are no examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.rows import Notes
from harness.errors import HarnessError
from harness.training import examples
from harness.training.examples import Completion, Conversation, Example, Invalid, Passage
from support.training_rows import LAYOUTS


def written(folder: Path, *rows: object, name: str = "corpus.jsonl") -> Path:
    file = folder / name
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


def read(file: Path, notes: Notes | None = None, **options: bool) -> list[Any]:
    return [located.example for located in examples.read(file, notes or Notes(), **options)]


def conversation(*contents: str, system: str = "", **more: Any) -> Conversation:
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]
    return Conversation(tuple([{"role": "system", "content": system}, *turns] if system else turns), **more)


LAWS = ["《渡口法》第一条：渡船每年检验。", "《渡口法》第二条：依次上船。"]
QUOTED = "参考法条: 《渡口法》第一条：渡船每年检验。\n《渡口法》第二条：依次上船。"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": " a text\n"}, Passage(" a text\n")),
        ({"content": "a text", "title": "t"}, Passage("a text")),
        ({"prompt": "asked ", "completion": " answered"}, Completion("asked ", " answered")),
        ({"input": "问", "output": "答"}, Completion("问", "答")),
        ({"content": "类型#裙", "summary": "好裙子"}, Completion("类型#裙", "好裙子")),
        ({"question": "Who?", "answer": "me"}, Completion("Question: Who?\nAnswer:", "me", " ")),
        ({"问题": "谁？", "答案": "我"}, Completion("问题：谁？\n答案：", "我")),
        (
            {"question": "1+1?", "choices": ["1", "2"], "answer": "B"},
            Completion("1+1?\nA. 1\nB. 2\nAnswer:", "B", " "),
        ),
        ({"instruction": "改写", "input": "旧句", "output": "新句"}, conversation("改写\n旧句", "新句", input="旧句")),
        ({"instruction": "作诗", "input": "", "output": "诗"}, conversation("作诗", "诗")),
        (
            {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]},
            conversation("a", "b", "c", "d", system="s"),
        ),
        ({"prompt": "c", "response": "d", "history": [["a", "b"]]}, conversation("a", "b", "c", "d")),
        ({"prompt": "c", "response": "d", "history": []}, conversation("c", "d")),
        (
            {"query": "多久", "laws": LAWS, "response": "每年"},
            conversation(f"多久\n{QUOTED}", "每年", articles=tuple(LAWS)),
        ),
        ({"query": "多久", "laws": [], "response": "每年"}, conversation("多久", "每年")),
        (
            {
                "query": "多久",
                "laws": LAWS,
                "history": ["[客户] 多久", "[律师] 每年", "[客户] 谁", "[律师] 我", "[律师] 们", "[客户] 谢"],
            },
            conversation("多久", "每年", f"谁\n{QUOTED}", "我\n们", articles=tuple(LAWS)),
        ),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "s"},
            conversation("a", "b", system="s"),
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": " "},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b "},
                    {"role": "user", "content": "c"},
                    {"role": "assistant", "content": " d"},
                ]
            },
            conversation("a", "b ", "c", " d"),
        ),
        (
            {"conversations": [{"from": "Human", "value": "a"}, {"from": "GPT", "value": "b"}]},
            conversation("a", "b"),
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": [{"type": "text", "text": ""}]},
                    {"role": "User", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                    {"role": "ASSISTANT", "content": [{"type": "text", "text": "c"}]},
                ]
            },
            conversation("a\nb", "c"),
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_a_row_of_each_layout_is_its_example(tmp_path: Path, row: dict[str, Any], expected: Example, suffix: str):
    file = tmp_path / f"corpus{suffix}"
    if suffix == ".parquet":
        pd.DataFrame([row]).to_parquet(file)
    else:
        content = [row] if suffix == ".json" else row
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert read(file) == [expected]


def test_lists_in_a_table_are_read_from_json(tmp_path):
    turns = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    for row, expected in (
        ({"conversations": json.dumps(turns)}, conversation("a", "b")),
        ({"prompt": "c", "response": "d", "history": '[["a", "b"]]'}, conversation("a", "b", "c", "d")),
        ({"prompt": "c", "response": "d", "history": "[]"}, conversation("c", "d")),
        (
            {"query": "多久", "response": "每年", "laws": json.dumps(LAWS)},
            conversation(f"多久\n{QUOTED}", "每年", articles=tuple(LAWS)),
        ),
    ):
        pd.DataFrame([row]).to_csv(tmp_path / "corpus.csv", index=False)
        assert read(tmp_path / "corpus.csv") == [expected]


@pytest.mark.parametrize(
    ("row", "several"),
    [
        ({"question": "a?", "answers": ["b", "c"]}, 1),
        ({"question": "a?", "answers": ["b"]}, 0),
        ({"prompt": "a", "completion": ["b", "c"]}, 1),
        ({"instruction": "a", "output": ["b", "c", "d"]}, 1),
        ({"question": "a?", "choices": ["x", "y"], "answer": ["A", "B"]}, 0),  # both are learned
    ],
)
def test_answers_that_are_not_learned_are_noted(tmp_path, row, several):
    notes = Notes()
    read(written(tmp_path, row), notes)
    expected = ["rows with several accepted answers, of which the first is learned: 1"]
    assert notes.all() == (expected if several else [])


def test_an_input_and_articles_are_apart_from_the_instruction():
    row = conversation(f"改写\n旧句\n{QUOTED}", "新句", articles=tuple(LAWS), input="旧句")
    assert row.instruction == "改写"
    assert conversation("改写\n\n", "新句").instruction == "改写\n\n"


def test_documents_are_files_or_rows(tmp_path):
    folder = tmp_path / "laws"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("第一条\n\n第二条\n", encoding="utf-8")
    (folder / "deep" / "b.TXT").write_text("", encoding="utf-8")
    written(folder, {"text": "c"}, {"text": "d"}, name="c.jsonl")
    (folder / "readme.md").write_text("x", encoding="utf-8")
    notes = Notes()
    located = list(examples.read(folder, notes))
    assert [item.example for item in located] == [
        Passage("第一条\n\n第二条\n"),
        Passage("c"),
        Passage("d"),
        Passage(""),  # nothing to learn, which is counted where it is encoded
    ]
    assert [item.where for item in located] == [
        str(folder / "a.txt"),
        f"{folder / 'c.jsonl'}, line 1",
        f"{folder / 'c.jsonl'}, line 2",
        str(folder / "deep" / "b.TXT"),
    ]
    assert notes.all() == ["not read: readme.md"]
    assert read(folder / "a.txt") == [Passage("第一条\n\n第二条\n")]


def test_a_file_may_mix_documents_with_answers(tmp_path):
    rows = [{"text": "a text"}, {"prompt": "a", "completion": "b"}, {"text": ""}]
    assert read(written(tmp_path, *rows)) == [Passage("a text"), Completion("a", "b"), Passage("")]


def test_columns_that_are_not_read_are_noted(tmp_path):
    for row, unread in (
        ({"prompt": "a", "completion": "b", "id": 1, "score": 2}, ["columns not read: id, score"]),
        ({"text": "a", "source": "x"}, ["columns not read: source"]),
        ({"question": "a?", "answer": "b", "level": 1}, ["columns not read: level"]),
        ({"text": "a"}, []),
    ):
        notes = Notes()
        read(written(tmp_path, row), notes)
        assert notes.all() == unread


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, "'completion' is missing"),
        ({"prompt": "a", "completion": " "}, "'completion' is missing or empty"),
        ({"text": "a", "prompt": "b"}, "so it may be either kind of example"),
        ({"text": 3}, None),
        ({"text": ["a"]}, "'text' is not a text"),
        ({"completion": "a"}, "'prompt' is missing"),
        ({}, "'prompt' is missing"),
        ("[1]", "is not a JSON object"),
        ('{"prompt": "a"', "is not JSON"),
        ('{"prompt": "a", "prompt": "b", "completion": "c"}', "has the key 'prompt' twice"),
        ('{"prompt": "\\ud83d", "completion": "c"}', "half of a character"),
        ({"prompt": "a\0", "completion": "c"}, "'prompt' holds a NUL character"),
        ({"text": "a\0"}, "'text' holds a NUL character"),
    ],
)
def test_the_error_names_the_row_that_is_no_example(tmp_path, row, message):
    file = written(tmp_path, {"prompt": "fine", "completion": "fine"}, row)
    if message is None:  # a number is a text
        assert read(file)[1] == Passage("3")
        return
    with pytest.raises(HarnessError, match=r"corpus\.jsonl, line 2") as error:
        read(file)
    assert message in str(error.value)
    assert "correct" in str(error.value) or row == "[1]"
    assert "\n" not in str(error.value)


def test_a_row_that_is_no_example_can_be_left_out(tmp_path):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": ""}, {"text": "d"}, {"text": "\0"}]
    file = written(tmp_path, *rows)
    with pytest.raises(HarnessError, match=r"line 2: 'completion' is missing or empty.*or set invalid_rows: drop"):
        read(file)
    first, second, third, fourth = read(file, refuses_invalid=False)
    assert (first, third) == (Completion("a", "b"), Passage("d"))
    assert isinstance(second, Invalid)
    assert isinstance(fourth, Invalid)
    assert "line 2: 'completion' is missing or empty" in second.reason


def test_files_that_are_no_corpus(tmp_path):
    with pytest.raises(HarnessError, match="there is no corpus"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(HarnessError, match="is empty: there is nothing to learn"):
        read(written(tmp_path))
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(HarnessError, match=r"supported are \.jsonl"):
        read(tmp_path / "a.doc")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(HarnessError, match="is empty"):
        read(tmp_path / "empty.txt")
    with pytest.raises(
        HarnessError, match=r"no known layout in the columns a, b: rename them, known are text, question"
    ):
        read(written(tmp_path, {"a": 1, "b": 2}))
    (tmp_path / "none").mkdir()
    with pytest.raises(HarnessError, match="holds no"):
        read(tmp_path / "none")


def test_answers_of_each_layout_are_those_of_its_rows(tmp_path):
    for layout in LAYOUTS.values():
        for example, answers in zip(read(layout.written(tmp_path)), layout.answers, strict=True):
            if isinstance(example, Conversation):
                assert [answer for _, answer in example.exchanges] == list(answers)
            else:
                assert [example.text] == list(answers)


MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize("mark", [{"weight": 0}, {"loss": False}, {"train": False}])
def test_a_turn_that_is_not_to_be_learned_is_refused(mark: dict[str, Any], tmp_path: Path) -> None:
    turns = [MESSAGES[0], {**MESSAGES[1], **mark}, *MESSAGES]
    with pytest.raises(HarnessError, match=rf"line 1.* an answer has '{next(iter(mark))}': .*set learn: last_answer"):
        read(written(tmp_path, {"messages": turns}))
    (dropped,) = read(written(tmp_path, {"messages": turns}), refuses_invalid=False)
    assert isinstance(dropped, Invalid)
    learned = [MESSAGES[0], {**MESSAGES[1], **dict.fromkeys(mark, 1)}]
    assert read(written(tmp_path, {"messages": learned})) == [conversation("q", "a")]


def test_what_turns_hold_besides_their_text_is_counted(tmp_path: Path) -> None:
    turns = [{**MESSAGES[0], "name": ""}, {**MESSAGES[1], "tool_calls": [{"id": 1}], "reasoning_content": "hmm"}]
    notes = Notes()
    read(written(tmp_path, {"messages": turns}, {"messages": [*turns, *turns]}), notes)
    assert notes.all() == ["keys of turns not read: tool_calls (in 3), reasoning_content (in 3)"]


@pytest.mark.parametrize(
    "row",
    [
        {"content": "类型#裙", "summary": "红裙"},
        {"text": "t", "prompt": "p", "completion": "c"},
        {"text": "t", "messages": MESSAGES},
        {"instruction": "i", "output": "o", "text": "t"},
    ],
)
def test_a_folder_with_answers_in_it_is_refused(row: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    written(folder, {"text": "a document"}, name="a.jsonl")
    written(folder, row, name=".hidden.jsonl")
    assert read(folder) == [Passage("a document")]
    written(folder, row, name="b.jsonl")
    with pytest.raises(HarnessError, match=r"b\.jsonl has the columns .*: name the file itself as a corpus"):
        read(folder)
