"""A mirror that is half there, renamed or damaged: one sentence names the file or column, and what helps."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.errors import HarnessError
from harness.tasks.describe import summaries
from support import mirrors
from support.mirrors_by_task import TASKS, mirror

COLUMNS = [(name, column) for name, (*_, columns) in TASKS.items() for column in columns.split()]


def complaint(name: str, folder: Path) -> str:
    with pytest.raises(HarnessError) as told:
        mirrors.requests(mirrors.task(name, folder))
    dataset = TASKS[name][0]
    assert f"'hf download --repo-type dataset {dataset} --local-dir {folder}/{dataset}'" in str(told.value)
    return str(told.value)


def listed(folder: Path) -> dict[str, str]:
    return {line.name: line.at_hand for line in summaries(folder)}


def test_what_is_at_hand_is_told_by_files_and_an_empty_folder_hides_nothing(tmp_path: Path) -> None:
    mirror("ceval_law", tmp_path)
    assert listed(tmp_path)["ceval"] == "1 of 52"
    assert listed(tmp_path)["cmnli"].startswith("no: hf download")
    file = mirror("cmnli", tmp_path)
    assert listed(tmp_path)["cmnli"] == "yes"
    file.unlink()
    (tmp_path / "clue/clue/ocnli").mkdir()
    assert listed(tmp_path)["cmnli"].startswith(f"no: {tmp_path}/clue/clue holds no data: remove it, or fill it with")
    assert listed(tmp_path)["ceval"] == "1 of 52"
    (tmp_path / "ceval/ceval-exam/README.md").unlink()
    assert listed(tmp_path)["ceval"] == "1 of 52"
    assert "lacks the README.md that says which files are 'law'" in complaint("ceval_law", tmp_path)


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_renamed_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    for one in mirror(name, tmp_path).parent.iterdir():
        table = pq.read_table(one)
        pq.write_table(table.rename_columns([f"old_{x}" if x == column else x for x in table.column_names]), one)
    assert re.search(f"has no (split or )?column '{column}'", complaint(name, tmp_path))


def test_a_renamed_choice_of_a_template_without_names_is_told_all_the_same(tmp_path: Path) -> None:
    """What lm-eval says of piqa's own `{{[sol1, sol2]}}` names no column."""
    file = mirror("piqa", tmp_path)
    table = pq.read_table(file)
    pq.write_table(table.rename_columns(["sol" if x == "sol1" else x for x in table.column_names]), file)
    assert "if its columns are others, fetch it anew" in complaint("piqa", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_split_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.unlink()
    only = len(list(file.parent.iterdir())) == 0
    assert ("holds no data" if only else f"{file.relative_to(tmp_path)}") in complaint(name, tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file} is damaged" in complaint(name, tmp_path)
