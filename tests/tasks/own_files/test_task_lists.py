"""Lists of tasks: commas in quotes and in the names of files that exist, and lists that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.common import paths
from harness.errors import HarnessError
from harness.tasks.own_files import task_lists

ROW = '{"question": "三加四是？", "answer": "7"}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of each test, with files that have commas in their names."""
    names = (
        "my set,v2/q.jsonl",
        "a,b,c.jsonl",
        "x=1, y.jsonl",
        'say "7".jsonl',
        "plain.jsonl",
        "t,u/x.txt",
        "q[1],2.csv",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ROW, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" ceval , mmlu,, ", ("ceval", "mmlu")),
        ("my set,v2/q.jsonl", ("my set,v2/q.jsonl",)),
        ("ceval,my set,v2/q.jsonl,plain.jsonl", ("ceval", "my set,v2/q.jsonl", "plain.jsonl")),
        ("my set,v2/*.jsonl", ("my set,v2/*.jsonl",)),
        ('"my set,v2/q.jsonl",ceval', ("my set,v2/q.jsonl", "ceval")),
        (' "no,such.jsonl" , ceval', ("no,such.jsonl", "ceval")),
        ("x=1, y.jsonl", ("x=1, y.jsonl",)),
        ("q[1],2.csv", ("q[1],2.csv",)),
        ("ppl:t,u/x.txt,plain.jsonl", ("ppl:t,u/x.txt", "plain.jsonl")),
        ("ppl:t,u", ("ppl:t,u",)),
        ('ppl:"t,u",plain.jsonl', ("ppl:t,u", "plain.jsonl")),
        ('"ppl:t,u",plain.jsonl', ("ppl:t,u", "plain.jsonl")),
        ('say "7".jsonl', ('say "7".jsonl',)),
        ('"say ""7"".jsonl"', ('say "7".jsonl',)),
        ("ceval_*,exams/*.jsonl", ("ceval_*", "exams/*.jsonl")),
    ],
)
def test_a_list_is_split_at_commas_outside_names(text: str, names: tuple[str, ...]) -> None:
    assert task_lists.split(text) == names


def test_a_list_that_may_be_one_file_or_several_tasks_is_refused(folder: Path) -> None:
    (folder / "c.jsonl").write_text(ROW, encoding="utf-8")
    with pytest.raises(HarnessError, match=r"'a,b,c\.jsonl' may be one file or 3 tasks: put the file's name in double"):
        task_lists.split("a,b,c.jsonl")
    assert task_lists.split('"a,b,c.jsonl"') == ("a,b,c.jsonl",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no,such.jsonl", r"there is no file such\.jsonl: check the path, or put a name with commas in double quotes"),
        ('"ceval', "a quote that is not closed"),
        ('"a"b,c', "'b,c' after a quote"),
        ('ceval,"', "not closed"),
    ],
)
def test_a_quote_in_another_place_is_refused(text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        task_lists.split(text)


@given(st.lists(st.text(min_size=1).filter(lambda name: name == name.strip())))
def test_quoted_names_are_read_again(names: list[str]) -> None:
    assert task_lists.split(",".join(map(paths.quoted, names))) == tuple(names)


@pytest.mark.parametrize("name", ["my set,v2/q.jsonl", '"my set,v2/q.jsonl"', "x=1, y.jsonl"])
def test_a_file_with_a_comma_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", name]) == 0
    assert "问题：三加四是？" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.jsonl.gz", "x.jsonl.gz is compressed, unpack it first"),
        ("x.CSV.ZIP", "x.CSV.ZIP is compressed, unpack it first"),
        ("x.xlsx", "x.xlsx is a workbook, save its sheet as .csv in UTF-8"),
        ("x.txt", "to measure a text write ppl:x.txt"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_advice(
    folder: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).touch()
    assert main(["tasks", name]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
