"""Settings of a checkpoint that make a library fetch or run code, refused unless the reference trusts it.

transformers fetches an attention kernel, which is code, from the hub if `attn_implementation` names one; other settings
make it read another file than the one that was checked. A checkpoint on this machine is also loaded without the hub.
What fails in code that was asked for becomes one sentence, wherever it fails.

Not here: `auto_map`, which transformers itself refuses without `trust_remote_code`, and the settings of adapters
(`harness.checkpoints.adapters.limits`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.checkpoints import files
from harness.checkpoints.chatglm import layout
from harness.checkpoints.limits import Setting, settings, shown
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError

_BUILT_IN = re.compile(r"(paged\|)?(eager|sdpa|flex_attention|flash_attention_[234]|grouped_mm|batched_mm)")
"""Implementations of attention and of experts that are parts of transformers or of an installed package."""
_IMPLEMENTATION = re.compile(r"\w*_implementation(_internal)?")
"""Names of settings that choose code; `_attn_implementation_autoset` of transformers 4 is only true or false."""
_LOADED = re.compile(r"\w*sonic\W?moe\w*|deep_?gemm\w*", re.IGNORECASE)
"""Implementations of experts that transformers takes from the hub, although their names look like its own."""
_LISTS_OF_FILES = ("configuration_files", "fast_tokenizer_files", "transformers_weights")
"""Settings by which transformers chooses a file to read."""
_FILE = re.compile(r"[\w+-][\w.+-]*")


def check(file: Path, content: dict[str, Any], *, is_trusted: bool) -> None:
    """Raise HarnessError if a setting in `content`, read from `file`, names code or a file that is not checked.

    With `is_trusted`, settings may name code.
    """
    for setting in settings(content):
        if setting.name in _LISTS_OF_FILES and "." not in setting.path:
            _require_plain_names(file, setting)
        if not is_trusted and (code := _code(setting)):
            raise HarnessError(
                f"{file} names code that is not part of transformers, {setting.path} = {shown(code)}: remove it from "
                "the file or, if you trust the checkpoint, add trust_remote_code=true"
            )


def other_models(folder: Path) -> list[str]:
    """Return the hub's names of the models from which the settings in `folder` take code (`org/name--module.Class`).

    transformers writes such names when it saves a model whose code came from the hub.
    """
    names = set()
    for file in (folder / "config.json", folder / "tokenizer_config.json"):
        mapping = files.read_json(file).get("auto_map") if file.is_file() else None
        values = mapping.values() if isinstance(mapping, dict) else [mapping]
        texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
        names |= {text.partition("--")[0] for text in texts if isinstance(text, str) and "--" in text}
    return sorted(names)


@contextmanager
def no_hub(*, is_trusted: bool) -> Iterator[None]:
    """Keep libraries from reaching the hub, unless `is_trusted`. Every file of a checkpoint is already here."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not is_trusted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def explaining(reference: CheckpointReference) -> Iterator[None]:
    """Turn what fails in the `with` block into a HarnessError if `reference` runs code that its checkpoint brings.

    That code may break transformers' own functions by what it lacks, so that a traceback need not lead to it.
    Exceptions that say something about the machine, such as full memory or a full disk, are passed on.
    """
    try:
        yield
    except (HarnessError, OSError, MemoryError):
        raise
    except Exception as error:
        if not reference.trust_remote_code or type(error).__name__ == "OutOfMemoryError":  # torch's
            raise
        raise failure(f"{reference.path} cannot be used", error, Path(reference.path)) from error


def failure(problem: str, error: Exception, folder: Path) -> HarnessError:
    """Return the error for a checkpoint in `folder` whose own code failed with `error`, in one sentence."""
    line = f"{type(error).__name__}: {files.reason(error)}"
    config = folder / "config.json"
    if config.is_file() and layout.is_chatglm(files.read_json(config)):
        advice = "leave trust_remote_code out, since ChatGLM is loaded without its code"
    else:
        advice = "it may need another version of transformers or a package; its author's page says which"
    return HarnessError(f"{problem}: the Python code that it brings failed ({line}): {advice}")


def _code(setting: Setting) -> Any:
    """Return the value of `setting` if it names code, else None."""
    name, value = setting.name.lower(), setting.value
    if any(_IMPLEMENTATION.fullmatch(part) for part in setting.path.lower().split(".")):
        if isinstance(value, str):
            is_own = _BUILT_IN.fullmatch(value) or not (re.search("[/:@]", value) or _LOADED.fullmatch(value))
            return None if is_own else value
        is_known = value is None or isinstance(value, dict | list | bool)  # what those hold is checked by itself
        return None if is_known or not name.endswith(("attn_implementation", "experts_implementation")) else value
    if "kernel" in setting.path.lower() and isinstance(value, str) and re.search("[/:@]", value):
        return value
    if name in ("use_kernels", "use_hub_kernels", "use_pretrained_backbone") and value:
        return value
    return None


def _require_plain_names(file: Path, setting: Setting) -> None:
    names = setting.value if isinstance(setting.value, list) else [setting.value]
    for name in names:
        if name is not None and not (isinstance(name, str) and _FILE.fullmatch(name)):
            raise HarnessError(
                f"{file} names the file {shown(name)} in {setting.name}, which is not the name of a file in its "
                "folder: remove it"
            )
