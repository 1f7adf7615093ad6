"""How much memory is free, and how much of it keys and values may take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from harness.engine import device_limits
from harness.engine.device_limits import CPU
from harness.engine.engine import CACHE_WEIGHTS, cache_bytes

GIB = 2**30


@pytest.mark.parametrize(
    ("limit", "use", "parts"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_a_container_may_take_what_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, use: str, parts: str
) -> None:
    """Files that were read are cached within the limit, and give way."""
    monkeypatch.setattr(device_limits, "CGROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text("5000000\n")
    (tmp_path / use).write_text("3000000\n")
    (tmp_path / parts).write_text("anon 2000000\ninactive_file 700000\nactive_file 300000\n")
    assert device_limits.free_bytes(torch.device("cpu")) == 2_700_000
    (tmp_path / use).write_text("6000000\n")
    assert device_limits.free_bytes(torch.device("cpu")) == 0


@pytest.mark.parametrize("limit", ["max\n", None])
def test_without_a_limit_what_the_machine_has_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    monkeypatch.setattr(device_limits, "CGROUP", tmp_path)
    if limit:
        (tmp_path / "memory.max").write_text(limit)
    free = device_limits.free_bytes(torch.device("cpu"))
    assert 0.5 * psutil.virtual_memory().available < free < psutil.virtual_memory().total


def test_keys_and_values_take_a_share_of_free_memory_and_a_few_times_the_weights() -> None:
    weights = GIB
    assert cache_bytes(weights, "cpu", 100 * GIB) == CACHE_WEIGHTS * weights
    assert cache_bytes(weights, "cpu", 4 * GIB) == CPU.cache_share * 4 * GIB
    assert cache_bytes(weights, "cpu", 0) == CPU.cache_bytes
    assert cache_bytes(1, "cpu", 100 * GIB) == CPU.cache_bytes
