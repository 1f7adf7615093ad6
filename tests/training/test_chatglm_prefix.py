"""ChatGLM's own P-tuning v2: logits of the published code, gradients of difference quotients, nothing lost on the way.

The golden files of the data folder have what the published code answers with given weights of a prefix encoder.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from harness.checkpoints import loading, weights
from harness.checkpoints.adapters import config as adapter_configs
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.training import chatglm_prefix
from harness.training.batches import Collator
from harness.training.loop import token_loss
from support import chatglm, published_chatglm
from tolerances import DERIVATIVE, GOLDEN_LOGITS


def base(reference: str) -> Any:
    return weights.load(loading.locate(parse(reference))).model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """A small base of each generation."""
    place = tmp_path_factory.mktemp("bases")
    folders = {1: chatglm.save_6b(place / "1"), 2: chatglm.save(place / "2"), 3: chatglm.save(place / "3")}
    return {number: base(f"{folder},chatglm=3" if number == 3 else str(folder)) for number, folder in folders.items()}


def ids(model: Any, length: int, place: int = 4) -> torch.Tensor:
    """Return the ids (1, length) of a text; ChatGLM-6B's has `[gMASK] <sop>` at `place`."""
    values = torch.arange(7, 7 + length)
    if model.config.model_type == "chatglm":
        special = model.config.special_ids
        values[place], values[place + 1] = special.gmask, special.sop
    return values[None]


@pytest.mark.parametrize("name", ["chatglm-tiny", "chatglm2-tiny"])
@pytest.mark.parametrize("kind", ["ptuning", "ptuning-projection"])
def test_logits_with_published_weights_are_the_published_codes(data: Path, name: str, kind: str) -> None:
    folder = data / "chatglm-golden"
    adapter = adapter_configs.read(folder / f"{name}-{kind}" / "checkpoint-3000")
    model = chatglm_prefix.continued(base(str(folder / name)), adapter).eval()
    state = {f"transformer.prefix_encoder.{key}": value for key, value in model.prefix_encoder.state_dict().items()}
    published = published_chatglm.weights(adapter.folder)
    assert {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in published.items()}
    for row in published_chatglm.golden(data, f"{name}.golden")[kind]:
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0]
        assert float((logits[-1] - torch.tensor(row["logits_last"])).abs().max()) <= GOLDEN_LOGITS
        assert float((logits.logsumexp(-1) - torch.tensor(row["logsumexp"])).abs().max()) <= GOLDEN_LOGITS
        assert logits.argmax(-1).tolist() == row["argmax"]


def test_chatglm3_answers_as_its_published_code(data: Path) -> None:
    folder = data / "chatglm-golden"
    adapter = adapter_configs.read(folder / "chatglm2-tiny-ptuning" / "checkpoint-3000")
    model = chatglm_prefix.continued(base(f"{folder / 'chatglm2-tiny'},chatglm=3"), adapter).eval()
    rows = published_chatglm.golden(data, "dtypes/chatglm3.float32")["rows"]
    row = min((row for row in rows if row["kind"] == "ptuning"), key=lambda row: len(row["input_ids"]))
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0]
    assert float((logits[-1] - torch.tensor(row["logits_last"])).abs().max()) <= GOLDEN_LOGITS


def in_double(model: Any) -> Any:
    """Return a copy of `model` that computes in float64, in which transformers' own norms do not."""
    model = copy.deepcopy(model).double()
    for name, module in list(model.named_modules()):
        if type(module).__name__ == "GlmRMSNorm":
            norm = torch.nn.RMSNorm(len(module.weight), module.variance_epsilon, dtype=torch.float64)
            norm.weight.data = module.weight.data
            model.set_submodule(name, norm)
    return model


@pytest.mark.parametrize("number", [1, 2, 3])
def test_gradients_are_difference_quotients(models: dict[int, Any], number: int) -> None:
    torch.manual_seed(number)
    settings = {"num_virtual_tokens": 3, "prefix_projection": number < 3}
    model = chatglm_prefix.new(in_double(models[number]), settings).eval().double()
    text = ids(models[number], 12)

    def loss() -> torch.Tensor:
        return functional.cross_entropy(model(text).logits[0, 5:-1], text[0, 6:])

    for parameter in model.prefix_encoder.parameters():
        (gradient,) = torch.autograd.grad(loss(), parameter)
        direction, step = torch.randn_like(parameter), 1e-5
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                losses.append(float(loss()))
                parameter -= sign * step * direction
        quotient = (losses[0] - losses[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(quotient, rel=DERIVATIVE, abs=1e-9)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.base.parameters())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_padding_and_checkpointing_change_no_loss_and_no_gradient(models: dict[int, Any], number: int) -> None:
    plain = models[number]
    model = chatglm_prefix.new(plain, {"num_virtual_tokens": 3}).eval()
    texts = [ids(plain, 17)[0], ids(plain, 9, place=1)[0]]
    rows = [{"input_ids": t.numpy(), "labels": torch.where(torch.arange(len(t)) > 5, t, -100).numpy()} for t in texts]
    pad = 3 if number == 1 else 0

    def sums(batch: list[Any], target: Any) -> torch.Tensor:
        inputs = Collator(pad)(batch)
        labels = inputs.pop("labels")
        return token_loss(target(**inputs), labels, 1)

    for target in (plain, model):
        with torch.no_grad():
            together, alone = sums(rows, target), [sums([row], target) for row in rows]
        assert float(together) == pytest.approx(float(sum(alone)), abs=1e-5)
    weight = model.prefix_encoder.embedding.weight
    (expected,) = torch.autograd.grad(sums(rows, model), weight)
    model.gradient_checkpointing_enable()
    try:
        model.train().dropout.eval()
        (gradient,) = torch.autograd.grad(sums(rows, model), weight)
    finally:
        plain.gradient_checkpointing_disable()
        plain.eval()
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert float(expected.abs().max()) > 0.01


def test_each_row_of_a_batch_loses_other_numbers_of_the_prefix(models: dict[int, Any]) -> None:
    model = chatglm_prefix.new(models[2], {"num_virtual_tokens": 50})
    keys = model.train().cache(2).layers[0].keys
    dropped = (keys == 0).float()
    assert float(dropped.mean()) == pytest.approx(0.1, abs=0.03)
    assert not torch.equal(keys[0] == 0, keys[1] == 0)
    model.eval()
    keys = model.cache(2).layers[0].keys
    assert torch.equal(keys[0], keys[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "set num_virtual_tokens"),
        ({"num_virtual_tokens": 5, "encoder_hidden_size": 512}, "encoder_hidden_size is 512, but .* has 64"),
        ({"num_virtual_tokens": 5, "num_attention_heads": 4}, "num_attention_heads is 4, but .* has 2"),
        ({"num_virtual_tokens": 5, "init_weights": "zero"}, "init_weights is zero"),
    ],
)
def test_settings_that_chatglm_does_not_have_are_refused(
    models: dict[int, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(HarnessError, match=message):
        chatglm_prefix.new(models[2], settings)
    chatglm_prefix.new(models[2], {"num_virtual_tokens": 5, "encoder_hidden_size": 64, "num_attention_heads": 2})


def test_reentrant_checkpointing_is_refused(models: dict[int, Any]) -> None:
    model = chatglm_prefix.new(models[2], {"num_virtual_tokens": 5})
    with pytest.raises(HarnessError, match="use_reentrant"):
        model.gradient_checkpointing_enable({"use_reentrant": True})
