"""Change and damage checkpoints on disk; load them, or return the message with which they are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.errors import HarnessError

LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 494944\n"


def copied(source: Path, target: Path) -> Path:
    """Copy folder `source` to `target`; return `target`."""
    shutil.copytree(source, target)
    return target


def set_json(file: Path, **changes: Any) -> None:
    """Change keys of the JSON object in `file`; None removes a key."""
    content = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    content = {key: value for key, value in content.items() if key not in changes or value is not None}
    file.write_text(json.dumps(content), encoding="utf-8")


def set_weights(file: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Apply `change`, which edits a dictionary in place, to the tensors of a safetensors file."""
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def to_bin(safetensors: Path, name: str, **extra: Any) -> Path:
    """Replace a safetensors file by a pickled one called `name` with the same tensors and `extra`; return it."""
    file = safetensors.with_name(name)
    torch.save({**load_file(safetensors), **extra}, file)
    safetensors.unlink()
    return file


class Malice:
    """An object whose pickle creates the file `canary` in a reader that runs pickled code."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def load(reference: Any, **options: Any) -> Checkpoint:
    """Load `reference`, on the CPU unless it names a device: the models that tests compare with are there."""
    text = str(reference) if "device=" in str(reference) else f"{reference},device=cpu"
    return loading.load(loading.locate(parse(text)), **options)


def refusal(reference: Any, **options: Any) -> str:
    """Return the one-line message with which `reference` is refused."""
    with pytest.raises(HarnessError) as error:
        load(reference, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def logits(model: Any) -> torch.Tensor:
    """Return the logits (1, 50, V) of fixed token ids."""
    with torch.inference_mode():
        return model(input_ids=torch.arange(50)[None]).logits


def plain(folder: Path, **options: Any) -> torch.Tensor:
    """Return the logits of the model that transformers' own loader makes of `folder`."""
    return logits(AutoModelForCausalLM.from_pretrained(folder, **options).eval())
