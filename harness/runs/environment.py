"""Where a run happened: versions, hardware, and the memory it took."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "lm_eval", "datasets", "numpy")


def describe(device: torch.device) -> dict[str, str]:
    """Return what a reader needs to tell two machines apart: no host name, no path."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    found["cpu"] = f"{_cpu_name()} × {os.cpu_count()}"
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def reset_peak_memory(device: torch.device) -> None:
    """Start counting anew, where the device can: a CPU process keeps its peak for life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak in bytes: of the allocator on a GPU, of the process's resident memory on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
