"""Reports that `verify` finds below a folder, and what is left of damaged ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.reports import report as reports
from harness.reports import sums
from harness.verification.verify import find
from support.answered import Answers, report


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two reports, `a/one` and `a/two`."""
    for name in ("one", "two"):
        folder = report(tmp_path / name, "base", {"law": Answers([1, 0])}).folder
        (folder / sums.SUMS).write_text(sums.rendered(sums.of_folder(folder)), encoding="utf-8")
        (tmp_path / "runs" / "a").mkdir(parents=True, exist_ok=True)
        shutil.move(folder, tmp_path / "runs" / "a" / name)
    return tmp_path / "runs"


def without(*names: str) -> Callable[[Path], None]:
    """Return a function that removes files and folders of a report."""

    def remove(folder: Path) -> None:
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return remove


@pytest.mark.parametrize(
    "damage",
    [
        without("manifest.json"),
        without("manifest.json", "SHA256SUMS"),
        without("manifest.json", "results.json"),
        without("manifest.json", "samples"),
        without("manifest.json", "SHA256SUMS", "results.json"),
        without("manifest.json", "results.json", "samples"),
        lambda folder: (folder / "manifest.json").rename(folder / "manifest.json.bak"),
    ],
)
def test_a_report_without_its_manifest_is_found(runs: Path, damage: Callable[[Path], None]) -> None:
    damage(runs / "a" / "two")
    assert find([runs]) == [runs / "a" / "one", runs / "a" / "two"]


def test_a_report_without_its_manifest_does_not_hold(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "a" / "one" / "manifest.json").unlink()
    shutil.rmtree(runs / "a" / "two")
    assert main(["verify", str(runs)]) == 1
    assert "manifest.json missing" in capsys.readouterr().out


def test_other_folders_are_no_reports(runs: Path) -> None:
    data = runs / "data"
    (data / "samples").mkdir(parents=True)
    pq.write_table(pa.table({"question": ["?"]}), data / "samples" / "law.parquet")
    (data / sums.SUMS).write_text(f"{'0' * 64}  data.tar.gz\n")
    (runs / "other").mkdir()
    (runs / "other" / "results.json").write_text("{}")
    shutil.copytree(runs / "a" / "one", runs / ".one.host.1")
    assert find([runs]) == [runs / "a" / "one", runs / "a" / "two"]


def test_what_a_file_manager_leaves_changes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(runs / "a" / "one")])
    before = capsys.readouterr().out
    for name in ("samples/.DS_Store", "samples/._law.parquet", "samples/Thumbs.db", ".DS_Store"):
        (runs / "a" / "one" / name).write_bytes(b"\x00")
    main(["verify", str(runs / "a" / "one")])
    assert capsys.readouterr().out == before


@pytest.mark.parametrize("name", ["../../two/samples/law", "sub/law", "/etc/law", "../law"])
def test_a_task_whose_name_is_a_path_is_not_read(runs: Path, name: str) -> None:
    folder = runs / "a" / "one"
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('"law"', f'"{name}"'))
    with pytest.raises(HarnessError, match="separator of paths"):
        reports.read(folder).table(name)
