"""Versions of installed packages, by name, without importing them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

ANSWERING = ("torch", "transformers", "tokenizers", "peft", "bitsandbytes", "gguf", "lm_eval")
"""Packages whose version may change a checkpoint's answer to the same token ids, or the ids of a prompt."""


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of `packages` that are installed, by name."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
