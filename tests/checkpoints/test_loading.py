"""Loading: a reference becomes a model that answers as transformers' own loader, or a refusal in one sentence."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    T5Config,
)

from harness.checkpoints import configs, identity, loading, weights
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support import tiny
from support.tampering import LFS_POINTER, load, logits, plain, refusal, set_json, set_weights, to_bin

WEIGHTS = "model.safetensors"
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    """A GPT-2 with tied embeddings and learned positions."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = tiny.tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=128,
        eos_token_id=2,
        initializer_range=0.3,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# --- answers


def test_a_base_answers_as_transformers_loads_it(base):
    assert torch.equal(logits(load(base).model), plain(base))


def test_tied_embeddings_answer_as_transformers_loads_them(gpt2):
    assert torch.equal(logits(load(gpt2).model), plain(gpt2))


def test_shards_answer_like_one_file(base, copy):
    (copy / WEIGHTS).unlink()
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(copy, max_shard_size="100KB")
    assert len(list(copy.glob("model-*.safetensors"))) > 2
    assert torch.equal(logits(load(copy).model), plain(base))


def test_pickled_weights_answer_like_safetensors(base, copy):
    to_bin(copy / WEIGHTS, "pytorch_model.bin")
    assert torch.equal(logits(load(copy).model), plain(base))


def test_a_model_is_in_evaluation_mode(base):
    assert not load(base).model.training


def test_a_checkpoint_counts_its_parameters(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    assert load(base).parameters == sum(p.numel() for p in model.parameters())


def test_a_checkpoint_s_fingerprint_is_that_of_its_files(base):
    checkpoint = load(base)
    assert checkpoint.fingerprint == identity.fingerprint(checkpoint.located)


def test_a_checkpoint_has_the_name_that_its_reference_sets(base):
    assert load(f"{base},name=stage-2").name == "stage-2"


# --- dtype and device


@pytest.fixture
def half(copy):
    """A base saved in bfloat16."""
    AutoModelForCausalLM.from_pretrained(copy, dtype="bfloat16").save_pretrained(copy)
    return copy


def test_on_a_cpu_half_precision_weights_compute_in_float32(half):
    model = load(f"{half},device=cpu").model
    assert model.dtype == torch.float32
    assert torch.equal(logits(model), plain(half, dtype="float32"))


def test_auto_is_the_dtype_of_the_weights(half):
    model = load(f"{half},device=cpu,dtype=auto").model
    assert model.dtype == torch.bfloat16
    assert torch.equal(logits(model), plain(half, dtype="bfloat16"))


def test_auto_reads_the_weights_if_the_configuration_states_no_dtype(half):
    set_json(half / "config.json", dtype=None, torch_dtype=None)
    assert load(f"{half},dtype=auto").model.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_explicit_dtype_is_used(base, dtype):
    checkpoint = load(f"{base},dtype={dtype}")
    dtypes = {parameter.dtype for parameter in checkpoint.model.parameters()}
    assert dtypes == {checkpoint.located.dtype} == {getattr(torch, dtype)}


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99", "mps:7"])
def test_a_missing_device_is_refused(base, device):
    message = refusal(f"{base},device={device}")
    assert message.startswith(f"device '{device}' cannot be used here")
    assert message.endswith("try device=cpu")


# --- context length


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (LlamaConfig(max_position_embeddings=777), 777),
        (GPT2Config(n_positions=333), 333),
        (type("Composite", (), {"text_config": LlamaConfig(max_position_embeddings=555)})(), 555),
        (type("Old", (), {"n_ctx": 111})(), 111),
        (type("Silent", (), {})(), configs.DEFAULT_MAX_LENGTH),
    ],
)
def test_the_context_length_is_the_configuration_s(config, length):
    assert configs.context_length(config) == length


def test_the_context_length_can_be_set(base):
    assert load(base).max_length == 512
    assert load(f"{base},max_length=1000").max_length == 1000


def test_more_tokens_than_learned_positions_are_refused(gpt2):
    assert load(f"{gpt2},max_length=128").max_length == 128
    assert "max_length=129 is more than the 128 tokens" in refusal(f"{gpt2},max_length=129")


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_short_context_answers_its_probe(base, length):
    assert load(f"{base},max_length={length}").max_length == length


# --- decoding defaults


def test_only_the_end_of_text_ids_of_the_generation_config_are_kept(copy):
    set_json(copy / "generation_config.json", repetition_penalty=1.3, do_sample=True, top_k=3, eos_token_id=[5, 2, 7])
    checkpoint = load(copy)
    settings = checkpoint.model.generation_config
    assert checkpoint.eos_ids == (2, 5, 7)
    assert (settings.repetition_penalty, settings.do_sample, settings.top_k, settings.eos_token_id) == (None,) * 4


