"""Limits of what an adapter's configuration may demand before PEFT reads it: sizes, patterns, files, code.

An adapter comes from others. PEFT builds what the configuration states (a rank of a million takes gigabytes), matches
its patterns against every module's name, and reads files or imports modules that some settings name.

Settings that PEFT reads only while an adapter is trained, or in ways that this project does not use, are free: the
class of the base (`auto_mapping`, which only `AutoPeftModel` imports), the text that prompt tuning starts from, and the
files of CorDA and LoRA-GA (`cache_file`, `covariance_file`).

Not here: whether the adapter fits its base (`harness.checkpoints.adapters.attach`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints import limits, safetensors_header, templates
from harness.checkpoints.limits import Setting, shown
from harness.common import patterns
from harness.errors import HarnessError

_RANKS = re.compile(r"r|rank|init_r|target_r|hra_r|block_size|oft_block_size|adapter_len|num_virtual_tokens")
"""Settings that are a dimension of the adapter's own tensors."""
_FREE = re.compile(r"\w*(alpha|seed|key|step|tokens?|ids?|indices|tinit|tfinal|delta_?t)\w*", re.IGNORECASE)
"""Settings that are neither a size nor a count."""
_SMALLEST_RANK = 1024
"""A rank that is never too large, because every module may have a rank of its own."""
_NARROWEST = 32
"""Smallest side of a weight to which an adapter has a rank."""
_COUNT = 1_000_000
_ITEMS = 10_000
"""Longest list or object."""
_NAMED_ITEMS = 200_000
"""Longest list or object of names or patterns of modules: a model of 60 layers with 384 experts has 70,000."""
_IDS = 1_000_000
"""Longest list of ids of tokens."""
_NAMES = re.compile(
    r"target_modules|exclude_modules|modules_to_save|target_parameters|feedforward_modules|layers_pattern|\w+_pattern"
)
"""Settings that list modules, or state something for each of them."""
_LAYERS = 4096
_ITERATIONS = 1000
"""Largest number of iterations of PiSSA's decomposition: PEFT's examples have 16."""
_READS = ("shadow_model", "megatron_core", "megatron_config", "adapters")
"""Settings for which PEFT imports a module, or reads a file or a model beside the adapter and its base."""
_BUILT_IN = ("megatron.core", "mirror")
"""Values of these that are PEFT's own: the default of megatron_core, and a shadow model built from the base."""
_ADDRESS = re.compile(r"[a-z][\w+.-]+://", re.IGNORECASE)
"""Beginning of an address; one letter is a Windows drive."""
_STORE = re.compile(r"(hdfs|viewfs|s3\w?|oss|obs|cosn?|tos|gc?s|abfss?|wasbs?|dbfs|jfs)://", re.IGNORECASE)
"""Beginning of a path in a cluster's storage, which no library fetches; there an adapter's base lay in training."""
_TEXTS = ("prompt_tuning_init_text",)
"""Settings that are a text rather than a name."""
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
    method = str(content.get("peft_type"))
    ranks = _LargestRanks.of(weights, method)
    for setting in limits.settings(content):
        if fault := _reading_fault(setting) or _length_fault(setting) or _size_fault(setting, ranks, method):
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
    if name in _READS and value and value not in _BUILT_IN:
        return "and peft would read or import what it names: nothing but adapter and base is read"
    if not isinstance(value, str) or name in _TEXTS:
        return ""
    is_base = name in ("base_model_name_or_path", "tokenizer_name_or_path")
    if _ADDRESS.match(value) and not (is_base and _STORE.match(value)):
        return "an address: an adapter names its base by a path or a hub name"
    if is_base and any(len(part) > 255 for part in value.split("/")):
        return "which is longer than a name may be"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        return "with characters that no name has"
    iterations = re.search(r"_niter_(\d+)", value) if name == "init_lora_weights" else None
    return f"which is more than {_ITERATIONS:,}" if iterations and int(iterations[1][:9]) > _ITERATIONS else ""


def _length_fault(setting: Setting) -> str:
    """Return what is wrong with the length of a list or object; empty if nothing is."""
    if not isinstance(setting.value, list | dict):
        return ""
    holder = setting.path.partition(".")[0]
    longest = _IDS if holder.endswith("token_indices") else _NAMED_ITEMS if _NAMES.fullmatch(holder) else _ITEMS
    return f"with more than {longest:,} items" if len(setting.value) > longest else ""


class _LargestRanks(NamedTuple):
    """The largest values that an adapter's tensors allow its settings of sizes to have."""

    rank: int
    block: int

    @classmethod
    def of(cls, weights: Path | None, method: str) -> _LargestRanks:
        """Return what the tensors of `method` in `weights` allow; pickled tensors are judged by the file's size."""
        if method == "LOKR":  # beyond half the size of a weight, the rank changes nothing
            return cls(_COUNT, _COUNT)
        if weights is not None and weights.suffix != ".safetensors":
            pickled = max(_SMALLEST_RANK, weights.stat().st_size // (2 * _NARROWEST))
            return cls(min(pickled, _COUNT), min(pickled, _COUNT))
        shapes: list[tuple[int, ...]] = []
        if weights is not None:
            with suppress(HarnessError):  # a damaged file is reported when it is read
                shapes = [tensor.shape for tensor in safetensors_header.read(weights).tensors.values() if tensor.shape]
        # The matrices of VeRA are the same for every adapter, so that it saves only a vector as long as its rank.
        is_vector_enough = method.endswith(("VERA", "RANDLORA"))
        ranks = [min(shape) for shape in shapes if len(shape) > 1 or is_vector_enough]
        return cls(max([_SMALLEST_RANK, *ranks]), max([_SMALLEST_RANK, *map(max, shapes)]))


def _size_fault(setting: Setting, largest: _LargestRanks, method: str) -> str:
    """Return what is wrong with a setting that is a size or a count; empty if nothing is."""
    name, value = setting.name, setting.value
    in_ranks = setting.path.startswith("rank_pattern.")
    if _RANKS.fullmatch(name) or in_ranks:
        if value is None or isinstance(value, dict | list):
            return ""
        if in_ranks and method == "ADALORA" and isinstance(value, bool):  # which ranks of a module are left
            return ""
        is_size = type(value) is int or (in_ranks and isinstance(value, float) and value == value)
        if not is_size or value < 0:
            return "" if name == "num_virtual_tokens" else "which is not the size of anything"
        limit = largest.block if name.endswith("block_size") else largest.rank
        return f"and its weights have no rank of more than {limit:,}" if value > limit else ""
    is_size = type(value) is int and not _FREE.fullmatch(name)
    return f"which is more than {_COUNT:,}" if is_size and abs(value) > _COUNT else ""
