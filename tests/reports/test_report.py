"""Reports: written completely or not at all; a damaged one is an error that says what is wrong."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.common import atomic_write
from harness.errors import HarnessError
from harness.reports import report as reports
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import Engine, Manifest, Protocol, TaskInfo
from harness.reports.writer import ReportWriter


def manifest(**changes: Any) -> Manifest:
    plain: dict[str, Any] = {
        "harness": "0",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "checkpoint": CheckpointInfo(
            name="a",
            reference="a",
            kind="base",
            base="a",
            adapter=None,
            fingerprint="f" * 64,
            architecture="A",
            dtype="float32",
            device="cpu",
            parameters=1,
            trainable_share=None,
            max_length=8,
            adapter_effect=None,
        ),
        "protocol": Protocol(
            limit=None,
            seed=0,
            num_fewshot=None,
            chat_template=None,
            fewshot_as_multiturn=False,
            system_instruction=None,
        ),
        "tasks": {
            "t": TaskInfo(
                version="1",
                dataset="d",
                split="test",
                num_fewshot=0,
                documents=1,
                documents_in_split=1,
                prompt_hash="p",
                truncated=0,
                seconds=1.0,
                tokens_fed=1,
                tokens_generated=0,
            )
        },
        "scores": [],
        "engine": Engine(
            walk="plain",
            scoring_seconds=0,
            generation_seconds=0,
            requests=1,
            answered_from_journal=0,
            tokens_fed=1,
            tokens_generated=0,
            peak_memory_bytes=1,
        ),
        "environment": {},
        "notes": [],
    }
    return Manifest(**{**plain, **changes})


ROW = {"doc_id": 0, "filter": "none", "prompt": "问", "target": "A", "choices": ["A", "B"], "logprobs": [-1.0, -2.0]}


def write_report(folder: Path) -> reports.Report:
    with ReportWriter(folder) as writer:
        writer.write_samples("t", [{**ROW, "acc": 1.0, "counts": (1, 2)}], ["acc", "counts"])
        return writer.finish(manifest(), {"results": {"t": {"acc,none": 1.0}}})


def test_a_written_report_is_read_back(tmp_path: Path) -> None:
    report = write_report(tmp_path / "r")
    again = reports.read(tmp_path / "r")
    assert again.manifest == report.manifest
    assert again.results == {"results": {"t": {"acc,none": 1.0}}}
    (row,) = again.samples("t").to_dict("records")
    assert (row["prompt"], list(row["logprobs"]), row["acc"]) == ("问", [-1.0, -2.0], 1.0)
    assert json.loads(row["counts"]) == [1, 2]


def test_a_lone_surrogate_in_an_answer_is_written_as_its_escape(tmp_path: Path) -> None:
    half = "\ud83d"
    row = {**ROW, "responses": [f"答{half}"], "prediction": json.dumps([half], ensure_ascii=False), "types": {half: 1}}
    with ReportWriter(tmp_path / "r") as writer:
        writer.write_samples("t", [row], ["types"])
        report = writer.finish(manifest(), {})
    (stored,) = report.samples("t").to_dict("records")
    assert list(stored["responses"]) == [r"答\ud83d"]
    assert json.loads(stored["prediction"]) == [half]
    assert json.loads(stored["types"]) == {half: 1}


def test_a_score_of_an_older_report_has_neither_chance_nor_ceiling(tmp_path: Path) -> None:
    old = {"task": "t", "metric": "acc", "filter": "none", "value": 0.5, "stderr": None, "low": None, "high": None}
    old |= {"n": 1, "higher_is_better": True, "fraction": True, "average": None, "members": ["t"]}
    old |= {"primary": True, "headline": True}
    write_report(tmp_path / "r")
    file = tmp_path / "r" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scores": [old]}))
    [score] = reports.read(tmp_path / "r").manifest.scores
    assert (score.chance, score.ceiling) == (None, None)


def test_a_writer_that_does_not_finish_leaves_nothing(tmp_path: Path) -> None:
    with ReportWriter(tmp_path / "r") as writer:
        writer.write_samples("t", [ROW], [])
    assert list(tmp_path.iterdir()) == []


MOMENTS = ("samples", "results", "sums", "manifest", "rename")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A folder for each moment at which a process that wrote a report into it was killed, and the signals."""
    here, root = Path(__file__).parent, tmp_path_factory.mktemp("killed")
    script = f"""
import json, os, signal, sys
from pathlib import Path
sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]
import test_report
from harness.reports import writer
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def write(moment):
    real, files = writer._write, {{"results": "results.json", "sums": "SHA256SUMS", "manifest": "manifest.json"}}
    def write_file(file, text):
        if file.name == files.get(moment): die()
        real(file, text)
    writer._write = write_file
    if moment == "samples": writer.parquet.write = die
    if moment == "rename": Path.rename = die
    test_report.write_report(Path({str(root)!r}) / moment / "r")
signals = {{}}
for moment in {MOMENTS!r}:
    Path({str(root)!r}, moment).mkdir()
    child = os.fork()  # of a process that has written nothing yet
    if not child:
        write(moment)
        os._exit(0)
    signals[moment] = os.WTERMSIG(os.waitpid(child, 0)[1])
print(json.dumps(signals))
"""
    process = subprocess.run([sys.executable, "-c", script], env=os.environ, check=True, capture_output=True, text=True)
    return root, json.loads(process.stdout)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_killed_at_any_moment_leaves_no_report_and_the_next_one_tidies_up(
    killed: tuple[Path, dict[str, int]], moment: str
) -> None:
    root, signals = killed
    folder = root / moment
    assert signals[moment] == signal.SIGKILL
    assert _only(folder).startswith(".r.")
    with pytest.raises(HarnessError, match="no manifest"):
        reports.find([folder])
    write_report(folder / "r")
    assert [path.name for path in folder.iterdir()] == ["r"]


