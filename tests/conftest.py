"""Fixtures that every room's tests share. Torch gets one thread a test worker: two workers share two cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # the trainer's second thread must not burn the other worker's core
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

pytest_plugins = ["support.wall_time", "support.frozen_heap", "support.sampled"]

# How many examples hypothesis tries; tests of slow functions try a fraction of `settings.default.max_examples`.
# `make soak` runs every such test again with --hypothesis-profile=thorough.
hypothesis.settings.register_profile("quick", max_examples=30)
hypothesis.settings.register_profile("thorough", max_examples=300)
hypothesis.settings.load_profile("quick")

ROOT = Path(__file__).resolve().parent.parent
# Read before any test changes the environment.
DATA = Path(os.environ.get("HARNESS_DATA") or ROOT.parent / "shared" / "data").resolve()


def missing(what: str) -> None:
    """Skip for want of `what` on a user's machine; this project's own CI (`.ci/run`) skips nothing for that."""
    if os.environ.get("HARNESS_CI"):
        pytest.fail(f"{what}, and .ci/run must not skip")
    pytest.skip(what)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep file hashes and the like out of the user's cache, and the user's settings out of the tests."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("HARNESS_DATA", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _peers_compute_in_full() -> Iterator[None]:
    """Keep what the tests compare with from bitsandbytes' bfloat16 shortcut, which some CPUs take and others do not."""
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("bitsandbytes") is not None:
            patch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The mirror of real data sets: `HARNESS_DATA`, or `shared/data` beside the repository."""
    folder = DATA
    if not folder.is_dir():
        reason = f"no data folder at {folder}; set HARNESS_DATA"
        if os.environ.get("HARNESS_CI") == "no-data":
            pytest.skip(reason)
        missing(reason)
    return folder


@pytest.fixture(scope="session")
def definitions(data: Path) -> Path:
    """Regexes, option lists and templates of the reproduced protocols, beside the data."""
    folder = data.parent / "definitions"
    if not folder.is_dir():
        missing(f"no definitions at {folder}")
    return folder


@pytest.fixture(scope="module")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's cache that holds a trained quick demo; all test workers share it, and the first one trains.

    While a module uses it, the demo's world and training are small: what its stages learn is the subject of
    tests/demo/test_family.py.
    """
    from filelock import FileLock

    from harness.demo import corpora
    from harness.demo.story import tell
    from harness.reports.report import Report
    from support import small_world

    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    cache = root / "demo-cache"
    with pytest.MonkeyPatch.context() as module:
        small_world.shrink_corpora(module, 4)
        small_world.shorten_evaluation(module)
        small_world.shrink_model(module)
        small_world.shorten_recipe(module, tmp_path_factory.mktemp("recipe") / "recipe.yaml")
        with FileLock(f"{cache}.lock"), pytest.MonkeyPatch.context() as patch:
            patch.setenv("HARNESS_CACHE", str(cache))
            if not (cache / "demo").is_dir():
                for event in tell(tmp_path_factory.mktemp("trained") / "demo", quick=True):
                    if isinstance(event, Report):
                        break  # all stages are trained before the first is evaluated
        yield cache
    corpora.build_world.cache_clear()


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file in the user's cache, fetched once; without a network this fails.

    Fixtures of the session are set up before `_own_cache` replaces the user's cache.
    """
    from harness.errors import HarnessError
    from oracle import smollm2

    try:
        return smollm2.fetch()
    except HarnessError as error:
        pytest.fail(str(error))