def test_a_repetition_penalty_of_the_checkpoint_changes_no_text(base, copy):
    set_json(copy / "generation_config.json", repetition_penalty=9.9)
    prompt = torch.arange(20)[None]
    texts = [load(f).model.generate(prompt, max_new_tokens=20, do_sample=False, pad_token_id=0) for f in (base, copy)]
    assert torch.equal(*texts)


def test_without_a_generation_config_the_tokenizer_s_eos_ends_a_text(copy):
    (copy / "generation_config.json").unlink()
    set_json(copy / "config.json", eos_token_id=None)
    assert load(copy).eos_ids == (2,)


def test_an_end_of_text_that_is_no_id_is_refused(copy):
    set_json(copy / "generation_config.json", eos_token_id="</s>")
    assert "'</s>' as eos_token_id" in refusal(copy)


def test_a_damaged_generation_config_is_refused(copy):
    (copy / "generation_config.json").write_text("{")
    assert "generation_config.json is not valid JSON" in refusal(copy)


# --- weights that do not fit


def test_missing_weights_are_refused(copy):
    set_weights(copy / WEIGHTS, lambda w: w.pop(NORM))
    assert f"lacks weights ({NORM})" in refusal(copy)


def test_unexpected_weights_are_refused_unless_allowed(base, copy):
    set_weights(copy / WEIGHTS, lambda w: w.update({"extra.weight": torch.ones(2)}))
    assert "weights without a place (extra.weight)" in refusal(copy)
    assert "allow_unexpected_keys=true" in refusal(copy)
    checkpoint = load(f"{copy},allow_unexpected_keys=true")
    assert torch.equal(logits(checkpoint.model), plain(base))
    note = "weights without a place in the model were ignored (extra.weight): allow_unexpected_keys"
    assert note in checkpoint.notes
    assert note not in load(base).notes


