"""Corpora: files of rows (.jsonl, .json, .csv, .tsv, .parquet) → examples → token ids and what of them is learned.

A row is `{"text": …}`, all of which is learned, or `{"prompt": …, "completion": …}`, of which the completion is. Every
example ends with the end-of-text token, and that is learned, too.

Not here: conversations, packing, checks for contamination.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import rows
from harness.errors import HarnessError

IGNORED = -100  # what transformers' loss leaves out


class Example(NamedTuple):
    """A text to learn, after a prompt that is only read."""

    prompt: str
    text: str


class Encoded(NamedTuple):
    """An example as token ids; `labels` are the same ids, or `IGNORED` where nothing is learned."""

    input_ids: list[int]
    labels: list[int]


def read(file: Path) -> list[Example]:
    """Return the examples in a file of rows.

    Raises HarnessError on a file that is not there or holds none, and on a row that is no example, by its line.
    """
    if not file.is_file():
        raise HarnessError(f"there is no corpus {file}: correct the recipe's path")
    if file.suffix not in rows.READERS:
        raise HarnessError(f"the corpus {file} cannot be read: known are {', '.join(rows.READERS)}")
    found = [_example(row) for row in rows.read(file)]
    if not found:
        raise HarnessError(f"the corpus {file} is empty: there is nothing to learn from")
    return found


def _example(row: rows.Row) -> Example:
    columns = row.columns
    prompted, plain = ("prompt" in columns, "completion" in columns), "text" in columns
    prompt, text = columns.get("prompt", ""), columns.get("text" if plain else "completion")
    if prompted != (not plain, not plain) or not (isinstance(prompt, str) and isinstance(text, str) and text):
        raise HarnessError(f'{row.where}, is neither {{"text": …}} nor {{"prompt": …, "completion": …}}: correct it')
    return Example(prompt, text)


def mixture(
    corpora: Mapping[str, Sequence[Example]], weights: Mapping[str, float], count: int, seed: str
) -> Iterator[Example]:
    """Yield `count` examples, so many of each corpus as `weights` says, however short one cuts them off.

    Each corpus is read in an order that `seed` draws, and anew in another order when it is through.
    """
    streams = {name: _endless(corpora[name], f"{seed} {name}") for name in weights}
    total = sum(weights.values())
    given = dict.fromkeys(weights, 0)
    for place in range(1, count + 1):
        # Whoever is furthest behind its share comes next.
        name = max(weights, key=lambda one: weights[one] / total * place - given[one])
        given[name] += 1
        yield next(streams[name])


def _endless(examples: Sequence[Example], seed: str) -> Iterator[Example]:
    rng = random.Random(seed)
    while True:
        yield from rng.sample(examples, len(examples))


def encode(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Encoded]:
    """Return token ids of `examples`, cut off after `max_length`.

    Prompt and text are tokenised together, as they are when the checkpoint is evaluated.
    """
    whole = tokenizer([example.prompt + example.text for example in examples])["input_ids"]
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    found = []
    for ids, prompt in zip(whole, prompts, strict=True):
        # Some tokenizers end every text by themselves.
        ids = ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]
        read_only = len(prompt) - (prompt[-1:] == [tokenizer.eos_token_id])
        labels = [IGNORED] * read_only + ids[read_only:]
        found.append(Encoded(ids[:max_length], labels[:max_length]))
    return found
