"""Several adapters on one base: the base is read once, and every checkpoint answers as if it were loaded alone."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch

from harness.checkpoints import loading, weights
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import set_weights
from support.trained_adapters import METHODS, lora_method, trained

PROMPT = {
    "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prompt tuning": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}
REWRITING = {
    "PiSSA": lora_method(init_lora_weights="pissa"),
    "OLoRA": lora_method(init_lora_weights="olora"),
    "KaSA": lora_method(kasa_config=peft.tuners.lora.config.KasaConfig()),
}


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the checkpoints whose base was read from disk, in order."""
    names: list[str] = []
    real_load = weights.load
    monkeypatch.setattr(weights, "load", lambda located, bar: names.append(located.name) or real_load(located, bar))
    return names


def answers(checkpoint: Checkpoint) -> torch.Tensor:
    """Return the logits of fixed token ids."""
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        return checkpoint.root.forward(checkpoint.model, ids).logits


def located(*references: object) -> list[Located]:
    return [loading.locate(parse(str(reference))) for reference in references]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("method", {**METHODS, **PROMPT, **REWRITING}.values(), ids={**METHODS, **PROMPT, **REWRITING})
def test_after_an_adapter_of_any_method_the_base_answers_bit_for_bit_as_before(base, tmp_path, method):
    folder = trained(tmp_path / "adapter", base, method)
    [plain, adapted] = located(base, folder)
    loader = loading.Loader()
    before = answers(loader.load(plain))
    assert not torch.equal(answers(loader.load(adapted)), before)
    assert torch.equal(answers(loader.load(plain)), before)


def test_every_adapter_answers_as_if_loaded_alone_and_the_base_is_read_once(base, tmp_path, reads):
    methods = [method for name, method in METHODS.items() if name != "trained biases"]  # these change the base itself
    folders = [trained(tmp_path / f"{i}", base, m) for i, m in enumerate([*methods, *PROMPT.values()])]
    shared = located(base, *folders)
    loader = loading.Loader()
    together = [answers(loader.load(item)) for item in shared]
    assert reads == [shared[0].name]
    for item, logits in zip(shared, together, strict=True):
        assert torch.equal(logits, answers(loading.load(item))), item.name


@pytest.mark.parametrize("method", [*REWRITING.values(), lora_method(bias="all")], ids=[*REWRITING, "biases"])
def test_a_base_that_an_adapter_rewrote_is_read_again(tmp_path, method, reads):
    base = tiny.llama(tmp_path / "base", attention_bias=True)
    folder = trained(tmp_path / "adapter", base, method)
    [adapted, plain] = located(folder, base)
    loader = loading.Loader()
    loader.load(adapted)
    logits = answers(loader.load(plain))
    assert reads == [adapted.name, plain.name]
    assert torch.equal(logits, answers(loading.load(plain)))


def test_a_base_whose_embeddings_were_extended_is_read_again(base, tmp_path, reads):
    method = lora_method(modules_to_save=["lm_head", "embed_tokens"])
    [adapted, plain] = located(trained(tmp_path / "adapter", base, method, rows=400), base)
    loader = loading.Loader()
    loader.load(adapted)
    assert torch.equal(answers(loader.load(plain)), answers(loading.load(plain)))


def test_a_failed_swap_leaves_no_half_changed_base(base, tmp_path, reads):
    good, bad = trained(tmp_path / "good", base, lora_method()), trained(tmp_path / "bad", base, lora_method())
    set_weights(bad / "adapter_model.safetensors", lambda w: w.popitem())
    loader = loading.Loader()
    [whole, broken, plain] = located(good, bad, base)
    loader.load(whole)
    with pytest.raises(HarnessError, match="lacks keys"):
        loader.load(broken)
    assert torch.equal(answers(loader.load(plain)), answers(loading.load(plain)))


def test_a_base_rewritten_between_two_checkpoints_is_read_again(copy, reads):
    loader, [item] = loading.Loader(), located(copy)
    loader.load(item)
    set_weights(copy / "model.safetensors", lambda w: w["lm_head.weight"].mul_(0.5))
    logits = answers(loader.load(item))
    assert len(reads) == 2
    assert torch.equal(logits, answers(loading.load(item)))


@pytest.mark.parametrize("key", ["dtype=bfloat16", "quantize=int8"])
def test_another_dtype_or_quantisation_is_another_base(base, reads, key):
    loader = loading.Loader()
    for item in located(base, f"{base},{key}", base):
        loader.load(item)
    assert len(reads) == 3


def test_checkpoints_of_one_base_are_side_by_side_and_bases_keep_their_order(base, tmp_path):
    other = tiny.llama(tmp_path / "other", seed=3)
    ours, theirs = tiny.lora(tmp_path / "ours", base), tiny.lora(tmp_path / "theirs", other)
    order = loading.by_base(located(theirs, base, other, ours))
    assert [item.base for item in order] == [Path(other), Path(other), base, base]
    assert [item.kind for item in order] == ["lora", "base", "base", "lora"]


def test_an_adapter_on_int8_is_taken_off_again(base, tmp_path):
    [plain, adapted] = located(
        f"{base},quantize=int8", f"{base},adapter={tiny.lora(tmp_path / 'l', base)},quantize=int8"
    )
    loader = loading.Loader()
    before = answers(loader.load(plain))
    changed = answers(loader.load(adapted))
    assert not torch.equal(changed, before)
    assert torch.equal(answers(loader.load(plain)), before)
    assert torch.equal(changed, answers(loading.load(adapted)))


def test_the_first_base_is_freed_when_the_second_is_loaded(base, tmp_path):
    import gc
    import weakref

    other = tiny.llama(tmp_path / "other", seed=3)
    loader = loading.Loader()
    first = weakref.ref(loader.load(located(base)[0]).model)
    loader.load(located(other)[0])
    gc.collect()
    assert first() is None
