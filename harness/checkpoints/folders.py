"""The folders that a checkpoint reference names: its base, and its adapter, each found here or fetched from the hub.

Not here: whether the two fit together (`harness.checkpoints.loading`), and where an adapter's base is
(`harness.checkpoints.origin`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from harness.checkpoints import files, gguf, origin
from harness.checkpoints.adapters import config as adapter_configs
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm import prefix
from harness.checkpoints.reference import CheckpointReference
from harness.common import paths
from harness.errors import HarnessError


class Folders(NamedTuple):
    """The base and the adapter that a reference names."""

    base: Path
    """Folder of the base, or its GGUF file."""
    base_name: str
    """The base's path or hub name, as the reference or the adapter states it."""
    adapter: AdapterConfig | None
    """The adapter's configuration; None for a base on its own."""


def of(reference: CheckpointReference) -> Folders:
    """Return the folders of base and adapter. The reference may name both, only a base, or only an adapter.

    Raises HarnessError if a folder is not found, is no checkpoint or no adapter, if two adapters are named, or if a
    revision is stated of what is on this machine.
    """
    if reference.revision is not None and paths.exists(reference.path):
        raise HarnessError(
            f"{reference.path} is on this machine, and revision={reference.revision} names a version of a model on the "
            "hub: leave it out"
        )
    first = files.find(reference.path, reference.revision, code=reference.trust_remote_code)
    adapter = files.find(reference.adapter) if reference.adapter else None
    if adapter is not None and not (adapter_configs.holds_adapter(adapter) or prefix.has_prefix(adapter)):
        advice = files.checkpoints_inside(adapter) or "name the folder of a PEFT adapter"
        prefix.require_config(adapter)
        raise HarnessError(f"{adapter} has no {files.ADAPTER_CONFIG}: {files.lacking_config(adapter) or advice}")
    if not adapter_configs.holds_adapter(first):
        if prefix.has_prefix(first) and not reference.trust_remote_code:
            if adapter is not None:
                raise HarnessError(
                    f"{first} has a prefix of its own: {adapter} cannot be put on it, leave adapter= out"
                )
            adapter = first
        return Folders(gguf.choose(first), reference.path, adapter_configs.read(adapter) if adapter else None)
    if adapter is not None:
        raise HarnessError(f"{first} is an adapter itself: name its base before the comma, not another adapter")
    config = adapter_configs.read(first)
    location = origin.base_of(config)
    base = _base_folder(location, first, reference.trust_remote_code)
    if adapter_configs.holds_adapter(base):
        raise HarnessError(f"adapter {first} was trained on {base}, itself an adapter: merge that into its base")
    return Folders(gguf.choose(base), location.name, config)


def _base_folder(location: origin.BaseLocation, adapter: Path, code: bool) -> Path:
    try:
        return files.find(location.path, location.revision, code=code)
    except HarnessError as error:
        message = f"adapter {adapter} was trained on '{location.path}', which cannot be found ({error})"
        raise HarnessError(f"{message}; {origin.advice(adapter, location.path)}") from error
