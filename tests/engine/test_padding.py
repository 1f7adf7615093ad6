"""Architectures that bear no padding are found out, and answered a row at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tolerances import FP32_LOGLIKELIHOOD

from harness.checkpoints import loading
from harness.checkpoints.loading import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine.encoding import Pair
from harness.engine.lm import HarnessLM
from harness.engine.padding import Padding


def saved(folder: Path, model: Any) -> Path:
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def recurrent(folder: Path) -> Path:
    """RWKV takes no mask: padding on the left goes through its state."""
    from transformers import RwkvConfig, RwkvForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 384, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32}
    return saved(folder, RwkvForCausalLM(RwkvConfig(**sizes, context_length=256)))


def two_way(folder: Path) -> Path:
    """BERT looks at what stands on the right, padding included."""
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 384, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=64, initializer_range=0.5, pad_token_id=0)
    return saved(folder, BertLMHeadModel(config))


def load(folder: Path) -> Checkpoint:
    return loading.load(loading.locate(CheckpointReference(str(folder))))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (tiny.llama, Padding(right=True, left=True)),
        (recurrent, Padding(right=True, left=False)),
        (two_way, Padding(right=False, left=True)),
    ],
)
def test_a_probe_tells_what_padding_a_model_bears(tmp_path: Path, make: Any, expected: Padding) -> None:
    assert HarnessLM(load(make(tmp_path / "model"))).padding == expected


def test_a_context_too_short_to_ask_in_is_taken_for_the_worst(tmp_path: Path) -> None:
    lm = HarnessLM(load(tiny.llama(tmp_path / "model", context=16)))
    assert lm.padding == Padding(right=False, left=False)


def test_a_model_that_bears_no_padding_is_scored_as_alone(tmp_path: Path) -> None:
    lm = HarnessLM(load(two_way(tmp_path / "model")))
    asked = [Pair(list(range(3, 3 + n)), [50, 60]) for n in (2, 7, 19)]
    together = lm._score(asked)
    for pair, answer in zip(asked, together, strict=True):
        (alone,) = lm._score([pair])
        assert abs(answer.logprob - alone.logprob) <= FP32_LOGLIKELIHOOD
