"""Ways to change and damage a checkpoint, and to ask what is said of it."""

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
    shutil.copytree(source, target)
    return target


def set_json(file: Path, **changes: Any) -> None:
    """Change keys of a JSON object; None takes one away."""
    content = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in content.items() if key not in changes or value is not None}
    file.write_text(json.dumps(kept), encoding="utf-8")


def set_weights(file: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Apply `change` to the tensors of a safetensors file; it edits the dictionary in place."""
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def to_bin(safetensors: Path, name: str, **more: Any) -> Path:
    """Replace a safetensors file by a pickled one with the same tensors and `more`."""
    file = safetensors.with_name(name)
    torch.save({**load_file(safetensors), **more}, file)
    safetensors.unlink()
    return file


class Malice:
    """An object whose pickle makes the file `canary` when it is read by a trusting reader."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def load(reference: Any, **options: Any) -> Checkpoint:
    """Load `reference`, on the CPU where it names no device: what these tests compare with is there."""
    text = str(reference) if "device=" in str(reference) else f"{reference},device=cpu"
    return loading.load(loading.locate(parse(text)), **options)


def refusal(reference: Any, **options: Any) -> str:
    """Return the sentence that `reference` is refused with."""
    with pytest.raises(HarnessError) as caught:
        load(reference, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.arange(50)[None]).logits


def plain(folder: Path, **options: Any) -> torch.Tensor:
    """Return what transformers' own loader answers."""
    return logits(AutoModelForCausalLM.from_pretrained(folder, **options).eval())
