"""Continuations: prompts decoded in left-padded batches of bounded tokens, each row until its own stop.

Greedy decoding takes the argmax. Sampling draws every request's tokens from a generator seeded by (seed, prompt,
sample), so that sampled text depends on neither the batch nor the order. What the model's own generation_config would
add (a repetition penalty, a temperature) is not applied: the task's settings are the protocol.

Not here: text templates, the journal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from harness.checkpoints.prompts import EMPTY, RootCache
from harness.engine import thinking
from harness.engine.thinking import CLOSE, OPEN
from harness.errors import HarnessError

DEFAULT_MAX_TOKENS = 256  # lm-eval's, where a task names none
_NEUTRAL = {"num_beams": 1, "use_cache": True, "repetition_penalty": 1.0}
_NO_THOUGHT = -1
MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Settings:
    """How a continuation is decoded; `temperature` 0 is greedy."""

    until: tuple[str, ...] = ()
    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0

    @property
    def digest(self) -> str:
        """A canonical spelling, for keys."""
        return json.dumps(asdict(self), sort_keys=True)


class Prompt(NamedTuple):
    """Token ids to continue, how, and which of several samples this is."""

    ids: list[int]
    settings: Settings
    sample: int = 0
    thinking: bool = False
    """The prompt leaves a thought open, so that the answer begins in its middle."""


class Continuation(NamedTuple):
    """The text up to the first stop string outside a thought, and how many tokens were decoded for it."""

    text: str
    tokens: int


def settings(gen_kwargs: Mapping[str, Any], eos: str | None) -> Settings:
    """Return the settings that lm-eval's `generation_kwargs` spell; `eos` is the end-of-text token as text.

    Raises HarnessError on a setting that this decoder does not know, so that none is silently dropped.
    """
    given = {key: value for key, value in gen_kwargs.items() if value is not None}
    until = given.pop("until", [])
    until = [until] if isinstance(until, str) else list(until)
    limits = [int(value) for key in MAX_TOKENS if (value := given.pop(key, None)) is not None]
    temperature = float(given.pop("temperature", 0.0))
    sample = given.pop("do_sample", temperature > 0)
    top_p, top_k = float(given.pop("top_p", 1.0)), int(given.pop("top_k", 0))
    for key, value in given.items():
        if key not in _NEUTRAL or _NEUTRAL[key] != value:
            raise HarnessError(f"the task decodes with {key}={value!r}, which this decoder does not know")
    if limits and limits[0] < 1:
        raise HarnessError(f"the task asks for {limits[0]} new tokens: correct its max_gen_toks")
    return Settings(
        until=tuple(text for text in dict.fromkeys([*until, eos]) if text),
        max_tokens=limits[0] if limits else DEFAULT_MAX_TOKENS,
        temperature=(temperature or 1.0) if sample else 0.0,
        top_p=top_p if sample else 1.0,
        top_k=top_k if sample else 0,
    )


def plan(prompts: Sequence[Prompt], max_length: int, batch_tokens: int) -> list[list[int]]:
    """Return batches of request indices: one setting each, at most `batch_tokens` of prompt and answer, longest first.

    Raises HarnessError where the answer alone would fill the context.
    """
    for prompt in prompts:
        if prompt.settings.max_tokens >= max_length:
            raise HarnessError(
                f"a task asks for up to {prompt.settings.max_tokens:,} new tokens, but the context is {max_length:,}: "
                "nothing is left for the prompt; set max_length= if the model can take more"
            )
    order = sorted(
        range(len(prompts)), key=lambda i: (prompts[i].settings.digest, -len(prompts[i].ids), prompts[i].ids)
    )
    batches: list[list[int]] = []
    for index in order:
        first = prompts[batches[-1][0]] if batches else None
        if first is not None and first.settings == prompts[index].settings:
            width = min(len(first.ids), max_length - first.settings.max_tokens) + first.settings.max_tokens
            if (len(batches[-1]) + 1) * width <= batch_tokens:
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches


def decode(
    model: Any,
    tokenizer: Any,
    batch: Sequence[Prompt],
    eos_ids: Sequence[int],
    max_length: int,
    seed: int,
    root: RootCache = EMPTY,
) -> Iterator[Continuation]:
    """Yield the continuation of every prompt in `batch` (all of one setting), in order, each starting from `root`.

    A prompt that leaves no room for the answer loses tokens on its left, as in lm-eval.
    """
    how = batch[0].settings
    prompts = [prompt.ids[-(max_length - how.max_tokens) :] for prompt in batch]
    width = max(len(ids) for ids in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    device = next(model.parameters()).device
    width += root.length
    stop = _Stop(tokenizer, how.until, frozenset(eos_ids), width, [prompt.thinking for prompt in batch])
    sampling = [_Seeded(how, [_generator(seed, prompt) for prompt in batch])] if how.temperature else []
    with torch.inference_mode():
        output = model.generate(
            **root.prompts(ids.to(device), mask.to(device)),
            generation_config=GenerationConfig(
                max_new_tokens=how.max_tokens, do_sample=False, num_beams=1, pad_token_id=0, use_cache=True
            ),
            logits_processor=LogitsProcessorList(sampling),
            stopping_criteria=StoppingCriteriaList([stop]),
        )
    lengths = stop.lengths(output.shape[1] - width)
    for asked, row, length in zip(batch, output[:, width:].tolist(), lengths, strict=True):
        parts = thinking.split(_text(tokenizer, row[:length]), asked.thinking)
        yield Continuation(parts.thought + cut(parts.answer, how.until), length)


def _text(tokenizer: Any, ids: list[int]) -> str:
    """Return `ids` as text without special tokens, but with the marks of a thought where they are special."""
    special = set(tokenizer.all_special_ids)
    marks = {tokenizer.convert_tokens_to_ids(mark) for mark in (thinking.OPEN, thinking.CLOSE)} & special
    if not marks.intersection(ids):
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    return str(tokenizer.decode([i for i in ids if i in marks or i not in special]))


def cut(text: str, until: Sequence[str]) -> str:
    """Return `text` before the first of the stop strings `until`."""
    for stop in until:
        text = text.split(stop)[0]
    return text


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends a row at an end-of-text token or once its last tokens spell a stop string outside a thought.

    `thinking` tells the rows whose prompt left a thought open.
    """

    def __init__(
        self, tokenizer: Any, until: Sequence[str], eos_ids: frozenset[int], width: int, thinking: Sequence[bool]
    ) -> None:
        self._tokenizer, self._until, self._eos, self._width = tokenizer, until, eos_ids, width
        self._ends: list[int | None] = [None] * len(thinking)
        # Where to look for the answer after a thought, in tokens of the row; None while it thinks.
        self._since: list[int | None] = [None if thinks else _NO_THOUGHT for thinks in thinking]
        # Two tokens more than the string's own: the model may spell it with other pieces.
        watched = (*until, OPEN, CLOSE)
        self._look_back = max(len(tokenizer.encode(s, add_special_tokens=False)) + 2 for s in watched)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        length = input_ids.shape[1] - self._width
        open_rows = [i for i, end in enumerate(self._ends) if end is None]
        tails = input_ids[open_rows, self._width :][:, -self._look_back :].tolist()
        for i, tail, text in zip(open_rows, tails, self._tokenizer.batch_decode(tails), strict=True):
            answer = self._answer(i, input_ids[i, self._width :], text)
            if tail[-1] in self._eos or any(stop in answer for stop in self._until):
                self._ends[i] = length
        return torch.tensor([end is not None for end in self._ends], device=input_ids.device)

    def _answer(self, row: int, tokens: torch.Tensor, text: str) -> str:
        """Return what belongs to the answer of `text`, the end of a row's `tokens`; "" within a thought."""
        since = self._since[row]
        if since == _NO_THOUGHT:
            if len(tokens) > self._look_back or not text.lstrip().startswith(OPEN):
                return text
            since = None
        if since is None and CLOSE in text:
            since = max(0, len(tokens) - self._look_back)
        self._since[row] = since
        if since is None:
            return ""
        return str(self._tokenizer.decode(tokens[since:].tolist())).rsplit(CLOSE, 1)[-1].lstrip()

    def lengths(self, longest: int) -> list[int]:
        """Return how many tokens each row has of its own."""
        return [longest if end is None else end for end in self._ends]


class _Seeded(LogitsProcessor):  # type: ignore[misc]
    """Samples with one generator a row and leaves the chosen token as the only possible one."""

    def __init__(self, how: Settings, generators: list[torch.Generator]) -> None:
        self._generators = generators
        self._warpers = LogitsProcessorList([TemperatureLogitsWarper(how.temperature)])
        if how.top_k:
            self._warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p < 1:
            self._warpers.append(TopPLogitsWarper(how.top_p))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        odds = self._warpers(input_ids, scores.float()).softmax(-1).cpu()
        drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(odds, self._generators, strict=True)]
        only = torch.full_like(scores, float("-inf"))
        return only.scatter(1, torch.stack(drawn).to(scores.device), 0.0)


def _generator(seed: int, prompt: Prompt) -> torch.Generator:
    digest = hashlib.sha256(json.dumps([seed, prompt.sample, prompt.ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
