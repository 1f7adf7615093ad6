"""Limits of what a file of a checkpoint may demand before any library reads it: bytes, depth, numbers.

A checkpoint comes from others. A library believes its files: `num_labels` of a billion is a table of a billion names,
and nested lists end in a RecursionError. The limits lie far above every published model.

Not here: settings that fetch or run code (`harness.checkpoints.foreign_code`), and the size of the model that a
configuration describes (`harness.checkpoints.capacity`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness.common import patterns
from harness.errors import HarnessError

JSON_BYTES = 64 << 20
"""Largest JSON file: the index of 150,000 tensors takes 20 MB."""
CONFIG_BYTES = 32 << 20
"""Largest configuration, be it of a tokenizer: 100,000 added tokens take 20 MB."""
DEPTH = 64
"""Deepest nesting of lists and objects in a JSON file."""
COUNT = 1 << 31
"""Largest number of anything that a configuration counts or measures."""
ITEMS = 1_000_000
"""Longest list in a configuration."""
FACTORS = 4096
"""Longest list of factors of positions, and of ids that end a text."""
LAYERS = 10_000
"""Largest number of layers, blocks or heads."""
LABELS = 100_000
"""Largest number of labels of a classifier."""
POSITIONS = 1 << 30
"""Largest context length in tokens."""

_COUNTED = re.compile(
    r"(num|n)_\w+|\w+_(size|dim|rank|layers?|heads?|experts?|groups?|positions|embeddings|labels|channels|blocks)"
    r"|(vocab|hidden|ffn|inner)\w*_size|d_(model|ff|kv|inner|state|conv)|sliding_window|attention_chunk_size"
)
"""Names of settings that count or measure."""
_TOTAL = re.compile(r"\w*(param|token|flop|step|sample|byte|example|document|word|char)\w*")
"""Names of settings that may count what a model was trained on or all of its numbers, which has no limit."""
_SMALL = re.compile(r"(\w*_)?(eps|epsilon)|\w*(theta|factor|scale|scaling|std|range|multiplier|softcapping)")
"""Names of settings that every layer multiplies or divides by. Others may be infinite, such as a limit of time."""
_LAYERED = re.compile(r"(num|n)_(hidden_|decoder_|encoder_)?(layers?|blocks)|num_\w*heads|n_heads?|\w*num_layers")
_POSITIONED = re.compile(r"max_position_embeddings|n_positions|n_ctx|max_seq(uence)?_len(gth)?|seq(uence)?_length")
_NEGATIVE = re.compile(r"max_position_embeddings|n_positions|n_ctx")
"""Those of `_CORE` that are -1 in configurations of models without a limit."""
_CORE = re.compile(
    r"vocab_size|hidden_size|intermediate_size|num_hidden_layers|num_attention_heads|num_key_value_heads|head_dim"
    r"|max_position_embeddings|num_labels|n_layers?|n_heads?|n_embd|n_positions|n_ctx|d_model"
)
"""Names of settings that are whole numbers, not negative, in every architecture."""
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
"""Names of settings that are whole numbers (one for all layers, or one for each), or switched off."""


class Setting(NamedTuple):
    """A value in a JSON object, however deep."""

    path: str
    """Names of the objects around the value, and its own name, joined by dots."""
    name: str
    """Name of the value. An item of a list has the list's name."""
    value: Any


def require_size(file: Path, limit: int) -> None:
    """Raise HarnessError if `file` has more than `limit` bytes."""
    size = file.stat().st_size
    if size > limit:
        raise HarnessError(
            f"{file} has {size:,} bytes, and no checkpoint needs more than {limit:,} there: fetch or save it again"
        )


def settings(content: Any) -> Iterator[Setting]:
    """Yield every value inside `content`. Lists and objects are included, each before its own content."""
    stack = [Setting("", "", content)]
    while stack:
        setting = stack.pop()
        if setting.value is not content:
            yield setting
        if isinstance(setting.value, dict):
            prefix = f"{setting.path}." if setting.path else ""
            for key, value in setting.value.items():
                stack.append(Setting(f"{prefix}{key}", str(key), value))
        elif isinstance(setting.value, list):
            stack.extend(Setting(setting.path, setting.name, item) for item in setting.value)


