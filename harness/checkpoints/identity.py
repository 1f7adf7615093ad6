"""A checkpoint's fingerprint: the sha256 of everything that decides its answers, and of nothing else.

Renaming or moving a folder changes nothing; changing a weight, the adapter, a tokenizer file, the configuration or the
compute dtype does. Content is hashed file by file (`files.sha256`), so a second look costs no reading.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.checkpoints import files

# Notes of who saved what with which library; they change no answer.
_IGNORED_CONFIG = (
    "_name_or_path",
    "transformers_version",
    "peft_version",
    "torch_dtype",
    "dtype",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
)
# Sets that PEFT writes in another order each time.
_UNORDERED = ("target_modules", "modules_to_save", "exclude_modules", "layers_to_transform")
# Configurations of several parts hold whole ones.
_NESTED_CONFIG = ("text_config", "vision_config", "audio_config")


def fingerprint(folder: Path, adapter: Path | None, tokenizer: Path, settings: dict[str, str]) -> str:
    """Return the fingerprint of base `folder`, `adapter` and `tokenizer` folder under `settings` (dtype, …).

    Python files count where `settings` has `trust_remote_code`, for only then do they run.
    """
    parts: dict[str, Any] = {
        "weights": [files.sha256(file) for file in files.weight_files(folder)],
        "config": _config(folder / "config.json"),
        # Its end-of-text ids stop a generation.
        "generation": _config(folder / "generation_config.json"),
        "tokenizer": {name: files.sha256(tokenizer / name) for name in _tokenizer_files(tokenizer)},
        "settings": settings,
    }
    if adapter is not None:
        parts["adapter"] = files.sha256(files.adapter_weights(adapter))
        parts["adapter_config"] = _config(adapter / files.ADAPTER_CONFIG)
    if "trust_remote_code" in settings:
        parts["code"] = [files.sha256(file) for place in (folder, tokenizer) for file in sorted(place.glob("*.py"))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    return _without_notes(files.read_json(file))


def _without_notes(config: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain(key, part) for key, part in config.items() if key not in _IGNORED_CONFIG}


def _plain(key: str, part: Any) -> Any:
    if key in _NESTED_CONFIG and isinstance(part, dict):
        return _without_notes(part)
    return sorted(part, key=str) if key in _UNORDERED and isinstance(part, list) else part


def _tokenizer_files(folder: Path) -> list[str]:
    return [name for name in files.TOKENIZER if (folder / name).is_file()] + sorted(
        file.name for file in folder.glob("*.tiktoken")
    )
