"""The sums of a report are those of `sha256sum`, and show every file that is not as it was written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.reports import sums
from support.answered import Answers, report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A report as it was written."""
    folder = report(tmp_path, "base", {"law": Answers([1, 0])}).folder
    (folder / sums.SUMS).write_text(sums.rendered(sums.of_folder(folder)), encoding="utf-8")
    return folder


def test_a_written_report_has_sums_of_all_its_files(tmp_path: Path) -> None:
    from harness.reports.writer import ReportWriter

    manifest = report(tmp_path, "base", {"law": Answers([1, 0])}).manifest
    with ReportWriter(tmp_path / "other") as writer:
        folder = writer.finish(manifest, {"results": {"text": "法\u2028"}}).folder
    assert not sums.differences(folder)
    assert len((folder / sums.SUMS).read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_sha256sum_reads_them(folder: Path) -> None:
    for name in ("a\\b\nc", "a\\nb", "a\u2028b", "a\x85b"):
        (folder / "samples" / f"{name}.parquet").write_text("odd")
    (folder / sums.SUMS).write_text(sums.rendered(sums.of_folder(folder)), encoding="utf-8")
    done = subprocess.run(["sha256sum", "-c", "--strict", sums.SUMS], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not sums.differences(folder)


def test_every_difference_is_named(folder: Path) -> None:
    (folder / "results.json").write_text("{}")
    (folder / "samples" / "law.parquet").rename(folder / "samples" / "tax.parquet")
    (folder / "notes.txt").write_text("read this")
    differences = sums.differences(folder)
    assert differences == sums.Differences(["results.json"], ["samples/law.parquet"], ["samples/tax.parquet"])
    text = "results.json changed; samples/law.parquet missing; samples/tax.parquet without a sum"
    assert str(differences) == text


def test_changed_line_ends_are_named_as_such(folder: Path) -> None:
    """As after git's core.autocrlf=true, which takes parquet for binary."""
    for name in ("manifest.json", "results.json", sums.SUMS):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"\n", b"\r\n"))
    differences = sums.differences(folder)
    assert str(differences).startswith("manifest.json, results.json changed, but only their line ends (git")
    (folder / "results.json").write_bytes(b"{}\r\n")
    assert str(sums.differences(folder)).startswith("results.json changed; manifest.json changed, but only their")


@pytest.mark.parametrize("name", ["samples/.DS_Store", "samples/Thumbs.db", "samples/._law.parquet", "notes.txt"])
def test_what_a_file_manager_leaves_is_no_difference(folder: Path, name: str) -> None:
    (folder / name).write_text("x")
    assert not sums.differences(folder)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_names_with_separators_of_lines_and_escapes_are_read_back(tmp_path: Path, ends: str) -> None:
    names = ["a\u2028b", "a\x85b", "a\x0bb\x1cc", "a\rb", "b\r", "a\nb", "a\\nb", "a\\\\rb\n", "\\", "法", " a  b"]
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / sums.SUMS).write_bytes(sums.rendered(sums.of_folder(tmp_path)).replace("\n", ends).encode())
    assert sums.differences(tmp_path) == sums.Differences([], [], [])
    for name in names:
        (tmp_path / name).write_text("other")
    differences = sums.differences(tmp_path)
    assert differences is not None
    assert sorted(differences.changed) == sorted(names)


def test_older_reports_have_none(folder: Path) -> None:
    (folder / sums.SUMS).unlink()
    assert sums.differences(folder) is None


@pytest.mark.parametrize("content", [b"no sum\n", b"\xff\xfe\n", b"12  results.json\n"])
def test_damaged_sums_are_refused(folder: Path, content: bytes) -> None:
    (folder / sums.SUMS).write_bytes(content)
    with pytest.raises(HarnessError, match="the report is damaged"):
        sums.differences(folder)
