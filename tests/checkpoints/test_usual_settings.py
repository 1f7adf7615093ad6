"""Settings that published checkpoints state and that trainers save: none of them meets a limit of hostile files.

Each table holds what transformers 4 and 5, the families' own scripts, PEFT from 0.4 on and the trainers around it write
besides the weights. Each entry is located as a whole checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest

from harness.checkpoints import configs, loading, tokenizer_files
from harness.checkpoints.adapters import config as adapter_configs
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support.tampering import set_json
from support.trained_adapters import trained

HUGE = 1000000000000000019884624838656
"""transformers' number for a text without a limit."""


def token(content: str, *, special: bool = True) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}
    return {"content": content, **flags}


def decoder(*contents: str, start: int = 0) -> dict[str, Any]:
    return {str(start + i): token(content) for i, content in enumerate(contents)}


SENTENCEPIECE = {
    "add_bos_token": True,
    "add_eos_token": False,
    "added_tokens_decoder": decoder("<unk>", "<s>", "</s>"),
    "bos_token": "<s>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "</s>",
    "legacy": False,
    "model_max_length": HUGE,
    "padding_side": "right",
    "sp_model_kwargs": {},
    "spaces_between_special_tokens": False,
    "unk_token": "<unk>",
}
OLD_TOKEN = {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": True}
TOKENIZERS: dict[str, dict[str, Any]] = {
    "Llama 2": {
        **SENTENCEPIECE,
        "add_prefix_space": None,
        "bos_token": OLD_TOKEN,
        "chat_template": "{{ messages[0]['content'] }}",
        "pad_token": None,
        "tokenizer_class": "LlamaTokenizer",
        "tokenizer_file": None,
        "use_default_system_prompt": False,
    },
    "Llama 3": {
        "added_tokens_decoder": decoder("<|begin_of_text|>", "<|end_of_text|>", start=128000),
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    },
    "Mistral": {
        **SENTENCEPIECE,
        "additional_special_tokens": [],
        "chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}],
        "extra_special_tokens": {},
        "tokenizer_class": "LlamaTokenizerFast",
    },
    "Qwen 1": {
        "auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]},
        "model_max_length": 8192,
        "tokenizer_class": "QWenTokenizer",
    },
    "Qwen 2.5": {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "added_tokens_decoder": decoder("<|endoftext|>", "<|im_start|>", "<|im_end|>", start=151643),
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    },
    "Qwen 3, saved by transformers 5": {
        "add_prefix_space": False,
        "audio_bos_token": "<|audio_start|>",
        "backend": "tokenizers",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "extra_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "is_local": False,
        "local_files_only": False,
        "model_max_length": 131072,
        "model_specific_special_tokens": {"image_token": "<|image_pad|>"},
        "num_image_token": 256,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "TokenizersBackend",
    },
    "DeepSeek V3": {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": {**OLD_TOKEN, "content": "<｜begin▁of▁sentence｜>"},
        "legacy": True,
        "model_max_length": 131072,
        "pad_token": {**OLD_TOKEN, "content": "<｜end▁of▁sentence｜>"},
        "unk_token": None,
        "tokenizer_class": "LlamaTokenizerFast",
    },
    "Gemma 3": {
        **SENTENCEPIECE,
        "boi_token": "<start_of_image>",
        "extra_special_tokens": {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>"},
        "processor_class": "Gemma3Processor",
        "sp_model_kwargs": None,
        "tokenizer_class": "GemmaTokenizer",
        "use_default_system_prompt": False,
    },
    "Phi 3": {**SENTENCEPIECE, "add_bos_token": False, "tokenizer_class": "LlamaTokenizer"},
    "Phi 4": {"add_prefix_space": False, "model_max_length": 16384, "tokenizer_class": "GPT2TokenizerFast"},
    "GLM 4": {
        "additional_special_tokens": ["<|endoftext|>", "[MASK]", "[gMASK]", "<sop>"],
        "do_lower_case": False,
        "eos_token": "<|user|>",
        "image_size": 1120,
        "model_max_length": 1e30,
        "remove_space": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    },
    "ChatGLM 3": {
        "auto_map": {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]},
        "do_lower_case": False,
        "name_or_path": "THUDM/chatglm3-6b",
        "remove_space": False,
        "tokenizer_class": "ChatGLMTokenizer",
    },
    "Baichuan 2": {
        "add_bos_token": False,
        "add_eos_token": False,
        "auto_map": {"AutoTokenizer": ["tokenization_baichuan.BaichuanTokenizer", None]},
        "bos_token": OLD_TOKEN,
        "model_max_length": 4096,
        "tokenizer_class": "BaichuanTokenizer",
        "use_fast": False,
    },
    "InternLM 2": {
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "decode_with_prefix_space": False,
        "sp_model_kwargs": None,
        "tokenizer_class": "InternLM2Tokenizer",
    },
    "Yi": {**SENTENCEPIECE, "add_bos_token": False, "model_max_length": 4096, "use_fast": False},
    "no limit as -1": {**SENTENCEPIECE, "model_max_length": -1},
    "many added tokens": {"added_tokens_decoder": decoder(*(f"<|{i}|>" for i in range(1000)), start=32000)},
}
STEPS: dict[str, dict[str, Any]] = {
    "characters": {
        "pre_tokenizer": {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False}
    },
    "nothing replaced": {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": ""}},
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.46.3",
    "use_cache": True,
    "vocab_size": 500,
}
YARN = {"beta_fast": 32, "factor": 40, "mscale": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"}
LLAMA3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192}
LONG = {"long_factor": [1.0] * 8, "short_factor": [1.0] * 8, "type": "longrope"}
CONFIGS: dict[str, dict[str, Any]] = {
    "Llama 3.1": {**LLAMA, "eos_token_id": [1, 2], "rope_scaling": {**LLAMA3, "rope_type": "llama3"}},
    "saved by transformers 4.48": {**LLAMA, "_attn_implementation_autoset": True, "_name_or_path": "D://models//base"},
    "trained by VeOmni": {**LLAMA, "_moe_implementation": "fused", "_attn_implementation": "sdpa"},
    "rope_scaling switched off": {**LLAMA, "rope_scaling": False},
    "merged by unsloth": {**LLAMA, "unsloth_fixed": True, "unsloth_version": "2025.8.1", "pad_token_id": 3},
    "Qwen 2.5": {**LLAMA, "model_type": "qwen2", "sliding_window": 131072, "use_sliding_window": False},
    "Qwen 3": {**LLAMA, "model_type": "qwen3", "sliding_window": None, "use_sliding_window": False},
    "Qwen 3, saved by transformers 5": {
        **LLAMA,
        "dtype": "bfloat16",
        "layer_types": ["full_attention", "full_attention"],
        "model_type": "qwen3",
        "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
    },
    "Mistral": {**LLAMA, "model_type": "mistral", "sliding_window": 4096},
    "Gemma 2": {**LLAMA, "model_type": "gemma2", "sliding_window": 4096, "attn_logit_softcapping": 50.0},
    "Phi 3": {
        **LLAMA,
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
        "model_type": "phi3",
        "original_max_position_embeddings": 4096,
        "pad_token_id": 3,
        "rope_scaling": LONG,
        "sliding_window": 262144,
    },
    "DeepSeek V3": {
        **LLAMA,
        "kv_lora_rank": 16,
        "model_type": "deepseek_v3",
        "moe_layer_freq": 1,
        "n_group": 1,
        "n_routed_experts": 8,
        "num_nextn_predict_layers": 1,
        "q_lora_rank": None,
        "quantization_config": None,
        "rope_scaling": YARN,
        "topk_group": 1,
    },
    "GLM 4": {**LLAMA, "model_type": "glm4", "pad_token_id": 3, "partial_rotary_factor": 0.5},
}


def code(model: str) -> dict[str, str]:
    return {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": model}


OF_OTHER_CODE: dict[str, dict[str, Any]] = {
    "Baichuan 2": {
        "_from_model_config": True,
        "auto_map": code("modeling_baichuan.BaichuanForCausalLM"),
        "hidden_size": 4096.0,
        "model_max_length": 4096,
        "model_type": "baichuan",
        "tokenizer_class": "BaichuanTokenizer",
        "z_loss_weight": 0,
    },
    "InternLM 2": {
        "attn_implementation": "eager",
        "auto_map": code("modeling_internlm2.InternLM2ForCausalLM"),
        "model_type": "internlm2",
        "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    },
    "a context without a limit": {
        "auto_map": code("modeling_x.X"),
        "max_position_embeddings": -1,
        "model_type": "x",
        "sliding_window": 4096.0,
    },
}
ADAPTER: dict[str, Any] = {
    "auto_mapping": None,
    "base_model_name_or_path": "org/base",
    "inference_mode": True,
    "revision": None,
    "task_type": "CAUSAL_LM",
}
LORA: dict[str, Any] = {
    **ADAPTER,
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "layers_pattern": None,
    "layers_to_transform": None,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 64,
    "target_modules": ["q_proj", "v_proj"],
}
TODAY = {
    **LORA,
    "alora_invocation_tokens": None,
    "alpha_pattern": {},
    "corda_config": None,
    "eva_config": None,
    "exclude_modules": None,
    "layer_replication": None,
    "loftq_config": {},
    "lora_bias": False,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "peft_version": "0.18.0",
    "qalora_group_size": 16,
    "rank_pattern": {},
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_dora": False,
    "use_qalora": False,
    "use_rslora": False,
}
EXPERTS = [f"model.layers.{i}.mlp.experts.{k}.up_proj" for i in range(60) for k in range(200)]
OF_CHATGLM = {"base_model_class": "ChatGLMForConditionalGeneration", "parent_library": "modeling_chatglm"}
OF_UNSLOTH = {
    "base_model_class": "LlamaForCausalLM",
    "parent_library": "transformers.models.llama.modeling_llama",
    "unsloth_fixed": True,
}
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|v_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|v_proj)))"
)
PROMPTS = {
    "num_attention_heads": 4,
    "num_layers": 2,
    "num_transformer_submodules": 1,
    "num_virtual_tokens": 20,
    "token_dim": 64,
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "PEFT 0.4": LORA,
    "PEFT of today": TODAY,
    "ChatGLM's own script": {**LORA, "auto_mapping": OF_CHATGLM, "task_type": None},
    "a script of a person": {**LORA, "auto_mapping": {**OF_CHATGLM, "parent_library": "__main__"}, "task_type": None},
    "unsloth": {**TODAY, "auto_mapping": OF_UNSLOTH, "target_modules": UNSLOTH},
    "LLaMA-Factory": {**TODAY, "target_modules": r"^(?!.*visual).*(?:q_proj|v_proj|gate_proj).*"},
    "ms-swift": {**TODAY, "target_modules": r"^(model)(?=\.).*\.(q_proj|k_proj|v_proj)$", "modules_to_save": []},
    "axolotl": {**TODAY, "base_model_name_or_path": "/workspace/基座　模型", "modules_to_save": ["embed_tokens"]},
    "Windows": {**TODAY, "base_model_name_or_path": "D://models//Qwen"},
    "a cluster": {**TODAY, "base_model_name_or_path": "hdfs://home/models/qwen"},
    "DoRA": {**TODAY, "use_dora": True, "rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 16.0}},
    "CorDA": {
        **TODAY,
        "corda_config": {"cache_file": "/data/cache.pt", "corda_method": "kpm", "covariance_file": None},
    },
    "PiSSA": {**TODAY, "init_lora_weights": "pissa_niter_16"},
    "an extended vocabulary": {**TODAY, "trainable_token_indices": {"embed_tokens": list(range(32000, 55296))}},
    "experts by name": {**TODAY, "target_modules": EXPERTS},
    "AdaLoRA": {
        **LORA,
        "beta1": 0.85,
        "deltaT": 10,
        "init_r": 12,
        "peft_type": "ADALORA",
        "r": 8,
        "rank_pattern": {f"{name}.lora_E": [True] * 7 + [False] * 5 for name in EXPERTS[:100]},
        "target_r": 8,
        "tfinal": 1000,
        "tinit": 200,
        "total_step": 5_000_000,
    },
    "IA3": {
        **ADAPTER,
        "feedforward_modules": ["down_proj"],
        "init_ia3_weights": True,
        "peft_type": "IA3",
        "target_modules": ["k_proj", "v_proj", "down_proj"],
    },
    "VeRA": {
        **ADAPTER,
        "d_initial": 0.1,
        "peft_type": "VERA",
        "projection_prng_key": 2**40,
        "r": 1024,
        "save_projection": False,
        "target_modules": ["q_proj"],
    },
    "LoKr of full rank": {**ADAPTER, "peft_type": "LOKR", "r": 10_000, "target_modules": ["q_proj"]},
    "prefix": {
        **ADAPTER,
        **PROMPTS,
        "encoder_hidden_size": 64,
        "peft_type": "PREFIX_TUNING",
        "prefix_projection": False,
    },
    "P-tuning": {
        **ADAPTER,
        **PROMPTS,
        "encoder_dropout": 0.0,
        "encoder_hidden_size": 128,
        "encoder_reparameterization_type": "MLP",
        "peft_type": "P_TUNING",
    },
    "prompt": {
        **ADAPTER,
        **PROMPTS,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": "https://example.org says:\n情感分类\n",
        "tokenizer_kwargs": None,
        "tokenizer_name_or_path": "org/base",
    },
}


def written(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_as_published_is_found(copy: Path, name: str) -> None:
    content = TOKENIZERS[name]
    written(copy / "tokenizer_config.json", content)
    special = {key: value for key, value in content.items() if key.endswith(("bos_token", "eos_token"))}
    written(copy / "special_tokens_map.json", {**special, "additional_special_tokens": ["<a>", token("<b>")]})
    written(copy / "added_tokens.json", {"<|im_end|>": 151645, "use_kernels": 5, "attn_implementation": 6})
    assert loading.locate(parse(f"{copy},device=cpu")).tokenizer == copy


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_does_little_is_loaded(copy: Path, name: str) -> None:
    set_json(copy / "tokenizer.json", **STEPS[name])
    tokenizer = tokenizer_files.load(tokenizer_files.checked(copy, is_trusted=False), is_trusted=False)
    assert tokenizer_files.ids(tokenizer, ["一 text " * 1000])[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_as_published_is_found(copy: Path, name: str) -> None:
    written(copy / "config.json", CONFIGS[name])
    located = loading.locate(parse(f"{copy},device=cpu"))
    assert located.config.model_type == CONFIGS[name]["model_type"]
    assert located.max_length == 131072


@pytest.mark.parametrize("name", OF_OTHER_CODE)
def test_a_configuration_with_code_of_its_own_only_lacks_trust(copy: Path, name: str) -> None:
    written(copy / "config.json", OF_OTHER_CODE[name])
    with pytest.raises(HarnessError, match="it needs Python code of its own"):
        configs.read(copy, parse(f"{copy},device=cpu"))


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_as_saved_is_found(adapter: Path, base: Path, name: str) -> None:
    written(adapter / "adapter_config.json", ADAPTERS[name])
    located = loading.locate(parse(f"{base},adapter={adapter},device=cpu"))
    assert located.adapter_config is not None
    assert located.adapter_config.method == ADAPTERS[name]["peft_type"]


@pytest.mark.parametrize(("size", "rank"), [(10**6, 2048), (10**5, 1024)])
def test_a_pickled_adapter_may_have_the_rank_that_its_size_allows(tmp_path: Path, size: int, rank: int) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"\0" * size)
    written(tmp_path / "adapter_config.json", {**LORA, "r": rank})
    assert adapter_configs.read(tmp_path).method == "LORA"


def test_a_finished_adalora_answers(base: Path, tmp_path: Path) -> None:
    method = peft.AdaLoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM", total_step=10, init_r=4, target_r=2)
    method.rank_pattern = {
        f"model.layers.{i}.self_attn.q_proj.lora_E.default": [True, False, True, False] for i in range(2)
    }
    folder = trained(tmp_path / "adapter", base, method)
    stated = json.loads((folder / "adapter_config.json").read_text())["rank_pattern"]
    assert all(isinstance(mask, list) for mask in stated.values())
    assert loading.load(loading.locate(parse(f"{folder},device=cpu"))).adapter_effect


def test_the_class_of_the_base_is_never_imported(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "canary_of_the_base.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    mapping = {"base_model_class": "X", "parent_library": "canary_of_the_base"}
    set_json(adapter / "adapter_config.json", auto_mapping=mapping, task_type=None)
    assert loading.load(loading.locate(parse(f"{adapter},device=cpu"))).adapter_effect
