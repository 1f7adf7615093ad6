"""A checkpoint's fingerprint: the sha256 of everything that decides its answers, and of nothing else.

Renaming or moving a folder does not change it; changing a weight, the adapter, a tokenizer file, the configuration or
the compute dtype does. Files are read again for each fingerprint, so that a change on disk is noticed; the content of
large files is hashed once and remembered (`hashes.sha256`).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checkpoints import files, hashes

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
# Keys under which a configuration holds the configurations of its parts.
_NESTED_KEYS = ("text_config", "vision_config", "audio_config")


def fingerprint(located: Located) -> str:
    """Return the hex sha256 that identifies the checkpoint `located` by its content.

    Python files count only with `trust_remote_code`, because only then do they run.
    Raises HarnessError if a file is missing or damaged.
    """
    settings = {"dtype": str(located.dtype)}
    if located.quantization is not None and not located.quantization.saved:
        settings["quantize"] = located.quantization.name
    if located.reference.trust_remote_code:
        settings["trust_remote_code"] = "true"
    return _hash(located.base, located.adapter, located.tokenizer, settings)


def base_fingerprint(located: Located) -> str:
    """Return the hex sha256 of the base's files alone, whatever adapter, tokenizer or dtype is used with them."""
    return _hash(located.base, None, located.base, {})


def _hash(base: Path, adapter: Path | None, tokenizer: Path, settings: dict[str, str]) -> str:
    parts: dict[str, Any] = {
        "weights": [hashes.sha256(file) for file in files.weight_files(base)],
        "config": _config(base / "config.json"),
        # Its end-of-text ids stop a generation.
        "generation": _config(base / "generation_config.json"),
        "tokenizer": _tokenizer(tokenizer),
        "settings": settings,
    }
    if adapter is not None:
        parts["adapter"] = hashes.sha256(files.adapter_weights(adapter))
        parts["adapter_config"] = _config(adapter / files.ADAPTER_CONFIG)
    if "trust_remote_code" in settings:
        parts["code"] = [hashes.sha256(file) for folder in (base, tokenizer) for file in sorted(folder.glob("*.py"))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _config(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file` without the entries that change no answer; {} if there is no such file."""
    return _normalized(files.read_json(file)) if file.is_file() else {}


def _normalized(config: dict[str, Any]) -> dict[str, Any]:
    return {key: _normalized_value(key, value) for key, value in config.items() if key not in _IGNORED_KEYS}


def _normalized_value(key: str, value: object) -> Any:
    if key in _NESTED_KEYS and isinstance(value, dict):
        return _normalized(value)
    return sorted(value, key=str) if key in _UNORDERED_KEYS and isinstance(value, list) else value


def _tokenizer(place: Path) -> dict[str, str]:
    """Return the hash of each tokenizer file in `place`, a folder or a GGUF file, by the file's name."""
    if place.is_file():
        return {"gguf": hashes.sha256(place)}
    names = [name for name in files.TOKENIZER if (place / name).is_file()]
    names += sorted(file.name for file in place.glob("*.tiktoken"))
    return {name: hashes.sha256(place / name) for name in names}
