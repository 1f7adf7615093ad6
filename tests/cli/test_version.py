"""`harness --version`, and what `--verbose` adds to it."""

from __future__ import annotations

import getpass
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import harness
from harness.backends.local import ANSWERS
from harness.cli import environment, main


def test_the_version_alone_is_one_line_and_imports_no_torch() -> None:
    script = "import sys; from harness.cli import main; main(['--version']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"harness {harness.__version__}\n")


@pytest.mark.parametrize("words", [["--version", "--verbose"], ["--verbose", "--version"]])
def test_verbose_adds_versions_devices_and_the_journal(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"harness {harness.__version__}"
    facts = dict(line.split(": ", 1) for line in lines)
    assert list(facts) == ["python", "platform", *environment.PACKAGES, "devices", "journal"]
    assert facts["python"].endswith(platform.python_version())
    assert facts["torch"] == version("torch")
    assert facts["lm-eval"] == version("lm-eval")
    assert re.match(r"CPU with \d+ cores, \d+ threads", facts["devices"])
    assert facts["journal"] == f"answers version {ANSWERS}"


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert environment.environment()["devices"].endswith(" threads, CUDA 13.0, GPU 0, GPU 1")


def test_nothing_tells_who_or_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "--verbose"]) == 0
    values = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    for secret in (str(Path.home()), str(Path.cwd()), sys.prefix, getpass.getuser(), platform.node()):
        assert not any(re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", value) for value in values)


def test_a_broken_installation_is_described_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "harness.backends.local", None)
    monkeypatch.setattr(environment, "PACKAGES", ("torch", "no-such-package"))
    facts = environment.environment()
    assert facts["no-such-package"] == "not installed"
    assert re.fullmatch(r"CPU with \d+ cores; torch cannot be used \(ModuleNotFoundError\)", facts["devices"])
    assert facts["journal"] == "cannot be loaded (ModuleNotFoundError)"


def test_verbose_without_version_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--verbose", "show", "."]) == 2
    assert "--verbose goes with --version" in capsys.readouterr().err
