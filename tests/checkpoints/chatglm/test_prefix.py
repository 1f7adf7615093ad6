"""P-tuning v2 folders of ChatGLM's own scripts: alone, with projection, inside a whole model, and damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints import identity, inspection, loading
from harness.checkpoints.adapters import attach
from harness.checkpoints.adapters import config as adapter_configs
from harness.checkpoints.chatglm.layout import PREFIX
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import chatglm

WIDTH = 2 * chatglm.LAYERS * chatglm.GROUPS * chatglm.SIZE
TOKENS = 5
IDS = torch.arange(3, 40)[None]


def encoder(*, width: int = WIDTH, projects: bool = False) -> chatglm.Tensors:
    generator = torch.Generator().manual_seed(5)
    sizes = {"embedding.weight": (TOKENS, width)}
    if projects:
        sizes |= {"trans.0.weight": (chatglm.HIDDEN, width), "trans.0.bias": (chatglm.HIDDEN,)}
        sizes |= {"trans.2.weight": (width, chatglm.HIDDEN), "trans.2.bias": (width,)}
    return {PREFIX + name: torch.randn(*size, generator=generator) / 4 for name, size in sizes.items()}


def save(folder: Path, tensors: chatglm.Tensors | None = None, **settings: Any) -> Path:
    """Write a checkpoint of P-tuning as the published trainer does."""
    return chatglm.save(folder, tensors or encoder(), **{"pre_seq_len": TOKENS, **settings})


def load(reference: str) -> Checkpoint:
    return loading.load(loading.locate(parse(reference)))


def logits(checkpoint: Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        return checkpoint.root.forward(checkpoint.model, IDS).logits


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return chatglm.save(tmp_path / "base")


@pytest.mark.parametrize("projects", [False, True])
def test_the_text_begins_at_position_0_and_no_context_is_lost(tmp_path: Path, base: Path, *, projects: bool) -> None:
    folder = save(tmp_path / "checkpoint-3000", encoder(projects=projects), prefix_projection=projects)
    checkpoint = load(f"{base},adapter={folder}")
    assert (checkpoint.root.length, checkpoint.root.next_position) == (TOKENS, 0)
    assert checkpoint.max_length == load(str(base)).max_length
    assert checkpoint.adapter_parameters == TOKENS * WIDTH
    assert checkpoint.adapter_effect > 0.1


def test_the_folder_alone_finds_the_base_that_its_configuration_names(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "checkpoint-3000", _name_or_path="../base")
    together, alone = load(f"{base},adapter={folder}"), load(str(folder))
    assert torch.equal(logits(together), logits(alone))
    assert together.fingerprint == alone.fingerprint != load(str(base)).fingerprint
    facts = inspection.facts(alone.located, alone)
    assert (facts["kind"], facts["trained on"]) == ("prefix_tuning", "../base")


def test_a_whole_model_and_its_prefix_in_one_folder_are_base_and_adapter(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "both", {**chatglm.weights(), **encoder()})
    apart = load(f"{base},adapter={save(tmp_path / 'checkpoint-3000')}")
    both = load(str(folder))
    assert torch.equal(logits(both), logits(apart))
    torch.save(
        {**chatglm.weights(), **encoder(), f"{PREFIX}embedding.weight": torch.ones(TOKENS, WIDTH)},
        folder / "pytorch_model.bin",
    )
    assert load(str(folder)).fingerprint != both.fingerprint
    other = save(tmp_path / "other")
    with pytest.raises(HarnessError, match="has a prefix of its own"):
        loading.locate(parse(f"{folder},adapter={other}"))


@pytest.mark.parametrize(
    ("tensors", "settings", "message"),
    [
        (encoder(), {"pre_seq_len": 128}, "sets pre_seq_len to 128, but the prefix there has 5 tokens"),
        (encoder(), {"pre_seq_len": True}, "states pre_seq_len as true"),
        (encoder(), {"pre_seq_len": None}, "states pre_seq_len as null, but the weights there include a prefix"),
        (encoder(width=2 * WIDTH), {}, f"its virtual tokens are 5 × {2 * WIDTH} numbers, not 5 × {WIDTH}"),
        ({f"{PREFIX}trans.0.weight": torch.ones(2, 2)}, {}, "the prefix in .* lacks transformer.prefix_encoder.embed"),
        ({**encoder(), f"{PREFIX}extra": torch.ones(2)}, {}, "the prefix in .* lacks transformer.prefix_encoder.trans"),
        (
            {**encoder(projects=True), f"{PREFIX}trans.0.weight": torch.ones(3, 7)},
            {},
            rf"layers that do not fit together \({TOKENS} × {WIDTH}, 3 × 7, {WIDTH} × {chatglm.HIDDEN}\)",
        ),
    ],
)
def test_a_prefix_that_does_not_fit_is_one_sentence(
    tmp_path: Path, base: Path, tensors: chatglm.Tensors, settings: dict[str, Any], message: str
) -> None:
    folder = save(tmp_path / "checkpoint-3000", tensors, **settings)
    with pytest.raises(HarnessError, match=message):
        load(f"{base},adapter={folder}")


def test_a_prefix_trained_on_quantised_weights_is_noted_on_others(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "checkpoint-3000", quantization_bit=4)
    reference = f"{base},adapter={folder}"
    note = "the prefix was trained on weights of 4 bits, and is put on"
    assert any(text.startswith(f"{note} unquantised weights") for text in load(reference).notes)
    assert any(text.startswith(f"{note} weights in int8") for text in load(f"{reference},quantize=int8").notes)
    assert any(text.startswith(f"{note} weights in nf4") for text in load(f"{reference},quantize=int4").notes)
    assert not any(note in text for text in load(f"{reference},quantize=chatglm-int4").notes)


def test_a_prefix_without_its_configuration_is_named_as_one(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "checkpoint-3000")
    (folder / "config.json").unlink()
    with pytest.raises(HarnessError, match=r"holds a prefix of ChatGLM but no config.json: copy that of the training"):
        loading.locate(parse(f"{base},adapter={folder}"))


def test_a_model_without_the_prefix_that_its_configuration_states_is_refused(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "both", chatglm.weights())
    with pytest.raises(HarnessError, match="sets pre_seq_len to 5, but no weights of a prefix are there"):
        loading.locate(parse(str(folder)))
    other = save(tmp_path / "checkpoint-3000")
    assert torch.equal(logits(load(f"{folder},adapter={other}")), logits(load(f"{base},adapter={other}")))


def test_a_published_prefix_has_the_published_size(tmp_path: Path) -> None:
    for width, parameters in ((28 * 4096 * 2, 29_360_128), (28 * 128 * 2 * 2, 1_835_008)):
        tensors = {f"{PREFIX}embedding.weight": torch.zeros(128, width, dtype=torch.float16)}
        folder = save(tmp_path / str(width), tensors, pre_seq_len=128)
        (learned,) = attach.read(adapter_configs.read(folder)).values()
        assert learned.numel() == parameters


def test_the_configuration_of_the_training_counts(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "checkpoint-3000")
    located = loading.locate(parse(f"{base},adapter={folder}"))
    before = identity.fingerprint(located)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "layernorm_epsilon": 1e-4}))
    assert identity.fingerprint(located) != before
    (folder / "config.json").write_text(json.dumps({**content, "quantization_bit": 8}))
    with pytest.raises(HarnessError, match="was changed while it was waiting"):
        loading.load(located)
