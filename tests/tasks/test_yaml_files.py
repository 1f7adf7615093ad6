"""Definitions are read with the result of lm-eval's reader, each file once."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from harness.common import resources, safe_load
from harness.tasks import index as task_index
from harness.tasks.yaml_files import Reader


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")


@pytest.mark.parametrize("folder", [resources.folder("tasks"), task_index.lm_eval_folder() / "arc"])
def test_an_index_equals_lm_evals(folder: Path) -> None:
    theirs = TaskManager(include_defaults=False, include_path=[str(folder)]).task_index
    assert task_index.read([folder]) == theirs
    assert list(task_index.read([folder])) == list(theirs)


def test_a_later_folders_definition_replaces_an_earlier_ones(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, same=f"task: same\ntask_alias: {name}", own=f"task: {name}", bad="task: [", list="- 1")
    index = task_index.read([tmp_path / "two", tmp_path / "one"])
    assert set(index) == {"same", "one", "two"}
    assert index["same"].cfg["task_alias"] == "one"


def test_a_folder_is_read_again_only_if_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, shared = tmp_path / "folder", tmp_path / "shared"
    for path in (folder, shared):
        path.mkdir()
    write(shared, template="task_alias: one")
    write(folder, first=f"include: {shared}/template.yaml\ntask: first", later=f"include: {shared}/later.yaml\ntask: x")
    parsed: list[str] = []
    real = safe_load.yaml_file
    monkeypatch.setattr(safe_load, "yaml_file", lambda file, loader: (real(file, loader), parsed.append(file.name))[0])

    def alias_and_names() -> tuple[str, set[str]]:
        parsed.clear()
        index = task_index.read([folder])
        return index["first"].cfg["task_alias"], set(index)

    assert alias_and_names() == ("one", {"first"})
    assert len(parsed) == 3
    assert alias_and_names() == ("one", {"first"})
    assert parsed == []
    write(shared, template="task_alias: another")
    assert alias_and_names() == ("another", {"first"})
    write(folder, second="task: second")
    assert alias_and_names() == ("another", {"first", "second"})
    write(shared, later="task_alias: later")  # did not exist when it was included
    assert alias_and_names() == ("another", {"first", "second", "x"})
    write(folder, second="task: renamed")
    assert alias_and_names() == ("another", {"first", "renamed", "x"})
    (folder / "second.yaml").unlink()
    assert alias_and_names() == ("another", {"first", "x"})


def test_own_keys_override_those_of_included_files_in_order(tmp_path: Path) -> None:
    write(tmp_path, base="a: 1\nb: 1\nc: 1\ntask_list: [x]\n", other="include: base.yaml\nb: 2\nc: 2\n")
    write(tmp_path, top=f"include: [other.yaml, {tmp_path}/far.yaml]\nc: 3\n", far="d: 4\nc: 4\n")
    for name in ("base", "other", "top"):
        file = tmp_path / f"{name}.yaml"
        assert Reader(functions=False).read(file) == load_yaml(file, resolve_func=False)
    assert Reader(functions=False).read(tmp_path / "top.yaml") == {"a": 1, "b": 2, "c": 3, "d": 4}


@pytest.mark.parametrize(
    "files",
    [
        {"top": "include: top.yaml"},
        {"top": "include: one.yaml", "one": "include: top.yaml"},
        {"top": "include: [one.yaml, two.yaml]", "one": "include: two.yaml", "two": "a: 1"},
        {"top": "include: gone.yaml"},
        {"top": "include:"},
        {"top": "[1]"},
    ],
)
def test_files_that_lm_eval_refuses_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, **files)
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        load_yaml(tmp_path / "top.yaml", resolve_func=False)
    for _ in range(2):
        with pytest.raises(theirs.type):
            Reader(functions=False).read(tmp_path / "top.yaml")


def test_functions_are_imported_from_the_folder_that_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "utils.py").write_text("def f(): return 7\n")
    write(tmp_path / "real", one="f: !function utils.f")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real" / "one.yaml")
    assert Reader(functions=True).read(tmp_path / "link.yaml")["f"]() == 7
    content = Reader(functions=False).read(tmp_path / "link.yaml")
    assert content == load_yaml(tmp_path / "link.yaml", resolve_func=False)


def test_a_template_is_parsed_once_and_unaffected_by_changes_of_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, **{f"subject{i}": f"include: template.yaml\ntask: subject{i}" for i in range(5)}, template="a: 1")
    parsed: list[str] = []
    real = safe_load.yaml_file
    monkeypatch.setattr(safe_load, "yaml_file", lambda file, loader: (real(file, loader), parsed.append(file.name))[0])
    reader = Reader(functions=False)
    for i in range(5):
        reader.read(tmp_path / f"subject{i}.yaml")["a"] = 2
    assert sorted(Path(name).stem for name in parsed) == [*(f"subject{i}" for i in range(5)), "template"]
    assert reader.read(tmp_path / "template.yaml") == {"a": 1}
