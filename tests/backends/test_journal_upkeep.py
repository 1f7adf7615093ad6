"""Counting, checking and pruning the answers of a journal."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.backends import journal_rows, journal_upkeep
from harness.backends.journal import Journal
from harness.cli import main
from harness.errors import HarnessError
from support.refused import refused

FIRST, SECOND = "1a" * 32, "1b" * 32


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed journal: 300 answers of one checkpoint, stored on 2026-11-01, and 20 of another, a month later."""
    journal = Journal(tmp_path / "journal.sqlite")
    for fingerprint, count, day in ((FIRST, 300, (2026, 11, 1)), (SECOND, 20, (2026, 12, 1))):
        seconds = datetime(*day, 12, tzinfo=UTC).timestamp()
        monkeypatch.setattr(journal_rows.time, "time", lambda seconds=seconds: seconds)
        journal.put({Journal.key(fingerprint, [n]): ["text" * 30, False] for n in range(count)}, fingerprint)
    journal.close()
    return tmp_path / "journal.sqlite"


def checkpoints(file: Path) -> dict[str, int]:
    return {rows.checkpoint: rows.answers for rows in journal_upkeep.stats(file).checkpoints}


def change(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute(statement)
    database.close()


def test_stats_count_by_checkpoint(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.with_name("journal.sqlite.damaged-20261101T000000Z").write_bytes(b"12345")
    assert main(["journal", "stats", str(file.parent)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: 320 answers, {file.stat().st_size:,} bytes",
        "checkpoint 1b1b1b1b1b1b: 20 answers, 3,660 bytes, stored from 2026-12-01 to 2026-12-01",
        "checkpoint 1a1a1a1a1a1a: 300 answers, 54,900 bytes, stored from 2026-11-01 to 2026-11-01",
        "set aside: journal.sqlite.damaged-20261101T000000Z, 5 bytes",
    ]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--keep", FIRST], {FIRST[:12]: 300}),
        (["--keep", "1b1b1"], {SECOND[:12]: 20}),
        (["--keep", "1b", "--keep", "1a"], {FIRST[:12]: 300, SECOND[:12]: 20}),
        (["--before", "2026-11-02"], {SECOND[:12]: 20}),
        (["--before", "2026-11-01"], {FIRST[:12]: 300, SECOND[:12]: 20}),
        (["--keep", FIRST, "--before", "2026-11-20"], {}),
    ],
)
def test_pruning_drops_other_checkpoints_and_old_answers(file: Path, options: list[str], left: dict[str, int]) -> None:
    size = file.stat().st_size
    assert main(["journal", "prune", str(file), *options]) == 0
    assert checkpoints(file) == left
    assert (file.stat().st_size < size / 2) == (FIRST[:12] not in left)
    assert journal_upkeep.check(file).problems == []


def test_pruning_names_each_checkpoint_that_lost_answers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "prune", str(file), "--keep", FIRST, "--before", "2026-11-20"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "checkpoint 1a1a1a1a1a1a: 300 answers dropped, 0 kept",
        "checkpoint 1b1b1b1b1b1b: 20 answers dropped, 0 kept",
    ]


def test_a_file_of_no_bytes_has_no_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "journal.sqlite"
    file.touch()
    for command, code in (("stats", 0), ("check", 0), ("prune --keep 1a", 2)):
        assert main(["journal", *command.split(), str(file)]) == code
    out, error = capsys.readouterr()
    assert out.splitlines() == [f"{file}: 0 answers, 0 bytes", f"{file}: 0 answers are sound"]
    assert error == f"error: the journal {file} has no answers: there is nothing to keep or to drop\n"
    file.with_name("journal.sqlite-wal").write_bytes(b"12345")
    assert main(["journal", "check", str(file)]) == 1
    assert main(["journal", "prune", str(file), "--before", "2026-11-01"]) == 2
    assert "is damaged (it is empty, although it has a write-ahead log)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stats", "check", "prune --keep 1a"])
@pytest.mark.parametrize("part", ["journal.sqlite", "journal.sqlite-wal"])
def test_a_journal_of_another_user_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, part: str
) -> None:
    (file.parent / part).touch()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: (mode == os.F_OK or Path(path).name != part) and access(path, mode)
    )
    monkeypatch.setattr(journal_upkeep.journal_database, "connect", cannot_open)
    with refused(file.parent / part):
        assert main(["journal", *command.split(), str(file.parent)]) == 2
    error = capsys.readouterr().err
    assert f"(Permission denied: {part}): give this user access to it (ls -l, chmod)\n" in error


