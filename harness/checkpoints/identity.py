"""A checkpoint's fingerprint: the sha256 of everything that decides its answers, and of nothing else.

Renaming or moving a folder does not change the fingerprint. Changing a weight, the adapter, a tokenizer file, the
configuration or the compute dtype does. The fingerprint covers the files of `harness.checkpoints.contents`, and
libraries can open no others. Files are read again for each fingerprint, so that a change on disk is noticed; an
unchanged file's hash is remembered (`hashes.sha256`).

Not here: the versions of libraries, which are in the journal's keys and in the report.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints import contents, files, foreign_code, gguf_header, limits
from harness.checkpoints.chatglm import recognition
from harness.common import hashes, places

if TYPE_CHECKING:
    from harness.checkpoints.located import Located

# Records of who saved the files with which library; they change no answer.
_IGNORED_KEYS = (
    "_name_or_path",
    "transformers_version",
    "peft_version",
    "torch_dtype",
    "dtype",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
)
# Sets that PEFT writes in a different order each time.
_UNORDERED_KEYS = ("target_modules", "modules_to_save", "exclude_modules", "layers_to_transform")
# Patterns of module names → values, of which PEFT takes the first that matches.
_PATTERN_KEYS = ("rank_pattern", "alpha_pattern")
# Keys under which a configuration holds the configurations of its parts.
_NESTED_KEYS = ("text_config", "vision_config", "audio_config")


Sha256 = Callable[[Path], str]
"""Returns the hex sha256 of a file's content."""


@places.explaining()
def fingerprint(located: Located, sha256: Sha256 = hashes.sha256) -> str:
    """Return the hex sha256 that identifies the checkpoint `located` by its content.

    With `trust_remote_code`, code counts, too, and every other file that it could be expected to read
    (`contents.model_files`). Raises HarnessError if a file is missing or damaged.
    """
    sha256 = functools.cache(sha256)
    settings = {"dtype": str(located.dtype)}
    if located.layout is not None:
        settings["chatglm"] = f"{located.layout.generation}, rope_ratio {located.layout.rope_ratio:g}"
    if located.reference.rope is not None:
        settings["rope"] = located.reference.rope
    if located.quantization is not None and not located.quantization.saved:
        settings["quantize"] = located.quantization.name
    code = located.reference.trust_remote_code
    parts = _base(located.base, code, sha256) | {"settings": settings}
    parts["tokenizer"] = _tokenizer(located.tokenizer, code, sha256)
    chatglm = None if code or located.tokenizer.is_file() else recognition.recognize(located.tokenizer)
    if chatglm is not None:
        default = 3 if located.layout is not None and located.layout.generation == 3 else 2
        settings["chatglm tokenizer"] = str(chatglm.decided(located.reference.chatglm, default))
    if located.adapter_config is not None:
        hashes_of_files = [sha256(file) for file in located.adapter_config.weight_files]
        parts["adapter"] = hashes_of_files[0] if len(hashes_of_files) == 1 else hashes_of_files
        parts["adapter_config"] = _config(located.adapter_config.file)
    return _digest(parts)


def base_fingerprint(located: Located, sha256: Sha256 = hashes.sha256) -> str:
    """Return the hex sha256 of the base's files alone, whatever adapter, tokenizer or dtype is used with them."""
    return _digest(_base(located.base, located.reference.trust_remote_code, sha256))


def content_of_base(base: Path, sha256: Sha256 = hashes.sha256) -> str:
    """Return the hex sha256 of what a base computes: its weights and configuration, however it is loaded.

    Its settings of generation do not count, so that changing them makes no other base of it.
    """
    parts = _base(base, False, sha256)
    parts.pop("generation", None)
    return _digest(parts)


def tokenizer_fingerprint(located: Located, sha256: Sha256 = hashes.sha256) -> str:
    """Return the hex sha256 of the files of the checkpoint's tokenizer."""
    return _digest(_tokenizer(located.tokenizer, located.reference.trust_remote_code, sha256))


def configuration(base: Path) -> str:
    """Return the hex sha256 of what states the configuration of `base`: files of the folder, or a GGUF file's header.

    Raises HarnessError if a file is missing or damaged.
    """
    if base.is_file():
        with base.open("rb") as stream:
            return hashlib.sha256(stream.read(gguf_header.read(base).start)).hexdigest()
    return _digest({name: _content(base / name) for name in contents.config_files(base)})


def _base(base: Path, code: bool, sha256: Sha256) -> dict[str, Any]:
    """Return what identifies the files of a base, as JSON."""
    parts: dict[str, Any] = {"weights": [sha256(file) for file in files.weight_files(base)]}
    if base.is_file():
        return parts
    if code:
        parts["files"] = {name: sha256(base / name) for name in contents.model_files(base, code=True)}
        return parts | {"code": _foreign_code(base, sha256)}
    listing = files.weight_listing(base)
    if listing.suffix == ".json":
        parts["index"] = files.read_json(listing, limits.JSON_BYTES).get("weight_map")
    parts["config"] = [_config(base / name) for name in contents.config_files(base)]
    # Its end-of-text ids stop a generation.
    generation = base / contents.GENERATION_CONFIG
    parts["generation"] = _config(generation) if generation.is_file() else {}
    return parts


def _tokenizer(place: Path, code: bool, sha256: Sha256) -> dict[str, Any]:
    """Return what identifies the tokenizer in `place`, a folder or a GGUF file, as JSON."""
    if place.is_file():
        return {"gguf": sha256(place)}
    configs = [] if code else contents.config_files(place)
    names = contents.tokenizer_files(place, code=code)
    parts: dict[str, Any] = {name: sha256(place / name) for name in names if name not in configs}
    parts |= {name: _config(place / name) for name in configs}
    if code:
        parts["code"] = _foreign_code(place, sha256)
    if configs and _may_change_splits(place):
        parts["saved with"] = files.read_json(place / contents.CONFIG).get("transformers_version")
    return parts


def _foreign_code(folder: Path, sha256: Sha256) -> dict[str, dict[str, str]]:
    """Return the hash of each file of code from other models on the hub that `folder` names, by model and file."""
    places = {name: files.code_of(name) for name in foreign_code.other_models(folder)}
    return {name: {file.name: sha256(file) for file in sorted(place.rglob("*.py"))} for name, place in places.items()}


def _may_change_splits(place: Path) -> bool:
    """Return whether transformers corrects how the tokenizer splits texts, unless a newer version saved it.

    See `_patch_mistral_regex` in transformers 5.
    """
    file = place / contents.TOKENIZER_CONFIG
    return file.is_file() and "fix_mistral_regex" in files.read_json(file)


def _config(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file` without the entries that change no answer."""
    content = files.read_json(file)
    # Some classes read a file of a version that it does not state in another way (Inkling2Config of transformers 5).
    return _normalized(content) | {"states its version": "transformers_version" in content}


def _normalized(config: dict[str, Any]) -> dict[str, Any]:
    return {key: _normalized_value(key, value) for key, value in config.items() if key not in _IGNORED_KEYS}


def _normalized_value(key: str, value: object) -> Any:
    if key in _NESTED_KEYS and isinstance(value, dict):
        return _normalized(value)
    if key in _PATTERN_KEYS and isinstance(value, dict):
        return list(value.items())
    return sorted(value, key=str) if key in _UNORDERED_KEYS and isinstance(value, list) else value


def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
