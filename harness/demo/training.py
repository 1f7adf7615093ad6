"""A LLaMA of a third of a million parameters from scratch, and a LoRA on it: enough to have something to compare.

Everything random comes from a seed, and the caller's random state is left as it was. Folders are written as
transformers and PEFT write them, so that any tool reads them.

Not here: recipes, evaluation, what is taught (`harness.demo.world`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness import progress

PAD, BOS, EOS, UNK = SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
CONTEXT = 256
BATCH = 32
IGNORED = -100  # what transformers' loss leaves out
RANK = 16


class Schedule(NamedTuple):
    """How to learn: so many steps up to a peak learning rate and down to zero along a cosine."""

    steps: int
    peak: float
    warmup: int = 20

    def rate(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0."""
        rising = (step + 1) / self.warmup
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.peak * min(rising, falling)


def tokenizer(alphabet: Sequence[str]) -> Any:
    """Return a tokenizer with a piece for each character of `alphabet`, and one for all the others."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = {piece: place for place, piece in enumerate((*SPECIAL, *alphabet))}
    made = Tokenizer(models.WordLevel(pieces, unk_token=UNK))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
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
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        initializer_range=0.08,  # for so narrow a model, the usual 0.02 takes many more steps to leave
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,  # what is read is what is answered: copying is learned sooner
        pad_token_id=pieces.pad_token_id,
        bos_token_id=pieces.bos_token_id,
        eos_token_id=pieces.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def with_lora(model: Any, seed: int) -> Any:
    """Return `model` with a fresh LoRA on all its linear layers; only that will learn."""
    import peft

    # A pattern, since PEFT writes a list (or "all-linear") in another order each time, and so changes the fingerprint.
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=r".*_proj", task_type="CAUSAL_LM")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def learn(model: Any, pieces: Any, texts: Sequence[str], schedule: Schedule, title: str, after: str = "") -> None:
    """Train `model` in place to continue `texts`, `BATCH` of them a step, over and over if they do not suffice.

    The loss is over whole texts or, where `after` is given, over what follows its first occurrence in each.
    """
    learnable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnable, betas=(0.9, 0.95), weight_decay=0.1)
    model.train()
    batches = _batches(pieces, texts, after)
    with _one_thread(), progress.bar(title, schedule.steps, unit="steps") as bar:
        for step in range(schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            model(**next(batches)).loss.backward()
            torch.nn.utils.clip_grad_norm_(learnable, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            bar.advance(1)
    model.eval()


def save(model: Any, pieces: Any, folder: Path) -> None:
    """Write a whole checkpoint: weights, configuration, tokenizer."""
    model.save_pretrained(folder)
    pieces.save_pretrained(folder)


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Write the adapter of `model`; `base` is how it names what it belongs to, relative to `folder`."""
    model.peft_config["default"].base_model_name_or_path = base
    # The vocabulary is the base's; to find that out by itself PEFT would look for the base on the hub.
    model.save_pretrained(folder, save_embedding_layers=False)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: so small a model gains little from more, and is the same whatever their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(pieces: Any, texts: Sequence[str], after: str) -> Iterator[dict[str, torch.Tensor]]:
    """Yield keyword arguments of a forward pass for ever; the same texts come in the same batches."""
    while True:
        for start in range(0, len(texts) - BATCH + 1, BATCH):
            yield _batch(pieces, texts[start : start + BATCH], after)


def _batch(pieces: Any, texts: Sequence[str], after: str) -> dict[str, torch.Tensor]:
    rows = [[*ids, pieces.eos_token_id] for ids in pieces(list(texts))["input_ids"]]
    width = max(map(len, rows))
    ids = torch.tensor([row + [pieces.pad_token_id] * (width - len(row)) for row in rows])
    # Padding on the right is behind every token that is learned, so that a causal model needs no attention mask.
    labels = ids.masked_fill(ids == pieces.pad_token_id, IGNORED)
    for row, text in zip(labels, texts, strict=True):
        row[: text.find(after) + len(after)] = IGNORED
    return {"input_ids": ids, "labels": labels}