def cannot_open(*_: object, **__: object) -> None:
    """Fail as SQLite does if a file may not be opened."""
    sqlite3.connect("file:/proc/nothing/here?mode=ro", uri=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_no_command_names_an_option_that_it_lacks(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_: object) -> None:
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(journal_upkeep.journal_database, "open_to_write", refuse)
    assert main(["journal", "prune", str(file), "--keep", "1a"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the journal {file} cannot be written (")
    assert "--output" not in error


def test_pruned_answers_do_not_come_back(file: Path) -> None:
    journal = Journal(file)  # as during a run
    pruned = journal_upkeep.prune(file, ["1b"])
    assert (pruned.dropped, pruned.kept) == (300, 20)
    assert pruned.bytes_after < pruned.bytes_before / 3
    assert journal.get([Journal.key(FIRST, [1]), Journal.key(SECOND, [1])]).keys() == {Journal.key(SECOND, [1])}
    journal.put({b"new": 1})
    assert journal.get([b"new"]) == {b"new": 1}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prune", "FOLDER"], "nothing to drop: name the checkpoints to keep with --keep, or a date with --before"),
        (["prune", "FOLDER", "--keep", "1c"], "no checkpoint '1c' in FILE: 'harness journal stats' lists them"),
        (["prune", "FOLDER", "--keep", ""], "--keep is empty: name it, or leave it out (is a variable unset?)"),
        (["stats", "FOLDER/x"], "there is no journal FOLDER/x: name a journal, or the output folder of a run"),
        (["check", "/dev/null"], "/dev/null is not a regular file: name a journal, or the output folder of a run"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    file: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("FOLDER", str(file.parent)) for word in arguments]
    assert main(["journal", *words]) == 2
    sentence = sentence.replace("FOLDER", str(file.parent)).replace("FILE", str(file))
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert checkpoints(file) == {FIRST[:12]: 300, SECOND[:12]: 20}


def test_a_sound_journal_passes_the_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert main(["journal", "check", str(file.parent)]) == 0
    assert capsys.readouterr().out == f"{file}: 320 answers are sound\n"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "problem", "sound"),
    [
        ("UPDATE answers SET answer = 'x' WHERE rowid < 3", "2 of 320 checksums do not hold", 318),
        ("PRAGMA user_version = 5", None, 320),
        ("CREATE INDEX other ON answers (time)", "the file is damaged (its tables are not those of a journal)", 320),
    ],
)
def test_changed_rows_and_tables_fail_the_check(
    file: Path, damage: str, problem: str | None, sound: int, capsys: pytest.CaptureFixture[str]
) -> None:
    change(file, damage)
    assert main(["journal", "check", str(file)]) == (1 if problem else 0)
    lines = [f"{file}: {problem}"] if problem else []
    assert capsys.readouterr().out.splitlines() == [*lines, f"{file}: {sound:,} answers are sound"]


def test_an_answer_that_no_model_gives_fails_the_check(file: Path) -> None:
    journal = Journal(file)
    journal.put({b"nan": [float("nan"), True], b"above": [0.1, True], b"good": [0.0, True]})
    journal.close()
    assert journal_upkeep.check(file)[1:] == (321, ["2 answers are ones that no model gives"])


def test_a_damaged_file_is_reported_and_left_alone(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[:4096] = bytes(4096)
    file.write_bytes(content)
    assert journal_upkeep.check(file)[1:] == (320, ["the file is damaged (file is not a database)"])
    for command in (journal_upkeep.stats, lambda path: journal_upkeep.prune(path, ["1a"])):
        with pytest.raises(HarnessError, match=r"damaged \(file is not a database\): the next run sets it aside"):
            command(file)
    assert file.read_bytes() == content


def test_a_damaged_log_fails_the_check_and_is_read_by_the_next_run(file: Path, tmp_path: Path) -> None:
    journal = Journal(file)
    answers = {Journal.key("x", [number]): ["x" * 200, False] for number in range(60)}
    for key, value in answers.items():
        journal.put({key: value}, FIRST)
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "journal.sqlite"
    for ending in ("", "-wal"):
        shutil.copy(f"{file}{ending}", f"{copy}{ending}")
    assert journal_upkeep.check(copy)[1:] == (380, [])
    log = bytearray(Path(f"{copy}-wal").read_bytes())
    log[3000] ^= 4
    Path(f"{copy}-wal").write_bytes(log)
    sound, (problem,) = journal_upkeep.check(copy)[1:]
    assert sound == 320
    assert problem.startswith("the write-ahead log is damaged; the next run reads ")
    resumed = Journal(copy)
    assert resumed.get(answers) == answers
    (note,) = resumed.notes
    assert note.startswith("the write-ahead log of journal.sqlite was damaged or ended inside a transaction: ")


def test_a_journal_without_shared_memory_is_read_from_a_copy(file: Path) -> None:
    Path(f"{file}-shm").mkdir()
    assert checkpoints(file) == {FIRST[:12]: 300, SECOND[:12]: 20}
    assert journal_upkeep.check(file).problems == []
