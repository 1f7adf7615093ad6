"""A small LLaMA with random weights, and its tokenizer: the checkpoint from which the demo's family is trained.

Not here: on what (`harness.demo.corpora`) and how (`harness.training`) the model is trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from harness.checkpoints.types import Model, Tokenizer

PAD, BOS, EOS, UNK = SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
CONTEXT = 256
"""The length of the longest text that the model reads, in tokens."""
SIZES = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 6}
"""The sizes of the model, by their names in transformers' configuration."""


def train_tokenizer(texts: Iterable[str], words: Iterable[str]) -> Tokenizer:
    """Return a tokenizer with a token for each of `words`, and with tokens for the rest of `texts`.

    Longer words are matched first. In the rest, a token is a number, an English word with the space before it, or a
    single character.
    """
    import re

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pattern = "|".join([*sorted(words, key=lambda word: (-len(word), word)), "[0-9]+", " ?[A-Za-z]+", r"[\s\S]"])
    pieces = sorted({piece for text in texts for piece in re.findall(pattern, text)})
    backend = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate((*SPECIAL, *pieces))}, unk_token=UNK))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def untrained(tokenizer: Tokenizer, seed: int) -> Model:
    """Return a small LLaMA for `tokenizer` with random weights drawn from `seed`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **SIZES,
        initializer_range=0.06,  # in so narrow a model the usual 0.02 costs many more training steps
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # texts are short
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,  # answers are copied from prompts: shared embeddings learn that sooner
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save(folder: Path, texts: Iterable[str], words: Iterable[str], seed: int) -> int:
    """Write an untrained checkpoint with a tokenizer for `texts` to `folder`; return its number of parameters."""
    tokenizer = train_tokenizer(texts, words)
    model = untrained(tokenizer, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())
