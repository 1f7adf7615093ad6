"""Proving an adapter: trained adapters of every method pass, zeroed and untrained ones are refused."""

from __future__ import annotations

import pytest
import torch

from support.tampering import load, refusal, set_weights
from support.trained_adapters import LEARNED, METHODS, WEIGHTS, lora_method, trained

EVERY = {**METHODS, **LEARNED, "PiSSA": lora_method(init_lora_weights="pissa")}


@pytest.mark.sampled(6)
@pytest.mark.parametrize("method", EVERY.values(), ids=EVERY)
def test_a_trained_adapter_passes_and_a_zeroed_one_is_refused(base, tmp_path, method):
    folder = trained(tmp_path / "adapter", base, method)
    assert load(folder).adapter_effect > 0
    set_weights(folder / WEIGHTS, lambda w: [tensor.zero_() for tensor in w.values()])
    assert "changes no logit" in refusal(folder)


@pytest.mark.parametrize("quantize", ["", ",quantize=int8", ",quantize=int4"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_untrained_lora_is_refused_in_every_dtype(base, tmp_path, dtype, quantize):
    folder = trained(tmp_path / "adapter", base, lora_method())
    set_weights(folder / WEIGHTS, lambda w: [tensor.zero_() for key, tensor in w.items() if "lora_B" in key])
    assert "changes no logit" in refusal(f"{folder},dtype={dtype}{quantize}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_untrained_dora_which_only_rounds_the_base_is_refused(base, tmp_path, dtype):
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora_method(use_dora=True))
    model.save_pretrained(tmp_path / "untrained")
    assert "changes no logit" in refusal(f"{base},adapter={tmp_path / 'untrained'},dtype={dtype}")


@pytest.mark.parametrize("factor", [1e-2, 1e-4])
def test_even_a_small_change_is_not_taken_for_rounding(base, tmp_path, factor):
    folder = trained(tmp_path / "adapter", base, lora_method())
    set_weights(folder / WEIGHTS, lambda w: [tensor.mul_(factor) for key, tensor in w.items() if "lora_B" in key])
    assert 0 < load(folder).adapter_effect < 1


def test_a_trained_dora_with_a_small_effect_passes(base, tmp_path):
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora_method(use_dora=True))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1e-5)
    model.save_pretrained(tmp_path / "adapter")
    assert load(f"{base},adapter={tmp_path / 'adapter'}").adapter_effect > 0
