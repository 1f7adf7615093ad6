"""Rotary angles: in float32 by default, and in the model's dtype as the published code computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GlmConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.glm.modeling_glm import GlmRotaryEmbedding

import tolerances
from harness.checkpoints.chatglm.positions import SPACE
from harness.checkpoints.chatglm.rotary import InModelDtype, TwoPositions, use_published
from support import published_chatglm as chatglm

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
GENERATIONS = ("chatglm", "chatglm2")
HALVES = [(generation, dtype) for generation in GENERATIONS for dtype in ("float16", "bfloat16")]


def loaded(data: Path, generation: str, dtype: str) -> Any:
    model = chatglm.first_generation(data) if generation == "chatglm" else chatglm.second_generation(data)
    return model.to(DTYPES[dtype])


def deviation(data: Path, model: Any, golden: str) -> float:
    """Return by how much the log-probability of a given token differs from that in the `golden` file, at most.

    A difference is a share of the log-probability, or of 1 if that is larger.
    """
    worst, name = 0.0, f"{golden.split('.')[0].replace('3', '2')}-tiny"  # ChatGLM3's code ran on ChatGLM2's weights
    for row in chatglm.golden(data, f"dtypes/{golden}")["rows"]:
        ids, places = torch.tensor(row["input_ids"]), torch.tensor(row["positions"])
        places = places[places < len(ids) - 1]
        root = chatglm.prefix(data, name, row["kind"], model.dtype)
        with torch.inference_mode():
            logits = root.forward(model, ids[None], logits_to_keep=places).logits[0].float()
        expected = torch.tensor(row["next_logprob"])
        result = logits.log_softmax(-1).gather(1, ids[places + 1, None])[:, 0]
        worst = max(worst, float(((result - expected).abs() / expected.abs().clamp(min=1)).max()))
    return worst


@pytest.mark.parametrize(("generation", "dtype"), HALVES)
def test_published_angles_give_the_published_answers_of_the_dtype(generation: str, dtype: str, data: Path) -> None:
    model = loaded(data, generation, dtype)
    use_published(model)
    assert deviation(data, model, f"{generation}.{dtype}") < tolerances.BF16_LOGLIKELIHOOD


@pytest.mark.parametrize(("generation", "dtype"), HALVES)
def test_default_angles_give_the_published_answers_in_float32(generation: str, dtype: str, data: Path) -> None:
    model = loaded(data, generation, dtype)
    assert deviation(data, model, f"{generation}.float32") < tolerances.BF16_LOGLIKELIHOOD
    if generation == "chatglm2":  # ChatGLM3's code computes angles in float32
        assert deviation(data, model, f"chatglm3.{dtype}") < tolerances.BF16_LOGLIKELIHOOD


@pytest.mark.parametrize("generation", GENERATIONS)
def test_in_bfloat16_both_kinds_of_angles_give_other_answers(generation: str, data: Path) -> None:
    assert deviation(data, loaded(data, generation, "bfloat16"), f"{generation}.bfloat16") > 0.02


@pytest.mark.parametrize("generation", GENERATIONS)
def test_in_float32_both_kinds_of_angles_give_the_same_answers(generation: str, data: Path) -> None:
    model = loaded(data, generation, "float32")
    use_published(model)
    assert deviation(data, model, f"{generation}.float32") < tolerances.FP32_LOGLIKELIHOOD


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("ratio", [1, 4, 50])
def test_angles_of_chatglm2_are_those_of_its_formula(ratio: int, dtype: torch.dtype) -> None:
    """`RotaryEmbedding.forward_impl` of chatglm2-6b, and of chatglm2-6b-32k, which divides positions."""
    theta = 1.0 / (10000 ** (torch.arange(0, 64, 2, dtype=dtype) / 64))
    index = torch.arange(4000, dtype=dtype)
    products = torch.outer(index / ratio if ratio > 1 else index, theta).float()
    cosine, sine = InModelDtype(64, ratio)(torch.zeros(1, dtype=dtype), torch.arange(4000)[None])
    assert torch.equal(cosine[0, :, :32], products.cos().to(dtype))
    assert torch.equal(sine[0, :, 32:], products.sin().to(dtype))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_angles_of_the_first_generation_are_those_of_its_formula(dtype: torch.dtype) -> None:
    """`RotaryEmbedding` of chatglm-6b, whose `inv_freq` is in half before it gets the model's dtype."""
    inv_freq = (1.0 / (10000 ** (torch.arange(0, 64, 2).float() / 64))).half().to(dtype)
    emb = torch.outer(torch.arange(2048, dtype=dtype), inv_freq).repeat(1, 2)
    rotary = TwoPositions(128)
    rotary.is_published = True
    codes = torch.arange(2048)[None] + SPACE * 301  # the positions (300, 0 … 2047)
    cosine, sine = rotary(torch.zeros(1, dtype=dtype), codes)
    assert torch.equal(cosine[0, :, 1], emb.cos())
    assert torch.equal(sine[0, :, 1], emb.sin())
    assert torch.equal(cosine[0, :, 0], emb[300].cos().expand(2048, -1))
    context, _ = rotary(torch.zeros(1, dtype=dtype), torch.arange(2048)[None])
    assert torch.equal(context[0, :, 0], emb.cos())
    assert torch.equal(context[0, :, 1], torch.ones(2048, 64, dtype=dtype))


@pytest.mark.parametrize(
    ("rope", "position_scale", "base"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 1 / 4, 1e4),  # chatglm2-6b-32k divides positions
        ({"rope_type": "default", "rope_theta": 1e4 * 50}, 1, 1e4 * 50),  # chatglm3-6b-32k multiplies the base
    ],
)
def test_angles_of_long_contexts(rope: dict[str, Any], position_scale: float, base: float) -> None:
    parameters = {"rope_theta": 1e4, "partial_rotary_factor": 0.5, **rope}
    config = GlmConfig(head_dim=128, rope_parameters=parameters)
    places = torch.arange(0, 32768, 97)
    cosine, sine = GlmRotaryEmbedding(config)(torch.zeros(1), places[None])
    theta = 1.0 / (base ** (torch.arange(0, 64, 2).double() / 64))
    angles = torch.outer(places.double() * position_scale, theta)
    # an angle in float32 is right to about its 2^-22th part
    torch.testing.assert_close(cosine[0, :, :32].double(), angles.cos(), rtol=0, atol=32768 * 2**-22)
    torch.testing.assert_close(sine[0, :, 32:].double(), angles.sin(), rtol=0, atol=32768 * 2**-22)


def test_published_angles_divide_positions_where_the_default_does(data: Path) -> None:
    model = chatglm.second_generation(data, rope_type="linear", factor=4.0)
    ids = torch.arange(100, 400)[None]
    with torch.inference_mode():
        expected = model(ids).logits
        use_published(model)
        torch.testing.assert_close(model(ids).logits, expected, rtol=0, atol=tolerances.FP32_LOGLIKELIHOOD)


def test_other_models_have_no_published_angles(data: Path) -> None:
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(TypeError, match="known for a llama"):
        use_published(llama)
    with pytest.raises(TypeError, match="ChatGLM3 computes angles in float32"):
        use_published(chatglm.second_generation(data, rope_theta=500000.0))
    third = chatglm.second_generation(data)
    third.config.chatglm_generation = 3
    with pytest.raises(TypeError, match="ChatGLM3 computes angles in float32"):
        use_published(third)
