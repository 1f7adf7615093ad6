"""A merged folder answers as base and adapter did; what cannot be merged is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.checkpoints import files
from harness.checkpoints.adapters import merging
from harness.checkpoints.adapters.merging import Merged, merge
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import copied, load, logits
from support.trained_adapters import LEARNED, METHODS, lora_method, trained
from tolerances import FP32_LOGLIKELIHOOD

MERGEABLE = {name: method for name, method in METHODS.items() if "VeRA" not in name}


def merged(adapter: Path, output: Path, keys: str = "") -> Merged:
    """Merge `adapter`, with further `keys` of its reference, into `output`."""
    return merge(parse(f"{adapter}{keys}"), output)


def logprobs(model: Any) -> torch.Tensor:
    return logits(model).log_softmax(-1)


@pytest.mark.parametrize("method", MERGEABLE.values(), ids=MERGEABLE)
def test_a_merged_folder_answers_as_base_and_adapter(base, tmp_path, method):
    adapter = trained(tmp_path / "adapter", base, method)
    result = merged(adapter, tmp_path / "merged")
    answers = logprobs(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    expected = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()
    assert float((answers - logprobs(expected)).abs().max()) <= FP32_LOGLIKELIHOOD
    assert torch.equal(answers, logprobs(load(result.folder).model))
    assert result.difference <= FP32_LOGLIKELIHOOD
    assert result.rounding == result.difference
    assert result.bytes == (tmp_path / "merged" / "model.safetensors").stat().st_size


@pytest.mark.parametrize("modules", [["lm_head"], ["embed_tokens"]])
def test_tied_embeddings_of_which_one_was_trained_are_saved_separately(tmp_path, modules):
    base = tiny.llama(tmp_path / "base", tie_word_embeddings=True)
    adapter = trained(tmp_path / "adapter", base, lora_method(modules_to_save=modules))
    before = logprobs(load(adapter).model)
    merged(adapter, tmp_path / "merged")
    assert float((logprobs(load(tmp_path / "merged").model) - before).abs().max()) <= FP32_LOGLIKELIHOOD


def test_embeddings_that_training_extended_are_merged(base, tmp_path):
    method = lora_method(modules_to_save=["lm_head", "embed_tokens"])
    adapter = trained(tmp_path / "adapter", base, method, rows=400)
    before = logprobs(load(adapter).model)
    merged(adapter, tmp_path / "merged")
    assert float((logprobs(load(tmp_path / "merged").model) - before).abs().max()) <= FP32_LOGLIKELIHOOD


def test_the_folder_has_the_dtype_of_the_base_and_rounding_is_measured(base, tmp_path):
    half = copied(base, tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    adapter = tiny.lora(tmp_path / "adapter", half)
    result = merged(adapter, tmp_path / "merged")
    assert result.dtype == torch.bfloat16
    assert files.stored_dtype(files.weight_files(result.folder)) == "bfloat16"
    assert result.rounding > result.difference
    other = merged(adapter, tmp_path / "other", ",dtype=float32")
    assert files.stored_dtype(files.weight_files(other.folder)) == "float32"


def test_the_folder_is_a_complete_checkpoint(base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base)
    checkpoint = load(merged(adapter, tmp_path / "deep" / "merged").folder)
    assert checkpoint.located.kind == "base"
    assert checkpoint.eos_ids == load(base).eos_ids
    assert checkpoint.tokenizer.get_vocab() == load(base).tokenizer.get_vocab()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["merged"]


# --- refusals, which leave nothing behind


def refusal(reference: str, output: Path) -> str:
    """Return the message with which merging `reference` is refused, after checking that nothing was written."""
    with pytest.raises(HarnessError) as error:
        merge(parse(reference), output)
    assert not output.exists() or not output.is_dir() or any(output.iterdir())
    assert not list(output.parent.glob(f".{output.name}.*"))
    return str(error.value)


def test_a_base_alone_is_refused(base, tmp_path):
    assert "has no adapter to merge" in refusal(str(base), tmp_path / "merged")


@pytest.mark.parametrize("method", LEARNED.values(), ids=LEARNED)
def test_prompt_learning_is_refused(base, tmp_path, method):
    adapter = trained(tmp_path / "adapter", base, method)
    assert "nothing to merge" in refusal(str(adapter), tmp_path / "merged")


def test_a_quantised_base_is_refused(base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base)
    assert "in int8 cannot be merged into" in refusal(f"{adapter},quantize=int8", tmp_path / "merged")


def test_an_inactive_adapter_is_refused(base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base, zero=True)
    assert "changes no logit" in refusal(str(adapter), tmp_path / "merged")


def test_an_output_folder_with_content_is_refused(base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base)
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "notes").write_text("mine")
    assert "is not empty" in refusal(str(adapter), tmp_path / "merged")
    assert (tmp_path / "merged" / "notes").read_text() == "mine"


def test_an_output_folder_that_cannot_be_created_is_refused(base, tmp_path):
    adapter = tiny.lora(tmp_path / "adapter", base)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(str(adapter), tmp_path / "file" / "merged")


def test_a_merge_that_answers_differently_is_refused(base, tmp_path, monkeypatch):
    adapter = tiny.lora(tmp_path / "adapter", base)
    monkeypatch.setattr(merging, "_merged", lambda checkpoint: checkpoint.model.unload())
    assert "answers differently from base and adapter" in refusal(str(adapter), tmp_path / "merged")


def test_a_save_that_fails_midway_leaves_nothing(base, tmp_path, monkeypatch):
    from transformers import LlamaForCausalLM

    adapter = tiny.lora(tmp_path / "adapter", base)

    def save_pretrained(self: Any, folder: Path) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", save_pretrained)
    assert "cannot be written ([Errno 28] No space left on device)" in refusal(str(adapter), tmp_path / "merged")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter"}
