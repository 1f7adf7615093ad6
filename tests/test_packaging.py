"""The wheel works alone: built, installed beside the test environment's packages, and run outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from support import invented, tiny

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that sees the test environment's packages, but not its editable install of this one."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(packages) / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True)
    return folder


def run(installed: Path, where: Path, *arguments: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(installed / "bin" / "harness"), *arguments],
        cwd=where,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tasks_site_and_types_travel_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"harness/py.typed", "harness/_tasks/ceval/_ceval.yaml", "harness/_tasks/ceval/_ceval_yaml"} <= names
    for top, packed in (("tasks", "_tasks"), ("leaderboard", "_site")):
        tracked = subprocess.run(["git", "ls-files", top], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert {f"harness/{packed}/{name.partition('/')[2]}" for name in tracked.split()} <= names
    assert {"harness/demo/recipe.yaml", "harness/demo/tasks/_demo.yaml", "harness/demo/tasks/utils.py"} <= names
    assert not [name for name in names if not name.startswith(("harness/", "checkpoint_harness-"))]


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    script = "import harness; print(harness.__file__)"
    where = subprocess.run([installed / "bin" / "python", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert Path(where.stdout.strip()).is_relative_to(installed)


def test_help_and_tasks_work_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    assert "Usage: harness" in run(installed, tmp_path, "--help")
    assert "ceval/ceval-exam" in run(installed, tmp_path, "tasks")


def test_a_run_and_its_page_work_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    invented.mirror(tmp_path / "data")
    tiny.llama(tmp_path / "base", context=2048)
    run(installed, tmp_path, "run", "--model", "base", "--tasks", "ceval_law", "--data", "data", "-o", "runs")
    run(installed, tmp_path, "leaderboard", "runs", "-o", "site")
    assert "ceval_law" in (tmp_path / "site" / "table.html").read_text(encoding="utf-8")
