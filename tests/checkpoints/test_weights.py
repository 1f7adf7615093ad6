"""Weights in memory: counted while they are read, and independent of their files afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.checkpoints import files, loading
from harness.checkpoints.reference import CheckpointReference
from harness.common.progress import Bar
from support import chatglm, tiny


@pytest.mark.parametrize("make", [tiny.llama, chatglm.save], ids=["llama", "chatglm2"])
def test_a_bar_counts_every_weight(tmp_path: Path, make) -> None:
    total, counts = [], []
    bar = Bar(counts.append, lambda _: None, total.append)
    located = loading.locate(CheckpointReference(str(make(tmp_path / "model"))))
    checkpoint = loading.Loader().load(located, bar=bar)
    names = {name for name, _ in checkpoint.model.named_parameters(remove_duplicate=False)}
    assert total == [sum(counts)]
    assert sum(counts) >= len(names) - 1  # tied weights are one


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("make", [tiny.llama, chatglm.save], ids=["llama", "chatglm2"])
def test_a_file_that_is_written_again_in_place_changes_no_answer(tmp_path: Path, make, name: str) -> None:
    folder = make(tmp_path / "model")
    (source,) = (folder / other for other in files.WEIGHTS if (folder / other).is_file())
    tensors = torch.load(source) if source.suffix == ".bin" else load_file(source)
    source.unlink()
    file = folder / name
    torch.save(tensors, file) if file.suffix == ".bin" else save_file(tensors, file, metadata={"format": "pt"})
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder))))
    ids = torch.arange(3, 30)[None]
    before = checkpoint.model(input_ids=ids).logits
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\x3f" * (file.stat().st_size - 8192))
    assert torch.equal(checkpoint.model(input_ids=ids).logits, before)
    file.write_bytes(b"")  # reading a map of this file would end the process with SIGBUS
    assert torch.equal(checkpoint.model(input_ids=ids).logits, before)