def test_the_hidden_folder_of_a_running_process_is_left_alone(tmp_path: Path) -> None:
    running = tmp_path / f".other.{atomic_write.host()}.{os.getppid()}" / "samples"
    running.mkdir(parents=True)
    write_report(tmp_path / "r")
    assert running.is_dir()


def test_the_hidden_folder_of_another_host_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / ".other.another-host.999999999" / "samples"
    elsewhere.mkdir(parents=True)
    write_report(tmp_path / "r")
    assert elsewhere.is_dir()


def test_two_runs_with_the_same_folder_get_one_each(tmp_path: Path) -> None:
    write_report(tmp_path / "r")
    with ReportWriter(tmp_path / "r") as slow:
        report = slow.finish(manifest(), {})
    assert report.folder.name == "r-1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r-1"]


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"), ReportWriter(tmp_path / "r") as writer:
        writer.finish(manifest(), {"results": {"t": {"acc,none": math.nan}}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.write_text("{"), "not valid JSON"),
        (lambda m: m.write_text("[]"), "damaged"),
        (lambda m: m.write_text('{"format": 99}'), "report format 99"),
        (lambda m: m.write_text('{"format": 1}'), "damaged"),
        (lambda m: m.unlink(), "no manifest"),
    ],
)
def test_a_damaged_manifest_is_an_error_of_one_sentence(tmp_path: Path, damage: Any, message: str) -> None:
    write_report(tmp_path / "r")
    damage(tmp_path / "r" / "manifest.json")
    with pytest.raises(HarnessError, match=message) as error:
        reports.read(tmp_path / "r")
    assert "\n" not in str(error.value)


def test_damaged_samples_are_an_error(tmp_path: Path) -> None:
    report = write_report(tmp_path / "r")
    (tmp_path / "r" / "samples" / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(HarnessError, match=r"t\.parquet cannot be read"):
        report.samples("t")


def test_the_error_about_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no samples of task 'u' \(it has: t\)"):
        write_report(tmp_path / "r").samples("u")


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot write a report"), ReportWriter(tmp_path / "file" / "r"):
        pass


def test_reports_are_found_below_folders_oldest_first_each_once(tmp_path: Path) -> None:
    for name, day in (("b", 2), ("a", 3), ("c", 1)):
        with ReportWriter(tmp_path / "deep" / name) as writer:
            writer.finish(manifest(created=f"2026-01-0{day}T00:00:00+00:00"), {})
    below = reports.find([tmp_path, tmp_path / "deep" / "a"])
    assert [report.folder.name for report in below] == ["c", "b", "a"]


def _only(folder: Path) -> str:
    (path,) = folder.iterdir()
    return path.name
