"""Folders that ChatGLM's own code saved in 8 or 4 bits load to the logits of the same weights quantised while loading.

The folders are written here by the published formula, in numpy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.checkpoints import files, identity, loading, weights
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import chatglm

IDS = torch.arange(3, 60)[None]


def saved(tensors: chatglm.Tensors, bits: int) -> chatglm.Tensors:
    """Return `tensors` as `quantize(bits)` and `save_pretrained` of the published code leave them."""
    result = {}
    largest = np.float16(2 ** (bits - 1) - 1)
    for name, tensor in tensors.items():
        if name.rsplit(".", 1)[0].endswith(tuple(chatglm.WIDTHS)) and name.endswith(".weight"):
            weight = tensor.numpy().astype(np.float16)
            scale = np.abs(weight).max(axis=1) / largest
            codes = np.round(weight / scale[:, None]).astype(np.int8)
            if bits == 4:
                codes = ((codes[:, 0::2].astype(np.int16) << 4) | (codes[:, 1::2] & 15)).astype(np.int8)
            result[name], result[f"{name}_scale"] = torch.from_numpy(codes), torch.from_numpy(scale)
        else:
            result[name] = tensor.half()
    return result


def logits(reference: str) -> torch.Tensor:
    model = weights.load(loading.locate(parse(reference))).model
    with torch.inference_mode():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_saved_folder_answers_as_the_same_weights_quantised_while_loading(
    tmp_path: Path, bits: int, dtype: str
) -> None:
    halves = {name: tensor.half() for name, tensor in chatglm.weights().items()}
    plain = chatglm.save(tmp_path / "plain", halves, torch_dtype="float16")
    folder = chatglm.save(tmp_path / "saved", saved(halves, bits), torch_dtype="float16", quantization_bit=bits)
    expected = logits(f"{plain},dtype={dtype},quantize=chatglm-int{bits}")
    assert torch.equal(logits(f"{folder},dtype={dtype}"), expected)
    assert float((expected - logits(f"{plain},dtype={dtype}")).abs().max()) > 0
    located = loading.locate(parse(str(folder)))
    assert located.quantization_name == f"chatglm-int{bits}"
    assert identity.fingerprint(located) != identity.fingerprint(loading.locate(parse(str(plain))))


def test_a_quantised_folder_is_not_quantised_again(tmp_path: Path) -> None:
    folder = chatglm.save(tmp_path / "saved", saved(chatglm.weights(), 4), quantization_bit=4)
    with pytest.raises(HarnessError, match=r"is already quantised .chatglm-int4."):
        loading.locate(parse(f"{folder},quantize=int8"))


@pytest.mark.parametrize("quantize", ["int8", "int4", "fp4"])
def test_the_methods_of_bitsandbytes_work_on_a_published_folder(tmp_path: Path, quantize: str) -> None:
    folder = chatglm.save(tmp_path / "plain")
    plain, quantized = logits(str(folder)), logits(f"{folder},quantize={quantize}")
    assert 0 < float((plain - quantized).abs().max()) < float(plain.abs().max())


def test_a_saved_folder_without_a_scale_is_refused(tmp_path: Path) -> None:
    tensors = saved(chatglm.weights(), 8)
    name = next(name for name in tensors if name.endswith("dense.weight_scale"))
    del tensors[name]
    folder = chatglm.save(tmp_path / "saved", tensors, quantization_bit=8)
    assert files.weight_files(folder)
    with pytest.raises(HarnessError, match="lacks weights"):
        logits(str(folder))
