"""200 random damages of a journal at any offset of its file, log and shared memory change no answer (`make soak`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import damaged_journals

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("seed", range(1000, 1200))
def test_a_random_damage_changes_no_answer(tmp_path: Path, seed: int) -> None:
    damaged_journals.require_harmless(tmp_path / "journal", seed, count=500)
