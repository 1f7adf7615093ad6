"""A checkpoint reference, the way a person names a checkpoint: `PATH_OR_HUB_ID[,key=value…]`.

    Qwen/Qwen2.5-7B
    out/base,dtype=bfloat16,name=stage-2
    out/base,adapter=out/lora/checkpoint-300
    out/lora/checkpoint-300                      an adapter folder finds its base
    "out/lr=1,wd=0/base",adapter="out/a,b=c"     a path or value in double quotes may hold anything; `"` is doubled

Parsing reads no file; it only checks whether a path with `,word=` in it exists. `harness.checkpoints.loading` reads the
files.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.common import paths
from harness.errors import HarnessError, did_you_mean

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("int8", "int4", "fp4", "chatglm-int8", "chatglm-int4")
STEP_FOLDER = re.compile(r"checkpoint-(\d+)")
"""Name of the folder in which trainers save the checkpoint of a step."""
_KEY = re.compile(r",\s*(\w+)\s*=")
_PATHS = ("adapter", "tokenizer")
"""The keys whose values may be paths."""
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
    """Quantisation during loading, one of `QUANTIZATIONS`; `int4` is bitsandbytes' NF4."""
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
    allow_other_base: bool = False
    """Whether an adapter may be put on another base than the one that it records, instead of stopping."""
    enable_thinking: bool | None = None
    """Value of the chat template's variable `enable_thinking`. None: the variable is not set."""
    think: str | None = None
    """The marks around a thought, `START,END`, or `none`. None: learned from the tokenizer and the chat template."""
    chatglm: int | None = None
    """Generation of a folder in ChatGLM2's and ChatGLM3's common layout, 2 or 3. None: its files say which."""
    rope: str | None = None
    """`published`: rotary angles in the model's dtype, as ChatGLM's own code has them. None: in float32."""
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

    def with_paths(self, change: Callable[[str], str]) -> CheckpointReference:
        """Return the reference with `change` applied to each of its paths."""
        adapter = None if self.adapter is None else change(self.adapter)
        tokenizer = None if self.tokenizer is None else change(self.tokenizer)
        return replace(self, path=change(self.path), adapter=adapter, tokenizer=tokenizer)

    def __str__(self) -> str:
        """Return the reference as a person would type it: `parse(str(reference)) == reference`."""
        pairs = [
            f"{f.name}={str(value).lower() if isinstance(value, bool) else _spelled(str(value))}"
            for f in fields(self)[1:]
            if (value := getattr(self, f.name)) != f.default
        ]
        return ",".join([_spelled(self.path), *pairs])


KEYS = tuple(f.name for f in fields(CheckpointReference)[1:])


def parse(text: str) -> CheckpointReference:
    """Return the reference that `text` spells.

    A comma starts a key only if `word=` follows it, so paths may contain other commas. A path or value in double quotes
    may hold anything, and so may a path that exists as it is typed.
    Raises HarnessError on an empty path, on an unknown, repeated or empty key, on a value that its key cannot have, and
    on an ambiguous text, which may be one path as well as a path with a key.
    """
    path, position = _piece(text, 0, is_path=True)
    if not path.strip():
        raise HarnessError(f"'{text}' names no checkpoint: write PATH_OR_HUB_ID[,key=value…]")
    values: dict[str, str] = {}
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None:
            raise HarnessError(f"'{text}' has '{text[position:]}' after a quote: write ,key=value there")
        key = match[1]
        value, position = _piece(text, match.end(), is_path=key in _PATHS)
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"; keys are {', '.join(KEYS)}"
            raise HarnessError(f"'{text}' has the unknown key '{key}'{hint}")
        if key in values:
            raise HarnessError(f"'{text}' sets the key '{key}' twice: remove one of them")
        if not value.strip():
            raise HarnessError(f"'{text}' has no value for the key '{key}': write {key}=…")
        values[key] = value
    return CheckpointReference(path, **{key: _typed(key, value, text) for key, value in values.items()})


