"""Generation under the length rules of ChatGLM-6B's ptuning/main.py, and the line that this script writes.

With `--max_source_length 64 --max_target_length 64`, as the script evaluate.sh beside it sets them:

- A prompt is cut on the right to 64 tokens, special tokens included (lines 164-176).
- A reference is cut to 64 tokens, two of them special, so to 62 tokens of text (line 177), and scored as the text that
  these tokens spell.
- `max_length=129` includes the padded prompt. Prompts are padded to the longest prompt of their chunk, the 1,000 rows
  that `datasets.map` passes at once. If that prompt has 64 tokens, 129 - 64 = 65 new tokens may follow; if it has 50
  tokens, 79 may.

Not here: how tokens are drawn (`harness.engine.decoding.sampling`), or which prompts form a chunk
(`harness.tasks.protocols`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance

from harness.backends.backend import Backend
from harness.backends.encoding import Encoder
from harness.backends.request_kinds.generation import GeneratingKind, generate
from harness.backends.work import Work
from harness.engine.requests import Prompt


class ChatGLMPredict(GeneratingKind):
    """`chatglm_predict`: (prompt, generation settings with `lengths`, `labels` and `chunk`) → a line of JSON.

    Each answer is a line `{"labels": …, "predict": …}` of generated_predictions.txt: the cut reference and the
    generated text.
    """

    own_arguments = frozenset({"lengths", "labels", "chunk"})

    def prompts(self, requests: Sequence[Instance], backend: Backend) -> list[Prompt]:
        """Return each request's cut prompt, with a limit on new tokens that follows from upstream's total length."""
        cut = cut_prompts(backend.encoder, _predictions(requests))
        prompts = self.with_settings(requests, [prompt.ids for prompt in cut], backend)
        return [prompt.limited_to(limit.max_new_tokens) for prompt, limit in zip(prompts, cut, strict=True)]

    def answer(self, requests: Sequence[Instance], backend: Backend, work: Work) -> list[str]:
        """Return each request's line of JSON, with the cut reference and the generated text."""
        labels = cut_references(backend.encoder, _predictions(requests))
        predictions = generate(self.prompts(requests, backend), backend, work)
        pairs = zip(labels, predictions, strict=True)
        return [prediction.within(prediction_line(label, prediction)) for label, prediction in pairs]


class Lengths(NamedTuple):
    """Upstream's length limits, in tokens."""

    source: int
    """Limit of a prompt, special tokens included."""
    target: int
    """Limit of a reference, special tokens excluded."""
    total: int
    """Limit of a padded prompt and its answer together."""


class PredictionArguments(NamedTuple):
    """What a request states besides its decoding settings."""

    prompt: str
    lengths: Lengths
    labels: str
    """The whole reference."""
    chunk: Any
    """An object whose `texts` are the prompts padded to one length; the requests with these prompts share it."""

    @classmethod
    def parse(cls, prompt: str, arguments: Mapping[str, Any]) -> PredictionArguments:
        """Return the two arguments of an lm-eval request, parsed."""
        return cls(prompt, Lengths(**arguments["lengths"]), arguments["labels"], arguments["chunk"])


class CutPrompt(NamedTuple):
    """A prompt cut to its limit."""

    ids: list[int]
    max_new_tokens: int
    """Number of tokens that the limit on prompt and answer together leaves for the answer."""


def cut_prompts(encoder: Encoder, requests: Sequence[PredictionArguments]) -> list[CutPrompt]:
    """Return each request's prompt cut to its limit, with the number of tokens that may follow it."""
    keys = [(id(request.chunk), request.lengths) for request in requests]
    chunks = {key: request.chunk for key, request in zip(keys, requests, strict=True)}
    ids = {key: cut_texts(encoder, chunk.texts, key[1].source) for key, chunk in chunks.items()}
    longest = {key: max(len(prompt_ids) for prompt_ids in chunk_ids.values()) for key, chunk_ids in ids.items()}
    return [
        CutPrompt(ids[key][request.prompt], request.lengths.total - longest[key])
        for key, request in zip(keys, requests, strict=True)
    ]


def cut_references(encoder: Encoder, requests: Sequence[PredictionArguments]) -> list[str]:
    """Return each request's reference, cut to its limit, as the text that the remaining tokens spell."""
    ids = encoder.encode((request.labels for request in requests), special=False)
    cut = (ids[request.labels][: request.lengths.target] for request in requests)
    return [str(encoder.tokenizer.decode(reference_ids, skip_special_tokens=True)) for reference_ids in cut]


def cut_texts(encoder: Encoder, texts: Iterable[str], limit: int) -> dict[str, list[int]]:
    """Return the ids of every distinct text, cut on the right to `limit` tokens; special tokens are kept."""
    distinct = list(dict.fromkeys(texts))
    with_special, without_special = encoder.encode(distinct), encoder.encode(distinct, special=False)
    return {text: _cut(with_special[text], without_special[text], limit) for text in distinct}


def prediction_line(labels: str, predict: str) -> str:
    """Return the line that upstream would write to generated_predictions.txt."""
    return json.dumps({"labels": labels.strip(), "predict": predict.strip()}, ensure_ascii=False)


def _predictions(requests: Sequence[Instance]) -> list[PredictionArguments]:
    return [PredictionArguments.parse(*request.args) for request in requests]


def _cut(with_special: list[int], without_special: list[int], limit: int) -> list[int]:
    """Return the token ids of a text, cut to `limit`; its special tokens are kept.

    `with_special` and `without_special` are its ids with and without special tokens.
    """
    surplus = len(with_special) - limit
    if surplus <= 0:
        return with_special
    special = len(with_special) - len(without_special)
    start = next((i for i in range(special + 1) if with_special[i : i + len(without_special)] == without_special), None)
    if start is None:  # special tokens changed how the text is tokenised, so where it ends is unknown
        return with_special[:limit]
    end = start + len(without_special)
    return with_special[: max(start, end - surplus)] + with_special[end:]
