"""The journal keeps each answer for its checkpoint and question, whatever happens to the process and to the file."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends import journal_database, journal_errors
from harness.backends.journal import Journal
from harness.backends.journal_rows import TABLE_WITHOUT_CHECKSUMS
from harness.errors import HarnessError
from support import damaged_journals


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_database, "TIMEOUT", 0.1)


def asides(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.iterdir() if path.name.startswith(f"{file.name}."))


def test_answers_are_found_again_by_another_process(file: Path) -> None:
    key = Journal.key("fingerprint", "loglikelihood", [1, 2], [3])
    journal = Journal(file)
    journal.put({key: [-1.2345678901234567, True]})
    journal.close()
    assert Journal(file).get([key]) == {key: [-1.2345678901234567, True]}


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


def test_a_killed_process_loses_only_the_batch_in_progress(file: Path) -> None:
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
    journal = Journal(file)
    assert journal.get([bytes([b]) for b in range(5)]) == {bytes([b]): b for b in range(3)}
    assert (journal.notes, journal.failed_rows) == ([], 0)


# --- damaged rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "answer = '{'",
        "answer = '\"texts\"'",
        "answer = x'ff'",
        "answer = 5",
        "key = x'676f6f65'",
        "checkpoint = 'other'",
        "checkpoint = x'ff'",
        "time = time + 1",
        "time = 'now'",
        "checksum = x''",
        "checksum = 'x'",
    ],
)
def test_a_changed_row_counts_as_missing(file: Path, change: str) -> None:
    journal = Journal(file)
    journal.put({b"good": "text", b"bad": "text"})
    with sqlite3.connect(file) as other:
        other.execute(f"UPDATE answers SET {change} WHERE key=x'626164'")
    other.close()
    assert journal.get([b"good", b"bad", b"gooe"]) == {b"good": "text"}
    assert journal.failed_rows == 1
    journal.put({b"bad": "new"})
    assert journal.get([b"good", b"bad"]) == {b"good": "text", b"bad": "new"}


def test_an_answer_under_another_answers_key_counts_as_missing(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"first": "one", b"second": "two"})
    with sqlite3.connect(file) as other:
        row = other.execute(
            "SELECT answer, checkpoint, time, checksum FROM answers WHERE key=?", (b"first",)
        ).fetchone()
        other.execute("UPDATE answers SET (answer, checkpoint, time, checksum) = (?, ?, ?, ?)", row)
    other.close()
    assert journal.get([b"first", b"second"]) == {b"first": "one"}


def test_values_that_the_caller_refuses_count_as_missing(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"number": -1.0, b"text": "x"})
    assert journal.get([b"number", b"text"], lambda value: isinstance(value, float)) == {b"number": -1.0}
    assert journal.failed_rows == 1


# --- damaged files ----------------------------------------------------------------------------------------------------


def test_twenty_random_damages_never_change_an_answer(tmp_path: Path) -> None:
    for seed in range(20):
        damaged_journals.require_harmless(tmp_path / str(seed), seed)


WRECKS = {
    "no database": b"not a database, " * 100,
    "zeros": bytes(8192),
    "one byte": b"S",
    "no tables": "CREATE TABLE answers (key BLOB); INSERT INTO answers VALUES (zeroblob(9000)); DROP TABLE answers",
    "other tables": "CREATE TABLE answers (key BLOB, text TEXT, more TEXT)",
    "a trigger": "CREATE TABLE t (x); CREATE TRIGGER surprise AFTER INSERT ON t BEGIN SELECT 1; END",
}


@pytest.mark.parametrize("kind", WRECKS)
def test_a_file_that_is_no_journal_is_set_aside(file: Path, kind: str) -> None:
    content = WRECKS[kind]
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with sqlite3.connect(file) as database:
            database.executescript(content)
        database.close()
    before = file.read_bytes()
    journal = Journal(file)
    (aside,) = asides(file)
    assert file.with_name(aside).read_bytes() == before
    (note,) = journal.notes
    assert note.startswith("journal.sqlite was damaged (")
    assert note.endswith(
        f"0 answers were read from it, each with its checksum, and others are computed again; the \
damaged file is now {aside}"
    )
    journal.put({b"key": 1})
    assert journal.get([b"key"]) == {b"key": 1}
    journal.close()
    assert Journal(file).notes == []


def test_a_name_that_is_no_text_is_damage(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"key": 1})
    journal.close()
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE answers", b"CREATE TABLE \xff\xfeswe(s"))
    journal = Journal(file)
    assert journal.get([b"key"]) == {b"key": 1}
    assert len(journal.notes) == len(asides(file)) == 1


def test_rows_are_read_from_a_file_without_header_schema_and_index(file: Path) -> None:
    answers = {Journal.key("f", [number]): "长" * (number * number % 3000) for number in range(60)}
    journal = Journal(file)
    journal.put(answers, "fingerprint")
    journal.close()
    content = file.read_bytes()
    file.write_bytes(bytes(4096) + content[4096:])
    journal = Journal(file)
    assert journal.get(answers) == answers
    assert "60 answers were read from it" in journal.notes[0]


def test_damage_during_a_run_is_mended_in_the_run(file: Path) -> None:
    answers = {Journal.key("f", [number]): number for number in range(2000)}
    journal = Journal(file)
    journal.put(answers)
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with file.open("r+b") as content:
        content.seek(4096)
        content.write(bytes(4096) * 3)
    journal.put({b"new": 1})
    stored = journal.get([*answers, b"new"])
    assert stored.items() <= {**answers, b"new": 1}.items()
    assert stored[b"new"] == 1
    assert len(stored) > 1500
    assert len(journal.notes) == len(asides(file)) == 1


def test_a_journal_without_checksums_is_kept_aside_and_not_believed(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute(TABLE_WITHOUT_CHECKSUMS)
        database.execute("INSERT INTO answers VALUES (x'01', '5')")
    database.close()
    journal = Journal(file)
    assert journal.get([b"\1"]) == {}
    (aside,) = asides(file)
    assert journal.notes == [
        "journal.sqlite was written by an older version, without checksums: its answers are computed again; the old "
        f"file is now {aside}"
    ]
    with sqlite3.connect(file.with_name(aside)) as database:
        assert database.execute("SELECT answer FROM answers").fetchall() == [("5",)]
    database.close()


def test_what_a_killed_replacement_left_behind_is_removed(file: Path) -> None:
    file.write_text("no database")
    for name in (".journal.sqlite.new", ".journal.sqlite.new-journal"):
        file.with_name(name).write_bytes(b"half" * 2000)
    Journal(file).close()
    assert sorted(path.name for path in file.parent.iterdir()) == ["journal.sqlite", *asides(file)]


def test_a_file_system_without_links_holds_a_damaged_journal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    file.write_text("no database")
    Journal(file).close()
    (aside,) = asides(file)
    assert file.with_name(aside).read_text() == "no database"


def test_a_linked_journal_stays_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "answers"
    target.write_text("no database")
    file.symlink_to(target)
    Journal(file).put({b"key": 1})
    assert file.is_symlink()
    assert Journal(target).get([b"key"]) == {b"key": 1}


def test_a_removed_journal_is_begun_anew(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"old": 1})
    file.unlink()
    journal.put({b"new": 2})
    assert journal.notes == [
        "journal.sqlite was replaced or removed while it was in use: the run goes on in a new file"
    ]
    assert Journal(file).get([b"old", b"new"]) == {b"new": 2}


# --- several processes, full disks, file systems ----------------------------------------------------------------------


def test_processes_that_find_the_same_damage_replace_the_file_once(file: Path) -> None:
    answers = {Journal.key("f", [number]): number for number in range(500)}
    journal = Journal(file)
    journal.put(answers)
    journal.close()
    with file.open("r+b") as content:
        content.write(b"damage")
    script = f"""