def _piece(text: str, start: int, *, is_path: bool) -> tuple[str, int]:
    """Return the path or value in `text` that begins at `start`, and where it ends: at `,key=` or the end of `text`."""
    if match := paths.QUOTED.match(text, start):
        return paths.unquoted(match), match.end()
    if paths.OPENING.match(text, start):
        raise HarnessError(f"'{text}' has a quote that is not closed: double quotes that belong to a name")
    keys = list(_KEY.finditer(text, start))
    ends = [*(match.start() for match in keys), len(text)]
    if not is_path:
        return text[start : ends[0]].strip(), ends[0]
    is_short = bisect.bisect_right(ends, start + paths.LONGEST)
    longer = [end for end in ends[1:is_short] if _exists(text[start:end].strip())]
    if not longer:
        return text[start : ends[0]].strip(), ends[0]
    if keys[0][1] in KEYS and _exists(text[start : ends[0]].strip()):
        shorter, path = text[start : ends[0]].strip(), text[start : longer[-1]].strip()
        raise HarnessError(
            f"'{text}' may name '{path}', or '{shorter}' with a key: both exist, put the path in double quotes"
        )
    return text[start : longer[-1]].strip(), longer[-1]


def _exists(path: str) -> bool:
    return paths.exists(path) or (paths.is_pattern(path) and bool(paths.matching(path)))


def _spelled(text: str) -> str:
    """Return a path or value as `parse` can read it back. It gets double quotes if it would be misread without them."""
    is_plain = text == text.strip() and not text.startswith('"') and not _KEY.search(text)
    return text if is_plain else paths.quoted(text)


def _typed(key: str, value: str, text: str) -> Any:
    """Return `value` in the type of `key`; raise HarnessError, quoting the reference's `text`, if it is not valid."""
    if key in ("trust_remote_code", "allow_unexpected_keys", "allow_other_base", "enable_thinking"):
        if value.lower() not in _BOOLEANS:
            raise HarnessError(f"'{text}': {key} is true or false, not '{value}'")
        return _BOOLEANS[value.lower()]
    if key == "max_length":
        if not value.isdecimal() or int(value) == 0:
            raise HarnessError(f"'{text}': max_length is a number of tokens, not '{value}'")
        return int(value)
    if key == "chatglm":
        if value not in ("2", "3"):
            raise HarnessError(f"'{text}': chatglm is 2 or 3, not '{value}'")
        return int(value)
    if key == "rope" and value != "published":
        raise HarnessError(f"'{text}': rope is published, or left out, not '{value}'")
    if key == "think":
        return check_marks(value, f"'{text}': ", "think=")
    if key == "quantize" and value not in QUANTIZATIONS:
        raise HarnessError(f"'{text}': quantize is one of {', '.join(QUANTIZATIONS)}, not '{value}'")
    return check_dtype(value, f"'{text}'") if key == "dtype" else value


def check_marks(value: str, where: str, option: str) -> str:
    """Return `value`, if it is `none` or two marks, without spaces around the marks.

    Otherwise raise HarnessError. The error starts with the place `where`, and shows how to write the value after
    `option`, such as `think=`.
    """
    if value.lower() == "none":
        return "none"
    marks = [mark.strip() for mark in value.split(",")]
    if len(marks) != 2 or not all(marks) or marks[0] == marks[1]:
        name = option.strip(" =")
        raise HarnessError(f"{where}{name} is two marks, {option}START,END, or none, not '{value}'")
    return ",".join(marks)


def check_dtype(value: str, where: str) -> str:
    """Return `value` if it names a dtype; otherwise raise HarnessError about the option or text `where`."""
    if value not in DTYPES:
        raise HarnessError(f"{where}: dtype is one of {', '.join(DTYPES)}, not '{value}'")
    return value


def _last_part(path: str) -> str:
    """Return the end of `path` that distinguishes it: its last part, with the run's folder before a checkpoint-300."""
    try:
        parts = list(Path(path).expanduser().resolve().parts[1:]) if _is_local(path) else path.split("/")
    except (OSError, RuntimeError):  # too long for a file system, or no such user: loading will report it
        return path
    if len(parts) > 1 and STEP_FOLDER.fullmatch(parts[-1]):
        return f"{parts[-2]}-{parts[-1]}"
    return parts[-1] if parts else path


def _is_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or Path(path).exists()
