"""The journal keeps each answer for its checkpoint and question, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.backends.journal import Journal
from harness.errors import HarnessError


def test_answers_are_found_again_by_another_process(tmp_path: Path) -> None:
    key = Journal.key("fingerprint", "loglikelihood", [1, 2], [3])
    journal = Journal(tmp_path / "journal.sqlite")
    journal.put({key: [-1.2345678901234567, True]})
    journal.close()
    assert Journal(tmp_path / "journal.sqlite").get([key]) == {key: [-1.2345678901234567, True]}


@pytest.mark.parametrize(
    "other",
    [
        ("other", "loglikelihood", [1, 2], [3]),
        ("fingerprint", "generate", [1, 2], [3]),
        ("fingerprint", "loglikelihood", [1], [2, 3]),
        ("fingerprint", "loglikelihood", [12], [3]),
    ],
)
def test_another_question_or_checkpoint_has_another_key(other: tuple[object, ...]) -> None:
    assert Journal.key(*other) != Journal.key("fingerprint", "loglikelihood", [1, 2], [3])  # type: ignore[arg-type]


def test_a_killed_process_loses_only_the_batch_in_progress(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    script = f"""
import os, signal
from pathlib import Path
from harness.backends.journal import Journal
journal = Journal(Path({str(file)!r}))
for batch in range(3):
    journal.put({{bytes([batch]): batch}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert process.returncode == -signal.SIGKILL
    assert Journal(file).get([bytes([b]) for b in range(5)]) == {bytes([b]): b for b in range(3)}


def test_a_file_that_is_no_journal_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_text("not a database, " * 100)
    with pytest.raises(HarnessError, match=r"journal\.sqlite cannot be opened"):
        Journal(file)


def test_a_damaged_answer_counts_as_missing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.put({b"good": "text", b"bad": "text"})
    journal._database.execute("UPDATE answers SET answer='{' WHERE key=?", (b"bad",))
    assert journal.get([b"good", b"bad"]) == {b"good": "text"}


def test_a_journal_with_other_columns_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE answers (key BLOB, text TEXT, more TEXT)")
    journal = Journal(file)
    for use in (lambda: journal.get([b"key"]), lambda: journal.put({b"key": "text"})):
        with pytest.raises(HarnessError, match="remove it if it is damaged"):
            use()
