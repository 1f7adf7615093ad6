"""What a bug report needs to know about an installation: versions and devices, but no paths, user or host names."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "lm-eval", "datasets")


def environment() -> dict[str, str]:
    """Return facts by name: versions (Python, platform, libraries, journal) and devices.

    If a fact cannot be determined, its value says so, because bug reports often come from broken installations.
    """
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": " ".join(filter(None, (platform.system(), platform.machine(), *platform.libc_ver()))),
    }
    facts |= {package: _version(package) for package in PACKAGES}
    return {**facts, "devices": _devices(), "journal": _journal()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> str:
    """Return the CPU with its threads, and the GPUs; torch is imported to ask for both."""
    cores = f"CPU with {os.cpu_count()} cores"
    try:
        import torch

        devices = [f"{cores}, {torch.get_num_threads()} threads"]
        if torch.cuda.is_available():
            devices.append(f"CUDA {torch.version.cuda}")
            devices += [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError) as error:
        return f"{cores}; torch cannot be used ({type(error).__name__})"
    return ", ".join(devices)


def _journal() -> str:
    """Return the version that answers in the journal must have to be reused; others are computed again."""
    try:
        from harness.backends.local import ANSWERS
    except (ImportError, OSError, RuntimeError) as error:
        return f"cannot be loaded ({type(error).__name__})"
    return f"answers version {ANSWERS}"
