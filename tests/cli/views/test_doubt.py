"""Wherever a score is shown, it is marked if most of its answers were empty, cut or not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import cli
from support.answered import Answers, report

COUNT = 40
FINE = {"answers": COUNT, "cut_answers": 0, "empty_answers": 0, "not_understood": 0, "answer_limit": 256}
CUT = {**FINE, "cut_answers": 30, "doubtful_documents": 30}
SENTENCE = "of 40 answers, 30 (75.0%) reached their limit of 256 tokens"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Reports of a checkpoint whose answers ended, and of one whose answers were cut."""
    answers = [[1, 0] * (COUNT // 2), [0, 0, 1, 0] * (COUNT // 4)]
    texts = ["An answer."] * COUNT
    written = (
        report(tmp_path, name, {"sums": Answers(scores, responses=texts, endings=[ending] * COUNT, info=info)})
        for name, scores, ending, info in (
            ("base", answers[0], "stop", FINE),
            ("tuned", answers[1], "limit", CUT),
        )
    )
    base, tuned = (item.folder for item in written)
    return base, tuned


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what the command prints, whatever its exit code, with white space made even."""
    cli.main(list(arguments))
    return " ".join(capsys.readouterr().out.split())


def test_show_marks_the_number_and_says_why(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned = folders
    text = output(capsys, "show", str(tuned))
    assert "25.0 % !" in text
    assert f"answers: sums: {SENTENCE}" in text
    text = output(capsys, "show", str(base))
    assert "!" not in text
    assert "all 40 answers ended by themselves and were understood" in text


def test_compare_marks_the_side_whose_answers_were_cut(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, "compare", *map(str, folders))
    assert "25.0 % !" in text
    assert "50.0 % !" not in text
    assert f"sums, candidate: {SENTENCE}" in text


def test_the_gate_names_cut_answers_as_a_sign_and_marks_the_number(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, "gate", str(folders[1]), "--baseline", str(folders[0]))
    assert "reaches the limit of tokens on 40 of 40 documents (baseline: 0)" in text
    assert "25.0 % !" in text
    assert f"sums, candidate: {SENTENCE}" in text


def test_the_page_marks_the_cell_and_lists_the_answers(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(capsys, "leaderboard", *map(str, folders), "-o", str(tmp_path / "site"))
    page = (tmp_path / "site" / "table.html").read_text(encoding="utf-8")
    assert page.count("doubtful answers") == 1
    assert page.count(SENTENCE) >= 2  # in the cell's title, and in the table of answers
    assert '<h2 id="answers">' in page


def test_a_report_without_a_ledger_is_shown_without_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Older reports, and tasks whose choices are scored by likelihoods."""
    old = report(tmp_path, "old", {"sums": Answers([1, 0] * 20)})
    text = output(capsys, "show", str(old.folder))
    assert "answers" not in text
    assert "!" not in text
