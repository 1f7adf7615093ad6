"""Baselines: complete copies under plain names, replaced without a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.reports import baselines, calibration
from harness.reports.calibration import Calibration, FlipRate
from harness.reports.report import Report
from support.answered import Answers, report


def make_report(root: Path, name: str = "base", day: int = 1) -> Report:
    return report(root / "runs", name, {"law": Answers([1, 0, 1])}, day=day)


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_baseline_is_a_complete_copy(tmp_path: Path) -> None:
    source = make_report(tmp_path)
    saved = baselines.save(source, "main", tmp_path / "baselines")
    assert saved.replaced is None
    assert contents(saved.baseline.folder) == contents(source.folder)
    assert saved.baseline.folder == tmp_path / "baselines" / "main"


def test_the_calibration_of_the_checkpoint_is_copied_too(tmp_path: Path) -> None:
    source = make_report(tmp_path)
    fingerprint = source.manifest.checkpoint.fingerprint
    rate = FlipRate(task="law", metric="acc", filter="none", documents=3, repeats=2, changed=1)
    plain = {"harness": "0", "created": "", "checkpoint": "base", "device": "cpu", "dtype": "float32", "limit": None}
    Calibration(**plain, fingerprint=fingerprint, seed=1, again=["seed 2"], rates=[rate]).write(
        calibration.file_in(source.folder.parent, fingerprint)
    )
    baselines.save(source, "main", tmp_path / "baselines")
    copied = calibration.find(tmp_path / "baselines", fingerprint)
    assert copied is not None
    assert copied.rates == [rate]
    assert list(baselines.load_all(tmp_path / "baselines")) == ["main"]


def test_a_replaced_baseline_is_returned_and_removed(tmp_path: Path) -> None:
    baselines.save(make_report(tmp_path, "old"), "main", tmp_path / "baselines")
    saved = baselines.save(make_report(tmp_path, "new"), "main", tmp_path / "baselines")
    assert saved.replaced is not None
    assert saved.replaced.manifest.checkpoint.name == "old"
    assert names(tmp_path / "baselines") == ["main"]
    assert baselines.find("main", tmp_path / "baselines").manifest.checkpoint.name == "new"


def test_a_baseline_can_be_saved_under_its_own_name(tmp_path: Path) -> None:
    saved = baselines.save(make_report(tmp_path), "main", tmp_path / "baselines")
    again = baselines.save(saved.baseline, "main", tmp_path / "baselines")
    assert contents(again.baseline.folder) == contents(make_report(tmp_path / "again").folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../main", "/main", ".hidden", "a b", "a\nb", "main/"])
def test_a_name_must_be_plain(tmp_path: Path, name: str) -> None:
    source = make_report(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(HarnessError, match="cannot be the name of a baseline"):
        baselines.save(source, name, tmp_path / "baselines")
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(HarnessError):
        baselines.find(str(tmp_path / "nowhere" / name), tmp_path / "baselines")


def test_a_damaged_report_is_refused_before_it_replaces_a_sound_one(tmp_path: Path) -> None:
    baselines.save(make_report(tmp_path, "sound"), "main", tmp_path / "baselines")
    damaged = make_report(tmp_path, "damaged")
    file = damaged.folder / "samples" / "law.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(HarnessError, match=r"law.parquet cannot be read"):
        baselines.save(damaged, "main", tmp_path / "baselines")
    file.unlink()
    with pytest.raises(HarnessError, match=r"no samples of task 'law': .*law\.parquet is missing"):
        baselines.save(damaged, "main", tmp_path / "baselines")
    assert baselines.find("main", tmp_path / "baselines").manifest.checkpoint.name == "sound"


def test_a_damaged_baseline_can_be_replaced(tmp_path: Path) -> None:
    saved = baselines.save(make_report(tmp_path, "old"), "main", tmp_path / "baselines")
    (saved.baseline.folder / "manifest.json").write_text("{")
    with pytest.raises(HarnessError, match="the report is damaged"):
        baselines.find("main", tmp_path / "baselines")
    assert baselines.save(make_report(tmp_path, "new"), "main", tmp_path / "baselines").replaced is None
    assert baselines.find("main", tmp_path / "baselines").manifest.checkpoint.name == "new"


def test_a_process_stopped_between_the_two_renames_leaves_the_old_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "baselines"
    baselines.save(make_report(tmp_path, "old"), "main", folder)
    new, rename, renamed = make_report(tmp_path, "new"), Path.rename, []

    def stop_at_second(self: Path, target: Path) -> Path:
        renamed.append(self)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        baselines.save(new, "main", folder)
    monkeypatch.undo()
    assert not (folder / "main").exists()
    assert baselines.find("main", folder).manifest.checkpoint.name == "old"
    assert list(baselines.load_all(folder)) == ["main"]
    assert baselines.save(make_report(tmp_path, "newer"), "main", folder).replaced is not None
    assert names(folder) == ["main"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "baselines").write_text("a file")
    with pytest.raises(HarnessError, match=r"cannot write the baseline .*baselines/main"):
        baselines.save(make_report(tmp_path), "main", tmp_path / "baselines")


def test_a_folder_takes_precedence_over_a_baseline_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    baselines.save(make_report(tmp_path, "saved"))
    assert baselines.find("main").manifest.checkpoint.name == "saved"
    make_report(tmp_path, "folder").folder.rename("main")
    assert baselines.find("main").manifest.checkpoint.name == "folder"


def test_a_path_without_a_report_does_not_hide_a_baseline_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("main").write_text("a program")
    with pytest.raises(HarnessError):
        baselines.find("main")
    baselines.save(make_report(tmp_path, "saved"))
    assert baselines.find("main").manifest.checkpoint.name == "saved"
    Path("main").unlink()
    Path("main").mkdir()
    assert baselines.find("main").manifest.checkpoint.name == "saved"


def test_a_folder_with_one_report_stands_for_that_report(tmp_path: Path) -> None:
    source = make_report(tmp_path, "only")
    assert baselines.only_report(tmp_path / "runs").folder == source.folder
    make_report(tmp_path, "second", day=2)
    with pytest.raises(HarnessError, match=r"runs holds 2 reports: name one of them \(.*only_01, .*second_02\)"):
        baselines.only_report(tmp_path / "runs")


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no report in main, and no baseline of that name in .*baselines \(none\)"):
        baselines.find("main", tmp_path / "baselines")
    with pytest.raises(HarnessError, match="harness baseline set REPORT"):
        baselines.load_all(tmp_path / "baselines")
    baselines.save(make_report(tmp_path), "release", tmp_path / "baselines")
    with pytest.raises(HarnessError, match=r"\(release\); did you mean 'release'\?"):
        baselines.find("relaese", tmp_path / "baselines")


def test_all_baselines_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("v2", "main"):
        baselines.save(make_report(tmp_path, name), name, tmp_path / "baselines")
    (tmp_path / "baselines" / "something else").mkdir()
    loaded = baselines.load_all(tmp_path / "baselines")
    assert [(name, saved.manifest.checkpoint.name) for name, saved in loaded.items()] == [
        ("main", "main"),
        ("v2", "v2"),
    ]
