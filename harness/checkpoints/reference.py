"""How a person names a checkpoint: `PATH_OR_HUB_ID[,key=value…]`.

    Qwen/Qwen2.5-7B
    out/base,dtype=bfloat16,name=stage-2
    out/base,adapter=out/lora/checkpoint-300
    out/lora/checkpoint-300                      an adapter folder finds its base

Parsing looks at no file; `harness.checkpoints.loading` does.
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
"""Name of the folder that a training saved at a step."""
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class CheckpointReference:
    """A checkpoint as named; None means "what the checkpoint itself says"."""

    path: str
    """A folder, or a model's name on the hub."""
    adapter: str | None = None
    """PEFT weights to put on `path`: a folder or a hub name."""
    dtype: str | None = None
    """Compute dtype, one of `DTYPES`; `auto` is the weights' own. Default: float32 on a CPU, else auto."""
    quantize: str | None = None
    """Quantise the weights as they load, one of `QUANTIZATIONS`: `int4` is NF4. By bitsandbytes, on CPU and GPU."""
    device: str | None = None
    """A torch device; default: the first GPU, else the CPU."""
    revision: str | None = None
    """Branch, tag or commit of `path` on the hub."""
    tokenizer: str | None = None
    """Where the tokenizer comes from, if not from the adapter's or the base's folder."""
    max_length: int | None = None
    """Context length in tokens; default: the model's own."""
    trust_remote_code: bool = False
    """Run Python code that the checkpoint brings along."""
    allow_unexpected_keys: bool = False
    """Ignore weights that the architecture has no place for, instead of stopping."""
    enable_thinking: bool | None = None
    """Given to the chat template where it is set: whether a model that can think aloud shall."""
    name: str | None = None
    """What reports call it; default: made from the paths."""

    @property
    def label(self) -> str:
        """`name`, or one made from the paths: `base`, or `base+adapter`."""
        if self.name:
            return self.name
        parts = [_last_part(self.path), *([_last_part(self.adapter)] if self.adapter else [])]
        parts += [self.quantize] if self.quantize else []
        if self.enable_thinking is not None:
            parts.append("thinking" if self.enable_thinking else "no-thinking")
        return "+".join(parts)

    def __str__(self) -> str:
        """Return the reference as one would type it: `parse(str(reference)) == reference`."""
        given = [
            f"{f.name}={str(value).lower() if isinstance(value, bool) else value}"
            for f in fields(self)[1:]
            if (value := getattr(self, f.name)) != f.default
        ]
        return ",".join([self.path, *given])


KEYS = tuple(f.name for f in fields(CheckpointReference)[1:])


def parse(text: str) -> CheckpointReference:
    """Return the reference that `text` spells.

    A comma starts a key only where `word=` follows it, so paths may hold commas.
    Raises HarnessError on an empty path, an unknown, repeated or empty key, or a value its key cannot have.
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
            raise HarnessError(f"'{text}' gives the key '{key}' twice: keep one")
        if not value:
            raise HarnessError(f"'{text}' gives '{key}' no value: write {key}=…")
        values[key] = value
    return CheckpointReference(path.strip(), **{key: _typed(key, value, text) for key, value in values.items()})


def _typed(key: str, value: str, text: str) -> Any:
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
    """Return `value` if it names a dtype; else raise HarnessError saying that `where` does not."""
    if value not in DTYPES:
        raise HarnessError(f"{where}: dtype is one of {', '.join(DTYPES)}, not '{value}'")
    return value


def _last_part(path: str) -> str:
    """Return what tells `path` from its neighbours: `checkpoint-300` alone names every training run's."""
    try:
        parts = list(Path(path).expanduser().resolve().parts[1:]) if _is_local(path) else path.split("/")
    except (OSError, RuntimeError):  # too long for a file system, or no such user: who looks for it will say so
        return path
    if len(parts) > 1 and STEP_FOLDER.fullmatch(parts[-1]):
        return f"{parts[-2]}-{parts[-1]}"
    return parts[-1] if parts else path


def _is_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or Path(path).exists()
