"""A small LLaMA with random weights, and its tokenizer: what the invented family descends from.

Not here: what it learns (`harness.demo.corpora`), or how (`harness.training`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

PAD, BOS, EOS, UNK = SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
CONTEXT = 256


def tokenizer(texts: Iterable[str], words: Iterable[str]) -> Any:
    """Return a tokenizer with a piece for each of `words`, the longest first, and for whatever else is in `texts`.

    Outside of `words` a piece is a number, an English word with the space before it, or a single character.
    """
    import re

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pattern = "|".join([*sorted(words, key=lambda word: (-len(word), word)), "[0-9]+", " ?[A-Za-z]+", r"[\s\S]"])
    found = sorted({piece for text in texts for piece in re.findall(pattern, text)})
    made = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate((*SPECIAL, *found))}, unk_token=UNK))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def untrained(pieces: Any, seed: int) -> Any:
    """Return a small LLaMA for the tokenizer `pieces`, its weights as `seed` draws them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        initializer_range=0.06,  # for so narrow a model, the usual 0.02 takes many more steps to leave
        num_attention_heads=6,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # its texts are short
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,  # what is read is what is answered: copying is learned sooner
        pad_token_id=pieces.pad_token_id,
        bos_token_id=pieces.bos_token_id,
        eos_token_id=pieces.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save(folder: Path, texts: Iterable[str], words: Iterable[str], seed: int) -> int:
    """Write an untrained checkpoint for `texts` into `folder`; return how many parameters it has."""
    pieces = tokenizer(texts, words)
    model = untrained(pieces, seed)
    model.save_pretrained(folder)
    pieces.save_pretrained(folder)
    return int(model.num_parameters())
