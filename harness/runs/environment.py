"""The environment of a run: versions, hardware, and peak memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from harness.common import versions

_PACKAGES = (*versions.ANSWERING, "datasets", "numpy")
_SCORING_PACKAGES = ("lm_eval", "datasets", "numpy", "jieba", "cn2an", "rouge_score", "sacrebleu")


def describe(device: torch.device) -> dict[str, str]:
    """Return platform, processors and library versions of a run on `device`, by name, but no host name and no path."""
    hardware = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    hardware["cpu"] = f"{_cpu_name()} × {os.cpu_count()}"
    if device.type == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name(device)
    return hardware | versions.installed(_PACKAGES)


def describe_scoring() -> dict[str, str]:
    """Return the library versions that can change the scores of answers that were given elsewhere."""
    return {"python": platform.python_version()} | versions.installed(_SCORING_PACKAGES)


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak that `peak_memory` returns; on a CPU outside Linux, this has no effect."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: that of torch's allocator on a GPU, the process's resident memory on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
