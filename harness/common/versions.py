"""Versions of installed packages, by name, without importing them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

ANSWERING = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "gguf", "lm_eval")
"""Packages whose version may change a checkpoint's answer to the same token ids, or the ids of a prompt."""


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of `packages` that are installed, by name."""
    versions = {package: _version(package) for package in packages}
    return {package: version for package, version in versions.items() if version is not None}


@functools.cache
def _version(package: str) -> str | None:
    """Return the version of an installed package, or None; a process never imports two versions of one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
