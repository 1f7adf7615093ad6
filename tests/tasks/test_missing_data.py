"""An incomplete or damaged mirror: one sentence names the file or column and says what to do."""

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


def message(name: str, folder: Path) -> str:
    with pytest.raises(HarnessError) as error:
        mirrors.requests(mirrors.task(name, folder))
    dataset = TASKS[name][0]
    assert f"'hf download --repo-type dataset {dataset} --local-dir {folder}/{dataset}'" in str(error.value)
    return str(error.value)


def at_hand(folder: Path) -> dict[str, str]:
    return {line.name: line.at_hand for line in summaries(folder)}


def test_the_list_shows_which_files_exist_and_an_empty_folder_does_not_stop_it(tmp_path: Path) -> None:
    mirror("ceval_law", tmp_path)
    assert at_hand(tmp_path)["ceval"] == "1 of 52"
    assert at_hand(tmp_path)["cmnli"].startswith("no: hf download")
    file = mirror("cmnli", tmp_path)
    assert at_hand(tmp_path)["cmnli"] == "yes"
    file.unlink()
    (tmp_path / "clue/clue/ocnli").mkdir()
    assert at_hand(tmp_path)["cmnli"].startswith(f"no: {tmp_path}/clue/clue holds no data: remove it, or fill it with")
    assert at_hand(tmp_path)["ceval"] == "1 of 52"
    (tmp_path / "ceval/ceval-exam/README.md").unlink()
    assert at_hand(tmp_path)["ceval"] == "1 of 52"
    assert "lacks the README.md that says which files are 'law'" in message("ceval_law", tmp_path)


@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_renamed_column_is_named(tmp_path: Path, name: str, column: str) -> None:
    for file in mirror(name, tmp_path).parent.iterdir():
        table = pq.read_table(file)
        pq.write_table(table.rename_columns([f"old_{x}" if x == column else x for x in table.column_names]), file)
    assert re.search(f"has no (split or )?column '{column}'", message(name, tmp_path))


def test_a_renamed_column_that_lm_evals_error_does_not_name_is_reported_too(tmp_path: Path) -> None:
    """lm-eval's error about piqa's `{{[sol1, sol2]}}` names no column."""
    file = mirror("piqa", tmp_path)
    table = pq.read_table(file)
    pq.write_table(table.rename_columns(["sol" if x == "sol1" else x for x in table.column_names]), file)
    assert "if its columns are different, download it again" in message("piqa", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_missing_split_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.unlink()
    is_empty = not list(file.parent.iterdir())
    assert ("holds no data" if is_empty else f"{file.relative_to(tmp_path)}") in message(name, tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    file = mirror(name, tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file} is damaged" in message(name, tmp_path)
