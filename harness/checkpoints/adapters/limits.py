"""Limits of what an adapter's configuration may demand before PEFT reads it: sizes, patterns, files, code.

An adapter comes from others. PEFT builds what the configuration states (a rank of a million takes gigabytes), matches
its patterns against every module's name, and reads files or imports modules that some settings name.

Not here: whether the adapter fits its base (`harness.checkpoints.adapters.attach`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.checkpoints import limits, safetensors_header, templates
from harness.checkpoints.limits import Setting, shown
from harness.common import patterns
from harness.errors import HarnessError

_RANKS = re.compile(r"r|rank|init_r|target_r|hra_r|block_size|oft_block_size|adapter_len|num_virtual_tokens")
"""Settings that are a dimension of the adapter's own tensors."""
_FREE = re.compile(r"\w*(alpha|seed|key|step|tokens?|ids?|indices|tinit|tfinal|delta_?t)\w*", re.IGNORECASE)
"""Settings that are neither a size nor a count."""
_SMALLEST_RANK = 1024
"""A rank that is never too large: the tensors may be pickled, and every module may have a rank of its own."""
_COUNT = 1_000_000
_ITEMS = 10_000
_LAYERS = 4096
_READS = ("cache_file", "covariance_file", "shadow_model", "megatron_core", "megatron_config", "adapters")
"""Settings for which PEFT imports a module, or reads a file or a model beside the adapter and its base."""
_MODULES = ("transformers", "transformers_modules", "peft", "torch", "__main__")
"""Packages whose classes an adapter may have been trained on."""
_PATTERNS = (
    "target_modules",
    "exclude_modules",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "target_parameters",
)


def check(file: Path, content: dict[str, Any], weights: Path | None) -> None:
    """Raise HarnessError, naming the setting, if the configuration `content`, read from `file`, is out of all bounds.

    `weights` is the adapter's weight file, None if it is missing.
    """
    largest = _largest_rank(weights)
    for setting in limits.settings(content):
        if fault := _reading_fault(setting) or _size_fault(setting, largest):
            raise HarnessError(
                f"{file} states {setting.path} as {shown(setting.value)}, {fault}: save it again if its configuration "
                "was edited"
            )
    replication = content.get("layer_replication")
    if isinstance(replication, list):
        spans = [span for span in replication if isinstance(span, list) and all(type(i) is int for i in span)]
        if sum(span[-1] - span[0] for span in spans if span) > _LAYERS:
            raise HarnessError(f"{file} replicates more than {_LAYERS:,} layers in layer_replication: correct it")


def require_quick_patterns(file: Path, content: Any, names: Sequence[str]) -> None:
    """Raise HarnessError if a pattern in PEFT's configuration `content` takes seconds to match the modules' `names`."""
    for setting in _PATTERNS:
        value = getattr(content, setting, None)
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, dict | list | set) else []
        for pattern in texts:
            is_costly = isinstance(pattern, str) and len(re.findall(r"[*+{|]", pattern)) > 1
            if is_costly and (patterns.may_hang(pattern) or not templates.is_quick(pattern, names)):
                raise HarnessError(
                    f"{file} has the pattern {shown(pattern)} in {setting}, which takes for ever to match: name "
                    "the modules instead"
                )


def _reading_fault(setting: Setting) -> str:
    """Return what is wrong with a setting that names a file, a model, a module or an address; empty if nothing is."""
    name, value = setting.name, setting.value
    if isinstance(value, str) and re.match(r"\w[\w+.-]*://", value):
        return "an address: an adapter names its base by a path or a hub name"
    if name in _READS and value and value != "megatron.core":  # PEFT's default
        return "and peft would read or import what it names: nothing but adapter and base is read"
    if name == "parent_library" and value and str(value).partition(".")[0] not in _MODULES:
        return "which is not a module of transformers"
    if isinstance(value, list | dict) and len(value) > _ITEMS:
        return f"with more than {_ITEMS:,} items"
    if name == "base_model_name_or_path" and any(len(part) > 255 for part in str(value).split("/")):
        return "which is longer than a name may be"
    if isinstance(value, str) and not value.isprintable():
        return "with characters that no name has"
    return ""


def _size_fault(setting: Setting, largest: int) -> str:
    name, value = setting.name, setting.value
    in_ranks = setting.path.startswith("rank_pattern.")
    if _RANKS.fullmatch(name) or in_ranks:
        if value is None or isinstance(value, dict | list):
            return ""
        if type(value) is not int or value < 0:
            return "" if name == "num_virtual_tokens" else "which is not the size of anything"
        return f"and its weights have no rank of more than {largest:,}" if value > largest else ""
    is_size = type(value) is int and not _FREE.fullmatch(name)
    return f"which is more than {_COUNT:,}" if is_size and abs(value) > _COUNT else ""


def _largest_rank(weights: Path | None) -> int:
    """Return the largest rank that the tensors in `weights` may have."""
    shapes = []
    if weights is not None and weights.suffix == ".safetensors":
        with suppress(HarnessError):  # a damaged file is reported when it is read
            shapes = [tensor.shape for tensor in safetensors_header.read(weights).tensors.values()]
    return max([_SMALLEST_RANK, *(min(shape) for shape in shapes if len(shape) > 1)])
