"""Tiny checkpoints with random weights, for tests in which only equality matters.

Weights vary widely (`initializer_range`), so that logits differ by whole units and a wrong token is visible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

TEXTS = [
    "The quick brown fox jumps over the lazy dog. Question: what is 12 + 30? Answer: 42",
    "以下是中国关于法律的单项选择题，请选出其中的正确答案。A. 甲 B. 乙 C. 丙 D. 丁 答案：",
    "春天的花开了，小明买了三个苹果和两个梨，一共花了十五元。",
]


def tokenizer() -> Any:
    """Return a byte-level BPE with BOS, EOS and PAD, trained on a few invented sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def bench_tokenizer(data: Path) -> Any:
    """Return the 32k BPE that is stored beside the real data."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(data / "bench-tokenizer")


def llama(folder: Path, words: Any | None = None, *, seed: int = 0, context: int = 512, **changes: Any) -> Path:
    """Save a LLaMA with grouped-query attention and the tokenizer `words` in `folder`; return the folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    words = words or tokenizer()
    sizes = {
        "vocab_size": len(words),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "initializer_range": 0.3,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(**{**sizes, **changes}))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def lora(folder: Path, base: Path, *, seed: int = 1, zero: bool = False, named: str | None = None) -> Path:
    """Save a LoRA on `base` in `folder`, trained or, with `zero`, as before training; return the folder.

    `named` is the adapter's name for its base, by default the path.
    """
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapted = peft.get_peft_model(model, config)
        if not zero:
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.1)
    adapted.peft_config["default"].base_model_name_or_path = named or str(base)
    adapted.save_pretrained(folder)
    return folder