from pathlib import Path
from harness.backends.journal import Journal
journal = Journal(Path({str(file)!r}))
assert len(journal.get(Journal.key("f", [number]) for number in range(500))) == 500
for number in range(500, 520):
    journal.put({{Journal.key("f", [number]): number}})
print(len(journal.notes))
"""
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    assert sum(int(process.communicate()[0]) for process in processes) == 1
    assert len(asides(file)) == 1
    assert len(Journal(file).get(Journal.key("f", [number]) for number in range(520))) == 520


@pytest.fixture
def other_process(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that can be told to lock the journal."""
    script = f"""
import sqlite3, sys
database = sqlite3.connect({str(file)!r}, isolation_level=None)
for line in sys.stdin:
    database.execute(line)
    print("done", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    yield process
    process.kill()
    process.communicate()


def execute(process: subprocess.Popen[str], statement: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{statement}\n")
    assert process.stdout.readline() == "done\n"


@pytest.mark.usefixtures("impatient")
def test_a_lock_is_named_with_its_process(file: Path, other_process: subprocess.Popen[str]) -> None:
    journal = Journal(file)
    journal.put({b"key": 1})
    execute(other_process, "BEGIN IMMEDIATE")
    assert journal.get([b"key"]) == {b"key": 1}
    sentence = rf"journal\.sqlite has been locked for 0\.1 seconds by process {other_process.pid} \(\S*python\S* -c .*"
    with pytest.raises(HarnessError, match=sentence):
        journal.put({b"other": 2})
    with pytest.raises(HarnessError, match=sentence):
        Journal(file)
    execute(other_process, "ROLLBACK")
    journal.put({b"other": 2})
    assert journal.get([b"key", b"other"]) == {b"key": 1, b"other": 2}


@pytest.mark.usefixtures("impatient")
def test_a_process_that_cannot_be_known_is_another_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_errors, "_locks", lambda inodes: iter([(False, 0), (False, -1)]))
    journal = Journal(file)
    blocker = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(blocker, fcntl.LOCK_EX)  # as while another process replaces the file
    with pytest.raises(HarnessError, match=r"locked for 0\.1 seconds by another process: wait"):
        Journal(file)
    os.close(blocker)
    journal.close()


def test_a_full_disk_is_one_sentence_and_loses_nothing(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"key": 1})
    journal._database.execute("PRAGMA max_page_count=4")
    with pytest.raises(HarnessError, match=r"cannot be written \(no space is left\): free some space and run the same"):
        journal.put({bytes([number]): "x" * 5000 for number in range(9)})
    assert journal.get([b"key", b"\0"]) == {b"key": 1}
    journal.close()
    assert Journal(file).get([b"key", b"\0"]) == {b"key": 1}


def test_without_shared_memory_there_is_no_log(file: Path) -> None:
    file.with_name("journal.sqlite-shm").mkdir()  # the file of the shared memory cannot be opened
    first, second = Journal(file), Journal(file)
    first.put({b"first": 1})
    second.put({b"second": 2})
    assert first.get([b"first", b"second"]) == second.get([b"first", b"second"]) == {b"first": 1, b"second": 2}
    assert not file.with_name("journal.sqlite-wal").exists()


def test_a_journal_with_a_log_moves_to_a_file_system_without_shared_memory(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"key": 1})
    names = ("journal.sqlite", "journal.sqlite-wal")
    content = [file.with_name(name).read_bytes() for name in names]
    journal.close()
    elsewhere = file.parent / "elsewhere"
    (elsewhere / "journal.sqlite-shm").mkdir(parents=True)
    for name, part in zip(names, content, strict=True):
        (elsewhere / name).write_bytes(part)
    assert Journal(elsewhere / "journal.sqlite").get([b"key"]) == {b"key": 1}


def test_a_read_only_journal_is_one_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(file).close()
    connect = journal_database.connect
    monkeypatch.setattr(journal_database, "connect", lambda path: connect(path, read_only=True))  # root may write
    with pytest.raises(HarnessError, match=r"cannot be opened \(it is read-only\): make it and its folder writable"):
        Journal(file)


def test_a_folder_in_the_journals_place_is_one_sentence(file: Path) -> None:
    file.mkdir()
    with pytest.raises(HarnessError, match=r"cannot be opened \(it is not a regular file\): choose another --output"):
        Journal(file)
