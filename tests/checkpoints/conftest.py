"""Tiny checkpoints for the tests of this folder; tests change copies only."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from support import tampering, tiny


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("checkpoints") / "base")


@pytest.fixture(scope="session")
def lora(base: Path) -> Path:
    return tiny.lora(base.parent / "lora", base)


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A copy of `base` that a test may change."""
    return tampering.copied(base, tmp_path / "copy")


@pytest.fixture
def adapter(lora: Path, tmp_path: Path) -> Path:
    """A copy of `lora` that a test may change."""
    return tampering.copied(lora, tmp_path / "adapter")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"
