"""Training corpora: files of rows (.jsonl, .json, .csv, .tsv, .parquet) → examples → token ids and labels.

A row is `{"text": …}`, whose whole text is learned, or `{"prompt": …, "completion": …}`, of which only the completion
is learned. Every example ends with the end-of-text token, which is learned, too.

Not here: conversations, packing, checks for contamination.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.checkpoints.types import Tokenizer
from harness.data import rows
from harness.errors import HarnessError

IGNORED = -100
"""The label of tokens that are not learned; the loss in transformers ignores it."""


class Example(NamedTuple):
    """A text to learn, after a prompt that is not learned."""

    prompt: str
    text: str


class Encoded(NamedTuple):
    """An example as token ids; `labels` are the same ids, or `IGNORED` for tokens that are not learned."""

    input_ids: list[int]
    labels: list[int]


def read(file: Path) -> list[Example]:
    """Return the examples in a file of rows.

    Raises HarnessError if the file is missing or empty, or if a row is not an example (the message names its line).
    """
    if not file.is_file():
        raise HarnessError(f"there is no corpus {file}: correct the recipe's path")
    if not rows.is_supported(file):
        raise HarnessError(f"the corpus {file} cannot be read: supported are {', '.join(rows.READERS)}")
    examples = [_example(row) for row in rows.read(file)]
    if not examples:
        raise HarnessError(f"the corpus {file} is empty: there is nothing to learn from")
    return examples


def _example(row: rows.Row) -> Example:
    columns = row.columns
    has_pair, is_plain = ("prompt" in columns, "completion" in columns), "text" in columns
    prompt, text = columns.get("prompt", ""), columns.get("text" if is_plain else "completion")
    if has_pair != (not is_plain, not is_plain) or not (isinstance(prompt, str) and isinstance(text, str) and text):
        raise HarnessError(f'{row.where}, is neither {{"text": …}} nor {{"prompt": …, "completion": …}}: correct it')
    return Example(prompt, text)


def mixture(
    corpora: Mapping[str, Sequence[Example]], weights: Mapping[str, float], count: int, seed: str
) -> Iterator[Example]:
    """Yield `count` examples, from each corpus in proportion to its weight.

    The first n examples have these proportions, too, for any n. Each corpus is read in a random order drawn from
    `seed`, and read again in another order when it is exhausted.
    """
    streams = {name: _endless(corpora[name], f"{seed} {name}") for name in weights}
    total = sum(weights.values())
    drawn = dict.fromkeys(weights, 0)
    for place in range(1, count + 1):
        # The corpus that is furthest behind its share comes next.
        name = max(weights, key=lambda corpus: weights[corpus] / total * place - drawn[corpus])
        drawn[name] += 1
        yield next(streams[name])


def _endless(examples: Sequence[Example], seed: str) -> Iterator[Example]:
    rng = random.Random(seed)
    while True:
        yield from rng.sample(examples, len(examples))


def encode(examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> list[Encoded]:
    """Return the token ids of `examples`, each cut to `max_length` tokens.

    Prompt and text are tokenised together, as they are when the checkpoint is evaluated.
    """
    whole = tokenizer([example.prompt + example.text for example in examples])["input_ids"]
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    result = []
    for ids, prompt in zip(whole, prompts, strict=True):
        # Some tokenizers add the end-of-text token to every text themselves.
        ids = ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]
        prompt_length = len(prompt) - (prompt[-1:] == [tokenizer.eos_token_id])
        labels = [IGNORED] * prompt_length + ids[prompt_length:]
        result.append(Encoded(ids[:max_length], labels[:max_length]))
    return result
