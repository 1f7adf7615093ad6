"""C-Eval's submission: the official shape, from a run whose test split has no answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.checkpoints.reference import parse
from harness.cli import main
from harness.errors import HarnessError
from harness.reports import export
from harness.reports.report import Report
from harness.runs.options import Options
from harness.runs.sweep import run
from support import invented, tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    invented.mirror(folder / "data", questions=3)
    tiny.llama(folder / "base", context=1024)
    return folder


def evaluate(world: Path, *tasks: str, limit: int | None = None) -> Report:
    options = Options(tasks=tasks, output=world / "out", data=world / "data", limit=limit, num_fewshot=0)
    [report] = run([parse(str(world / "base"))], options)
    return report


@pytest.fixture(scope="module")
def report(world: Path) -> Report:
    return evaluate(world, "ceval_test")


def test_without_reference_answers_predictions_are_stored_and_nothing_is_scored(report: Report) -> None:
    assert report.manifest.scores == []
    assert report.manifest.notes[0].startswith(
        "ceval_test_computer_network and 51 more tasks: the data hold no answers"
    )
    samples = report.samples("ceval_test_law")
    assert list(samples["doc_id"]) == [0, 1, 2]
    assert set(samples["target"]) == {""}
    assert samples["acc"].isna().all()


def test_the_submission_has_the_official_shape_and_the_most_likely_letters(report: Report, definitions: Path) -> None:
    submission = export.ceval_submission(report)
    official = json.loads((definitions / "ceval.json").read_text(encoding="utf-8"))["subjects"]
    assert set(submission) == set(official)
    for subject, answers in submission.items():
        assert list(answers) == ["0", "1", "2"]
        likelihoods = report.samples(f"ceval_test_{subject}")["logprobs"]
        assert list(answers.values()) == ["ABCD"[max(range(4), key=row.__getitem__)] for row in likelihoods]


def test_the_command_writes_the_complete_submission(report: Report, tmp_path: Path, capsys) -> None:
    file = tmp_path / "submission.json"
    assert main(["export", "ceval-submission", str(report.folder), "--output", str(file)]) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == export.ceval_submission(report)
    assert "156 answers in 52 subjects" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_cannot_be_written_is_an_error(report: Report, tmp_path: Path, capsys) -> None:
    assert main(["export", "ceval-submission", str(report.folder), "--output", str(tmp_path / "no/where.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_incomplete_report_is_refused(world: Path) -> None:
    with pytest.raises(HarnessError, match="of 1 of C-Eval's 52 subjects: run 'harness run --tasks ceval_test'"):
        export.ceval_submission(evaluate(world, "ceval_test_law"))
    with pytest.raises(HarnessError, match="answers 1 of 3 questions of ceval_test_accountant: run it without --limit"):
        export.ceval_submission(evaluate(world, "ceval_test", limit=1))


def test_a_report_of_the_validation_split_is_refused(world: Path) -> None:
    with pytest.raises(HarnessError, match="of 0 of C-Eval's 52 subjects"):
        export.ceval_submission(evaluate(world, "ceval_law"))
