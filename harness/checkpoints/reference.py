"""A checkpoint reference, the way a person names a checkpoint: `PATH_OR_HUB_ID[,key=value…]`.

    Qwen/Qwen2.5-7B
    out/base,dtype=bfloat16,name=stage-2
    out/base,adapter=out/lora/checkpoint-300
    out/lora/checkpoint-300                      an adapter folder finds its base

Parsing reads no file; `harness.checkpoints.loading` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("int8", "int4", "fp4")
STEP_FOLDER = re.compile(r"checkpoint-(\d+)")
"""Name of the folder in which trainers save a step."""
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class CheckpointReference:
    """A checkpoint as a person names it; None means the checkpoint's own value, unless stated otherwise."""

    path: str
    """A folder, or a model's name on the hub."""
    adapter: str | None = None
    """PEFT weights to put on `path`: a folder or a hub name. None: no adapter, unless `path` is one itself."""
    dtype: str | None = None
    """Compute dtype, one of `DTYPES`; `auto` is the weights' own. None: float32 on a CPU, otherwise auto."""
    quantize: str | None = None
    """Quantisation during loading by bitsandbytes, one of `QUANTIZATIONS`; `int4` is NF4."""
    device: str | None = None
    """A torch device. None: the first GPU, otherwise the CPU."""
    revision: str | None = None
    """Branch, tag or commit of `path` on the hub."""
    tokenizer: str | None = None
    """Folder or hub name of the tokenizer. None: the adapter's, otherwise the base's."""
    max_length: int | None = None
    """Context length in tokens."""
    trust_remote_code: bool = False
    """Whether Python code in the checkpoint may run."""
    allow_unexpected_keys: bool = False
    """Whether to ignore weights that the architecture has no place for, instead of stopping."""
    enable_thinking: bool | None = None
    """Value of the chat template's variable `enable_thinking`. None: the variable is not set."""
    name: str | None = None
    """Name of the checkpoint in reports. None: a name made of the paths."""

    @property
    def label(self) -> str:
        """`name`, or a name made of the paths: `base`, or `base+adapter`."""
        if self.name:
            return self.name
        parts = [_last_part(self.path), *([_last_part(self.adapter)] if self.adapter else [])]
        parts += [self.quantize] if self.quantize else []
        if self.enable_thinking is not None:
            parts.append("thinking" if self.enable_thinking else "no-thinking")
        return "+".join(parts)

    def __str__(self) -> str:
        """Return the reference as a person would type it: `parse(str(reference)) == reference`."""
        pairs = [
            f"{f.name}={str(value).lower() if isinstance(value, bool) else value}"
            for f in fields(self)[1:]
            if (value := getattr(self, f.name)) != f.default
        ]
        return ",".join([self.path, *pairs])


KEYS = tuple(f.name for f in fields(CheckpointReference)[1:])


def parse(text: str) -> CheckpointReference:
    """Return the reference that `text` spells.

    A comma starts a key only if `word=` follows it, so paths may contain commas.
    Raises HarnessError on an empty path, on an unknown, repeated or empty key, and on a value that its key cannot have.
    """
    path, *pairs = re.split(r",(?=\s*\w+\s*=)", text)
    if not path.strip():
        raise HarnessError(f"'{text}' names no checkpoint: write PATH_OR_HUB_ID[,key=value…]")
    values: dict[str, str] = {}
    for pair in pairs:
        key, _, value = (part.strip() for part in pair.partition("="))
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"; keys are {', '.join(KEYS)}"
            raise HarnessError(f"'{text}' has the unknown key '{key}'{hint}")
        if key in values:
            raise HarnessError(f"'{text}' sets the key '{key}' twice: remove one of them")
        if not value:
            raise HarnessError(f"'{text}' has no value for the key '{key}': write {key}=…")
        values[key] = value
    return CheckpointReference(path.strip(), **{key: _typed(key, value, text) for key, value in values.items()})


def _typed(key: str, value: str, text: str) -> Any:
    """Return `value` as the type that `key` has; raise HarnessError, quoting the reference's `text`, if it has none."""
    if key in ("trust_remote_code", "allow_unexpected_keys", "enable_thinking"):
        if value.lower() not in _BOOLEANS:
            raise HarnessError(f"'{text}': {key} is true or false, not '{value}'")
        return _BOOLEANS[value.lower()]
    if key == "max_length":
        if not value.isdecimal() or int(value) == 0:
            raise HarnessError(f"'{text}': max_length is a number of tokens, not '{value}'")
        return int(value)
    if key == "quantize" and value not in QUANTIZATIONS:
        raise HarnessError(f"'{text}': quantize is one of {', '.join(QUANTIZATIONS)}, not '{value}'")
    return check_dtype(value, f"'{text}'") if key == "dtype" else value


def check_dtype(value: str, where: str) -> str:
    """Return `value` if it names a dtype; otherwise raise HarnessError about the option or text `where`."""
    if value not in DTYPES:
        raise HarnessError(f"{where}: dtype is one of {', '.join(DTYPES)}, not '{value}'")
    return value


def _last_part(path: str) -> str:
    """Return the end of `path` that distinguishes it: the last part, and the run's folder before a checkpoint-300."""
    try:
        parts = list(Path(path).expanduser().resolve().parts[1:]) if _is_local(path) else path.split("/")
    except (OSError, RuntimeError):  # too long for a file system, or no such user: loading will report it
        return path
    if len(parts) > 1 and STEP_FOLDER.fullmatch(parts[-1]):
        return f"{parts[-2]}-{parts[-1]}"
    return parts[-1] if parts else path


def _is_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or Path(path).exists()
