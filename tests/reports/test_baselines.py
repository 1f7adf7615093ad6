"""Baselines: whole copies under plain names, replaced without a gap."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.reports import baselines, calibration
from harness.reports.calibration import Calibration, FlipRate
from harness.reports.report import Report
from support.answered import Answers, report


def made(root: Path, name: str = "base", day: int = 1) -> Report:
    return report(root / "runs", name, {"law": Answers([1, 0, 1])}, day=day)


def files(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_a_baseline_is_a_complete_copy(tmp_path: Path) -> None:
    one = made(tmp_path)
    kept = baselines.keep(one, "main", tmp_path / "kept")
    assert kept.replaced is None
    assert files(kept.baseline.folder) == files(one.folder)
    assert kept.baseline.folder == tmp_path / "kept" / "main"


def test_what_is_known_of_the_checkpoint_against_itself_is_kept_too(tmp_path: Path) -> None:
    one = made(tmp_path)
    who = one.manifest.checkpoint.fingerprint
    rate = FlipRate(task="law", metric="acc", filter="none", documents=3, repeats=2, changed=1)
    plain = {"harness": "0", "created": "", "checkpoint": "base", "device": "cpu", "dtype": "float32", "limit": None}
    Calibration(**plain, fingerprint=who, seed=1, again=["seed 2"], rates=[rate]).write(
        calibration.place(one.folder.parent, who)
    )
    baselines.keep(one, "main", tmp_path / "kept")
    found = calibration.find(tmp_path / "kept", who)
    assert found is not None
    assert found.rates == [rate]
    assert [name for name, _ in baselines.kept(tmp_path / "kept")] == ["main"]


def test_what_is_replaced_is_told_and_gone(tmp_path: Path) -> None:
    baselines.keep(made(tmp_path, "old"), "main", tmp_path / "kept")
    kept = baselines.keep(made(tmp_path, "new"), "main", tmp_path / "kept")
    assert kept.replaced is not None
    assert kept.replaced.manifest.checkpoint.name == "old"
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["main"]
    assert baselines.find("main", tmp_path / "kept").manifest.checkpoint.name == "new"


def test_a_baseline_may_be_made_of_itself(tmp_path: Path) -> None:
    kept = baselines.keep(made(tmp_path), "main", tmp_path / "kept")
    again = baselines.keep(kept.baseline, "main", tmp_path / "kept")
    assert files(again.baseline.folder) == files(made(tmp_path / "again").folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../main", "/main", ".hidden", "a b", "a\nb", "main/"])
def test_a_name_is_a_plain_one(tmp_path: Path, name: str) -> None:
    one = made(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(HarnessError, match="is no name for a baseline"):
        baselines.keep(one, name, tmp_path / "kept")
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(HarnessError):
        baselines.find(str(tmp_path / "nowhere" / name), tmp_path / "kept")


def test_a_damaged_report_is_refused_before_it_replaces_a_sound_one(tmp_path: Path) -> None:
    baselines.keep(made(tmp_path, "sound"), "main", tmp_path / "kept")
    damaged = made(tmp_path, "damaged")
    file = damaged.folder / "samples" / "law.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(HarnessError, match=r"law.parquet cannot be read"):
        baselines.keep(damaged, "main", tmp_path / "kept")
    file.unlink()
    with pytest.raises(HarnessError, match=r"no samples of task 'law': .*law\.parquet is missing"):
        baselines.keep(damaged, "main", tmp_path / "kept")
    assert baselines.find("main", tmp_path / "kept").manifest.checkpoint.name == "sound"


def test_a_damaged_baseline_can_be_replaced(tmp_path: Path) -> None:
    (baselines.keep(made(tmp_path, "old"), "main", tmp_path / "kept").baseline.folder / "manifest.json").write_text("{")
    with pytest.raises(HarnessError, match="the report is damaged"):
        baselines.find("main", tmp_path / "kept")
    assert baselines.keep(made(tmp_path, "new"), "main", tmp_path / "kept").replaced is None
    assert baselines.find("main", tmp_path / "kept").manifest.checkpoint.name == "new"


def test_whoever_is_stopped_between_two_renames_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    baselines.keep(made(tmp_path, "old"), "main", kept)
    new, rename, moved = made(tmp_path, "new"), Path.rename, []

    def stopped(self: Path, target: Path) -> Path:
        moved.append(self)
        if len(moved) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        baselines.keep(new, "main", kept)
    monkeypatch.undo()
    assert not (kept / "main").exists()
    assert baselines.find("main", kept).manifest.checkpoint.name == "old"
    assert [name for name, _ in baselines.kept(kept)] == ["main"]
    assert baselines.keep(made(tmp_path, "newer"), "main", kept).replaced is not None
    assert [one.name for one in kept.iterdir()] == ["main"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(HarnessError, match=r"cannot write the baseline .*kept/main"):
        baselines.keep(made(tmp_path), "main", tmp_path / "kept")


def test_a_folder_comes_before_a_baseline_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    baselines.keep(made(tmp_path, "kept"))
    assert baselines.find("main").manifest.checkpoint.name == "kept"
    made(tmp_path, "named").folder.rename("main")
    assert baselines.find("main").manifest.checkpoint.name == "named"


def test_what_holds_no_report_hides_no_baseline_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("main").write_text("a program")
    with pytest.raises(HarnessError):
        baselines.find("main")
    baselines.keep(made(tmp_path, "kept"))
    assert baselines.find("main").manifest.checkpoint.name == "kept"
    Path("main").unlink()
    Path("main").mkdir()
    assert baselines.find("main").manifest.checkpoint.name == "kept"


def test_a_folder_that_holds_one_report_stands_for_it(tmp_path: Path) -> None:
    one = made(tmp_path, "only")
    assert baselines.only(tmp_path / "runs").folder == one.folder
    made(tmp_path, "second", day=2)
    with pytest.raises(HarnessError, match=r"runs holds 2 reports: name one of them \(.*only_01, .*second_02\)"):
        baselines.only(tmp_path / "runs")


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no report in main, and no baseline of that name in .*kept \(none\)"):
        baselines.find("main", tmp_path / "kept")
    with pytest.raises(HarnessError, match="harness baseline set REPORT"):
        baselines.kept(tmp_path / "kept")
    baselines.keep(made(tmp_path), "release", tmp_path / "kept")
    with pytest.raises(HarnessError, match=r"\(release\); did you mean 'release'\?"):
        baselines.find("relaese", tmp_path / "kept")


def test_all_baselines_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("v2", "main"):
        baselines.keep(made(tmp_path, name), name, tmp_path / "kept")
    (tmp_path / "kept" / "something else").mkdir()
    found = baselines.kept(tmp_path / "kept")
    assert [(name, one.manifest.checkpoint.name) for name, one in found] == [("main", "main"), ("v2", "v2")]
