"""Prompt learning becomes a root cache with the answers of PEFT, or is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from harness.checkpoints import identity, loading
from harness.checkpoints.reference import parse
from support import tiny
from support.tampering import load, refusal, set_json, set_weights
from support.trained_adapters import CONFIG, TOKENS, WEIGHTS, trained
from support.trained_adapters import LEARNED as METHODS
from tolerances import FP32_LOGLIKELIHOOD

IDS = torch.arange(3, 40)[None]


@pytest.fixture(params=METHODS)
def learned(request, base, tmp_path) -> Path:
    """An adapter of each method."""
    return trained(tmp_path / "learned", base, METHODS[request.param])


@pytest.fixture
def prefix(base, tmp_path) -> Path:
    return trained(tmp_path / "prefix", base, METHODS["prefix"])


def test_prompt_learning_answers_as_peft(base, learned):
    checkpoint = load(learned)
    with torch.inference_mode():
        logits = checkpoint.root.forward(checkpoint.model, IDS).logits
    oracle = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(learned)).eval()
    with torch.inference_mode():
        expected = oracle(input_ids=IDS).logits[:, -IDS.shape[1] :]
    assert float((logits - expected).abs().max()) < FP32_LOGLIKELIHOOD
    assert checkpoint.root.next_position == checkpoint.root.length == TOKENS
    assert checkpoint.located.kind in ("prefix_tuning", "p_tuning", "prompt_tuning")


def test_the_model_itself_is_unchanged(base, learned):
    checkpoint = load(learned)
    with torch.inference_mode():
        assert torch.equal(checkpoint.model(IDS).logits, load(base).model(IDS).logits)


def test_virtual_tokens_reduce_the_context(base, learned):
    located = loading.locate(parse(str(learned)))
    assert located.max_length == loading.locate(parse(str(base))).max_length - TOKENS
    assert loading.locate(parse(f"{learned},max_length=100")).max_length == 100 - TOKENS
    assert f"the {TOKENS} virtual tokens" in refusal(f"{learned},max_length={TOKENS}")


def test_parameters_and_memory_of_a_prefix_are_counted(base, prefix):
    checkpoint = load(prefix)
    # 2 layers of keys and values, 2 heads of 16
    assert checkpoint.adapter_parameters == TOKENS * 2 * 2 * 32
    assert checkpoint.memory_bytes == load(base).memory_bytes + 4 * checkpoint.adapter_parameters
    assert checkpoint.parameters == load(base).parameters


def test_the_fingerprint_depends_on_the_virtual_tokens(base, learned):
    before = identity.fingerprint(loading.locate(parse(str(learned))))
    assert before != identity.fingerprint(loading.locate(parse(str(base))))
    set_weights(learned / WEIGHTS, lambda w: w["prompt_embeddings"].mul_(1.001))
    assert identity.fingerprint(loading.locate(parse(str(learned)))) != before


def test_an_adapter_of_zeros_is_refused_for_every_method(learned):
    set_weights(learned / WEIGHTS, lambda w: w["prompt_embeddings"].zero_())
    assert "changes no logit" in refusal(learned)
    checkpoint = loading.load(loading.locate(parse(str(learned))), allow_inactive_adapter=True)
    assert checkpoint.adapter_effect == 0.0


# --- adapters that do not fit


@pytest.mark.parametrize("changes", [{"hidden_size": 32}, {"num_hidden_layers": 3}, {"num_key_value_heads": 4}])
def test_a_prefix_for_another_base_is_refused(prefix, tmp_path, changes):
    other = tiny.llama(tmp_path / "other", **changes)
    assert "name the base it was trained on" in refusal(f"{other},adapter={prefix}")


@pytest.mark.parametrize("name", ["prompt", "P-tuning, MLP"])
def test_embeddings_of_another_size_are_refused(base, tmp_path, name):
    learned = trained(tmp_path / "learned", base, METHODS[name])
    other = tiny.llama(tmp_path / "other", hidden_size=32)
    assert f"are {TOKENS} × 64 numbers, not {TOKENS} × 32" in refusal(f"{other},adapter={learned}")


def test_a_prefix_of_the_same_size_with_other_heads_is_refused(prefix, tmp_path):
    other = tiny.llama(tmp_path / "other", num_attention_heads=2, num_key_value_heads=1)  # 1 head of 32, not 2 of 16
    assert "its prefix has 2 heads, not 1" in refusal(f"{other},adapter={prefix}")


def test_another_architecture_is_refused(prefix, tmp_path):
    tokenizer = tiny.tokenizer()
    gpt2 = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4)).save_pretrained(gpt2)
    tokenizer.save_pretrained(gpt2)
    assert "does not fit this base" in refusal(f"{gpt2},adapter={prefix}")


def test_missing_and_surplus_keys_are_named(learned):
    set_weights(learned / WEIGHTS, lambda w: w.update(extra=torch.ones(2)))
    assert "has keys without a place (extra)" in refusal(learned)
    set_weights(learned / WEIGHTS, lambda w: (w.clear(), w.update(other=torch.ones(2))))
    assert "does not fit this base" in refusal(learned)


@pytest.mark.parametrize("tokens", [None, 0, "6", TOKENS + 1])
def test_a_wrong_number_of_virtual_tokens_is_refused(learned, tokens):
    set_json(learned / CONFIG, num_virtual_tokens=tokens)
    message = refusal(learned)
    assert "num_virtual_tokens" in message or "not 7 ×" in message


def test_nan_in_virtual_tokens_is_refused(learned):
    set_weights(learned / WEIGHTS, lambda w: w["prompt_embeddings"][0].fill_(float("nan")))
    assert "NaN" in refusal(learned)


def test_a_truncated_file_is_refused(learned):
    file = learned / WEIGHTS
    file.write_bytes(file.read_bytes()[:-100])
    assert "truncated" in refusal(learned)


def test_an_unsupported_method_is_refused_by_name(base, tmp_path):
    method = peft.MultitaskPromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS, num_tasks=2)
    folder = trained(tmp_path / "multitask", base, method)
    assert "is a MULTITASK_PROMPT_TUNING adapter, which is not supported" in refusal(folder)


def test_a_prefix_on_layers_that_differ_is_refused(prefix, tmp_path):
    tokenizer, folder = tiny.tokenizer(), tmp_path / "deepseek"
    sizes = {"hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2}
    more = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "vocab_size": len(tokenizer)}
    DeepseekV3ForCausalLM(DeepseekV3Config(**sizes, **heads, **more)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert "a prefix on a deepseek_v3" in refusal(f"{folder},adapter={prefix}")
