"""`harness tasks new`: its files run unchanged, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.tasks import scaffold
from support import tiny


def test_the_new_task_can_be_described_and_run_unchanged(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.llama(tmp_path / "base")
    assert main(["tasks", "new", "capitals"]) == 0
    output = capsys.readouterr().out
    commands = [line.split() for line in output.splitlines() if line.startswith("  harness ")]
    assert len(commands) == 2
    for command in commands:
        assert main([word.replace("CHECKPOINT", "base") for word in command[1:]]) == 0
    shown = capsys.readouterr().out
    assert "法国的首都是哪里？\n答案：" in shown
    assert "capitals" in shown.splitlines()[0]


@pytest.mark.parametrize("name", ["123", "1e3", "no", "null"])
def test_a_name_that_yaml_would_read_as_another_type_stays_a_name(tmp_path: Path, monkeypatch, capsys, name) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tasks", "new", name]) == 0
    assert main(["tasks", name, "--include-path", name]) == 0
    assert main(["tasks", "--include-path", name]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"│ {name} ")]
    assert "yes" in line
    (tmp_path / name / f"{name}.jsonl").unlink()
    assert main(["tasks", "--include-path", name]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"│ {name} ")]
    assert line.split("│")[3].strip() == "no"
    assert main(["tasks", name, "--include-path", name]) == 2
    assert f"task {name}: there is no file {name}/{name}.jsonl: put it there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ceval", "demo", "cmnli"])
def test_a_task_of_this_project_is_not_hidden(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError, match=f"there is a task '{name}' already"):
        scaffold.write(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    task = scaffold.write("mine", tmp_path)
    task.definition.write_text("edited")
    with pytest.raises(HarnessError, match="exists already"):
        scaffold.write("mine", tmp_path)
    assert task.definition.read_text() == "edited"


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-x", "ppl:x"])
def test_a_name_that_no_task_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError, match="cannot be a task's name"):
        scaffold.write(name, tmp_path)
    assert not list(tmp_path.iterdir())
