"""Answers under the length rules of ChatGLM-6B's ptuning/main.py: what is cut, how much may follow, the line it writes.

With `--max_source_length 64 --max_target_length 64`, as its evaluate.sh has them:

- A prompt is cut on the right to 64 tokens, the special ones among them (lines 164-176).
- A reference is cut to 64 tokens, two of them special, so to 62 of text (line 177), and scored as the text these spell.
- `max_length=129` counts the prompt as it was padded: to the longest of its chunk, the 1,000 rows that `datasets.map`
  hands over at once. Where that one fills its 64 tokens, 129 - 64 = 65 new tokens may follow; where it has 50, 79.

Not here: how tokens are drawn (`harness.engine.decoding.sampling`), which prompts are a chunk
(`harness.tasks.protocols`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.backends.encoding import Encoder


class Lengths(NamedTuple):
    """How long things may be, in tokens."""

    source: int
    """Of a prompt, special tokens among them."""
    target: int
    """Of a reference, without special tokens."""
    total: int
    """Of a padded prompt and its answer."""


class Asked(NamedTuple):
    """What such a request asks for beside the settings of a generation."""

    prompt: str
    lengths: Lengths
    labels: str
    """The whole reference."""
    chunk: Any
    """The prompts that are padded to one length, this one among them, as `texts`; the same object for all of them."""

    @classmethod
    def of(cls, prompt: str, how: Mapping[str, Any]) -> Asked:
        """Return what the two arguments of a request say."""
        return cls(prompt, Lengths(**how["lengths"]), how["labels"], how["chunk"])


class Room(NamedTuple):
    """A prompt as it is read, and what is left for its answer."""

    ids: list[int]
    new_tokens: int


def rooms(encoder: Encoder, asked: Sequence[Asked]) -> list[Room]:
    """Return each prompt cut, with the number of tokens that may follow it."""
    chunks = {(id(one.chunk), one.lengths): one for one in asked}
    found = {key: shortened(encoder, one.chunk.texts, one.lengths.source) for key, one in chunks.items()}
    widest = {key: max(len(ids) for ids in read.values()) for key, read in found.items()}
    keys = [(id(one.chunk), one.lengths) for one in asked]
    return [Room(found[key][one.prompt], one.lengths.total - widest[key]) for key, one in zip(keys, asked, strict=True)]


def references(encoder: Encoder, asked: Sequence[Asked]) -> list[str]:
    """Return each reference as the text that its first tokens spell."""
    ids = encoder.encode((one.labels for one in asked), special=False)
    kept = (ids[one.labels][: one.lengths.target] for one in asked)
    return [str(encoder.tokenizer.decode(some, skip_special_tokens=True)) for some in kept]


def shortened(encoder: Encoder, texts: Iterable[str], limit: int) -> dict[str, list[int]]:
    """Return the ids of every distinct text, its end cut off so that they are `limit` with the special ones kept."""
    distinct = list(dict.fromkeys(texts))
    whole, bare = encoder.encode(distinct), encoder.encode(distinct, special=False)
    return {text: _cut(whole[text], bare[text], limit) for text in distinct}


def _cut(whole: list[int], bare: list[int], limit: int) -> list[int]:
    surplus = len(whole) - limit
    if surplus <= 0:
        return whole
    special = len(whole) - len(bare)
    start = next((i for i in range(special + 1) if whole[i : i + len(bare)] == bare), None)
    if start is None:  # the special tokens changed how the text is read: there is no end of it to find
        return whole[:limit]
    end = start + len(bare)
    return whole[: max(start, end - surplus)] + whole[end:]


def line(labels: str, predict: str) -> str:
    """Return upstream's line of a generated_predictions.txt."""
    return json.dumps({"labels": labels.strip(), "predict": predict.strip()}, ensure_ascii=False)