@pytest.mark.parametrize("key", ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.attn.masked_bias"])
def test_buffers_that_older_libraries_saved_are_ignored(base, copy, key):
    set_weights(copy / WEIGHTS, lambda w: w.update({key: torch.ones(8)}))
    assert torch.equal(logits(load(copy).model), plain(base))


def test_weights_of_another_size_are_refused_with_both_sizes(copy):
    set_weights(copy / WEIGHTS, lambda w: w.update({NORM: torch.ones(2)}))
    assert f"{NORM} is (2,), not (64,)" in refusal(copy)


def test_a_configuration_of_a_deeper_model_is_refused(copy):
    set_json(copy / "config.json", num_hidden_layers=3)
    assert "lacks weights (model.layers.2.input_layernorm.weight" in refusal(copy)


def test_a_file_without_tensors_is_refused(copy):
    save_file({}, copy / WEIGHTS)
    assert "lacks weights" in refusal(copy)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_weights_are_refused(copy, dtype):
    set_weights(copy / WEIGHTS, lambda w: w[NORM].fill_(float("nan")))
    assert f"NaN or infinite logits in {dtype}" in refusal(f"{copy},dtype={dtype}")


def test_an_overflow_in_half_precision_is_distinguished_from_damage(copy):
    set_weights(copy / WEIGHTS, lambda w: w[NORM].mul_(1e5))
    assert load(copy).located.dtype == torch.float32
    assert "try dtype=float32" in refusal(f"{copy},dtype=float16")


def test_an_index_without_its_metadata_is_refused(copy):
    index = {"weight_map": {NORM: WEIGHTS}}
    os.rename(copy / WEIGHTS, copy / "1.safetensors")  # noqa: PTH104
    index["weight_map"][NORM] = "1.safetensors"
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "cannot be loaded (KeyError 'metadata'): fetch or save" in refusal(copy)


@pytest.mark.parametrize("content", [[1, 2], 3])
def test_a_pickle_of_something_other_than_tensors_is_refused(copy, content):
    (copy / WEIGHTS).unlink()
    torch.save(content, copy / "pytorch_model.bin")
    assert "the weights in" in refusal(copy)


def test_transformers_own_load_report_is_not_printed(copy):
    messages: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: messages.append(record.getMessage())
    set_weights(copy / WEIGHTS, lambda w: w.update({NORM: torch.ones(2), "extra": torch.ones(2)}))
    logging.getLogger("transformers").addHandler(listener)
    try:
        refusal(copy)
    finally:
        logging.getLogger("transformers").removeHandler(listener)
    assert not [message for message in messages if "LOAD REPORT" in message]


# --- configurations


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": None}, "names no model_type"),
        ({"model_type": "sparkle"}, "model type `sparkle`"),
        ({"hidden_size": "64"}, "expected int, got str"),
        ({"hidden_size": 65}, "not a multiple of the number of attention heads"),
        ({"num_attention_heads": 0}, "integer modulo by zero"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_unusable_configuration_is_refused(copy, changes, complaint):
    set_json(copy / "config.json", **changes)
    message = refusal(copy)
    assert f"{copy / 'config.json'}" in message
    assert complaint in message


def test_an_empty_configuration_is_refused(copy):
    (copy / "config.json").write_text("{}")
    assert "config.json names no model_type" in refusal(copy)


def test_weights_without_a_configuration_are_refused(copy):
    (copy / "config.json").unlink()
    assert f"{copy} has no config.json" in refusal(copy)


@pytest.mark.parametrize("config", [T5Config(), T5Config(auto_map={"AutoModel": "x.Y"})])
def test_a_model_that_is_not_causal_is_refused_before_its_weights_are_read(copy, config):
    config.save_pretrained(copy)
    with pytest.raises(HarnessError, match="is a t5, which is not a causal language model"):
        loading.locate(parse(str(copy)))


def test_weights_of_another_architecture_are_refused(copy):
    BertConfig(vocab_size=384, hidden_size=64, num_hidden_layers=1, num_attention_heads=4).save_pretrained(copy)
    assert "a bert, describes another model" in refusal(copy)


# --- tokenizers


def test_a_missing_tokenizer_is_refused_and_can_be_named(base, copy):
    (copy / "tokenizer.json").unlink()
    assert f"there is no tokenizer in {copy}" in refusal(copy)
    assert load(f"{copy},tokenizer={base}").located.tokenizer == base


def test_a_folder_without_a_tokenizer_cannot_be_named_as_one(base, tmp_path):
    assert f"there is no tokenizer in {tmp_path}" in refusal(f"{base},tokenizer={tmp_path}")


def test_a_tokenizer_needs_no_model_beside_it(base, tmp_path):
    shutil.copy(base / "tokenizer.json", tmp_path)
    assert load(f"{base},tokenizer={tmp_path}").tokenizer("花开")["input_ids"]


def test_the_adapter_s_tokenizer_takes_precedence_over_the_base_s(base, adapter):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(adapter)
    assert load(adapter).tokenizer.chat_template == "{{ messages }}"
    assert load(f"{adapter},tokenizer={base}").tokenizer.chat_template is None


def test_a_tokenizer_with_more_tokens_than_the_model_embeds_is_refused(base, tmp_path):
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(tmp_path)
    message = refusal(f"{base},tokenizer={tmp_path}")
    assert f"has {len(tokenizer)} tokens" in message
    assert f"embeds only {len(tokenizer) - 1}" in message


@pytest.mark.parametrize("content", ["{", "{}", LFS_POINTER])
def test_a_damaged_tokenizer_is_refused(copy, content):
    (copy / "tokenizer.json").write_text(content)
    message = refusal(copy)
    assert "tokenizer" in message
    assert ("git lfs pull" in message) is (content == LFS_POINTER)


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    sizes = {"vocab_size": 384, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(**sizes, intermediate_size=64, initializer_range=0.5)).save_pretrained(tmp_path / "bert")
    tiny.tokenizer().save_pretrained(tmp_path / "bert")
    assert "not a causal language model" in refusal(tmp_path / "bert")


def test_a_context_in_which_positions_stretch_with_the_longest_prompt_is_refused(tmp_path):
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    folder = tiny.llama(tmp_path / "model", context=64, rope_parameters=rope)
    assert load(folder).max_length == 64
    assert "depend on their order" in refusal(f"{folder},max_length=128")


def test_a_checkpoint_that_changes_while_it_is_read_is_refused(copy, monkeypatch):
    real_load = weights.load

    def load_and_change(located, bar):
        model = real_load(located, bar)
        set_weights(copy / WEIGHTS, lambda w: w["model.norm.weight"][:1].add_(1e-6))
        return model

    monkeypatch.setattr(weights, "load", load_and_change)
    assert "changed while it was read" in refusal(copy)


def test_an_adapter_configuration_that_changed_since_it_was_located_is_refused(adapter, base):
    located = loading.locate(parse(f"{base},adapter={adapter}"))
    set_json(adapter / "adapter_config.json", bias="all")
    with pytest.raises(HarnessError, match="changed while it was waiting to be loaded"):
        loading.load(located)
