"""Architectures that do not support padding are detected, and answer in batches of rows of one length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding.settings import Settings
from harness.engine.packing.padding import PaddingSupport, probe
from harness.engine.requests import Pair, Prompt
from harness.engine.walks import Walk
from harness.errors import HarnessError
from support import tiny
from tolerances import FP32_LOGLIKELIHOOD


def save(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def recurrent(folder: Path) -> Path:
    """Save an RWKV, which supports no mask: padding on the left changes its state."""
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 384, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32}
    return save(folder, RwkvForCausalLM(RwkvConfig(**sizes, context_length=256)))


def load(folder: Path) -> Checkpoint:
    return loading.load(loading.locate(CheckpointReference(str(folder))))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (tiny.llama, PaddingSupport(right=True, left=True)),
        (recurrent, PaddingSupport(right=True, left=False)),
    ],
)
def test_the_probe_detects_which_padding_a_model_supports(tmp_path: Path, make: Any, expected: PaddingSupport) -> None:
    assert HarnessLM(load(make(tmp_path / "model"))).engine.padding == expected


def test_a_context_too_short_for_the_probe_counts_as_no_support(tmp_path: Path) -> None:
    lm = HarnessLM(load(tiny.llama(tmp_path / "model", context=16)))
    assert lm.engine.padding == PaddingSupport(right=False, left=False)


def test_a_model_that_depends_on_the_width_of_its_batch_is_detected(tmp_path: Path) -> None:
    model = load(tiny.llama(tmp_path / "model")).model
    original = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = original(*args, **kwargs)
        output.logits = output.logits * (1 + kwargs["input_ids"].shape[1])
        return output

    model.forward = forward
    assert not probe(model, 384, 512, torch.device("cpu")).right


def test_a_generate_that_continues_at_other_positions_is_refused(tmp_path: Path) -> None:
    lm = HarnessLM(load(tiny.llama(tmp_path / "model")), walk=Walk.PLAIN)
    model, original = lm.checkpoint.model, lm.checkpoint.model.prepare_inputs_for_generation

    def shifted(*args: Any, **kwargs: Any) -> Any:
        inputs = original(*args, **kwargs)
        inputs["position_ids"] = inputs["position_ids"] * 2
        return inputs

    model.prepare_inputs_for_generation = shifted
    with pytest.raises(HarnessError, match="other logits than a forward pass"):
        lm.generate([Prompt([3, 4, 5], Settings(max_tokens=6))])


def test_rows_of_different_lengths_are_separate_if_padding_is_not_supported(tmp_path: Path) -> None:
    lm = HarnessLM(load(recurrent(tmp_path / "model")))
    prompts = [Prompt(list(range(3, 3 + n)), Settings(max_tokens=6)) for n in (2, 7, 19)]
    assert lm.generate(prompts) == [lm.generate([prompt])[0] for prompt in prompts]


def test_longrope_rows_on_both_sides_of_the_switch_share_no_batch(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [8.0] * 8,
        "original_max_position_embeddings": 32,
        "factor": 4.0,
    }
    folder = tiny.llama(tmp_path / "model", context=128, rope_parameters=rope)
    lm = HarnessLM(load(folder))
    assert lm.checkpoint.position_switch == 32
    pairs = [Pair(list(range(3, 3 + n)), [50, 60]) for n in (5, 20, 90)]
    lm.score(pairs[:2])
    assert lm.engine.notes() == []
    for pair, together in zip(pairs, lm.score(pairs), strict=True):
        (alone,) = HarnessLM(load(folder)).score([pair])
        assert abs(together.logprob - alone.logprob) <= FP32_LOGLIKELIHOOD
    assert lm.engine.notes()[0].startswith("positions change in texts of more than 32 tokens")