def parse(text: str | bytes, *, unique: bool = False) -> Any:
    """Return the content of a JSON `text`; with `unique`, an object must not have a name twice.

    Raises ValueError if it is not JSON or nested more than `DEPTH` deep.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique if unique else None)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {DEPTH} deep") from error
    level: list[Any] = [content]
    for _ in range(DEPTH + 1):
        parts = [part for part in level if isinstance(part, dict | list)]
        level = [item for part in parts for item in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return content
    raise ValueError(f"it is nested more than {DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"it has {next(name for name in counts if counts[name] > 1)!r} twice")
    return content


def check_config(file: Path, content: dict[str, Any]) -> None:
    """Raise HarnessError, naming the setting, if a number in the model configuration `content` is out of all bounds."""
    for setting in settings(content):
        if fault := _fault(setting):
            raise HarnessError(f"{file} states {setting.path} as {shown(setting.value)}, {fault}: correct it")


def shown(value: Any) -> str:
    """Return `value` as JSON, shortened to what a message can hold."""
    value = value[:30] if isinstance(value, list | str) else value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _fault(setting: Setting) -> str:
    """Return what is wrong with the value of `setting`; empty if nothing is."""
    name, value = setting.name, setting.value
    if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and _SMALL.fullmatch(name))):
        return "which is not a number to compute with"
    if isinstance(value, list):
        longest = FACTORS if name.endswith(("_factor", "eos_token_id")) else ITEMS
        return f"a list of more than {longest:,}" if len(value) > longest else ""
    is_pattern = setting.path.startswith("quantization_config.") and name != "dataset"  # texts of a calibration
    if isinstance(value, str) and is_pattern and patterns.may_hang(value):
        return "a pattern that takes for ever to match"
    if name in ("rope_scaling", "rope_parameters"):
        return _rope_fault(value)
    if name in ("dtype", "torch_dtype") and not isinstance(value, str | dict | None):
        return "which is not the name of a dtype"
    is_whole = isinstance(value, int | list | dict | None) or (isinstance(value, float) and value.is_integer())
    if name in _WINDOWS and not is_whole:
        return "which is not a number of tokens"
    if _CORE.fullmatch(name) and (isinstance(value, bool) or not is_whole):
        return f"but it is a whole number (expected int, got {type(value).__name__})"
    if isinstance(value, bool) or not isinstance(value, int | float) or not _COUNTED.fullmatch(name):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "which is not a number of anything"
    if value < 0 and _CORE.fullmatch(name) and not (value == -1 and _NEGATIVE.fullmatch(name)):
        return "and there is no negative number of them"
    for pattern, limit in ((_LAYERED, LAYERS), (_POSITIONED, POSITIONS), (re.compile("num_labels"), LABELS)):
        if pattern.fullmatch(name) and value > limit:
            return f"which is more than {limit:,}"
    return f"which is more than {COUNT:,}" if abs(value) > COUNT and not _TOTAL.fullmatch(name) else ""


def _rope_fault(value: Any) -> str:
    """Return what is wrong with how positions are scaled, for all layers or for each type; a false value is none."""
    if not value:
        return ""
    if not isinstance(value, dict):
        return "which does not describe how positions are scaled"
    for part in value.values():
        if isinstance(part, dict) and (fault := _rope_fault(part)):  # of one layer type
            return fault
    for key in ("factor", "rope_theta", "original_max_position_embeddings"):
        number = value.get(key)
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if number is not None and not (is_number and math.isfinite(number) and number > 0):
            return f"whose {key} is not a positive number"
    for key in ("rope_type", "type"):
        if not isinstance(value.get(key), str | None):
            return f"whose {key} is not a name"
    return ""
