"""Continuations on the plain walk: prompts decoded by transformers' generate() in left-padded batches.

For models whose cache cannot be cut up as `harness.engine.decoding.lanes` does; each row goes on until its own stop,
and the batch until its last.

Not here: text templates, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.engine.decoding.sampling import Chooser, generator
from harness.engine.decoding.stopping import Continuation, Stopper
from harness.engine.requests import Prompt, require_room


def plan(prompts: Sequence[Prompt], max_length: int, batch_tokens: int, *, mixed: bool = True) -> list[list[int]]:
    """Return batches of request indices: one setting each, at most `batch_tokens` of prompt and answer, longest first.

    Unless `mixed`, only prompts of one length share a batch. Raises HarnessError where the answer alone would fill the
    context.
    """
    require_room(prompts, max_length)
    lengths = [len(prompt.fed(max_length)) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i].settings.digest, -lengths[i], prompts[i].ids))
    batches: list[list[int]] = []
    for index in order:
        first = batches[-1][0] if batches else index
        width = lengths[first] + prompts[first].settings.max_tokens
        fits = prompts[first].settings == prompts[index].settings and (mixed or lengths[first] == lengths[index])
        if batches and fits and (len(batches[-1]) + 1) * width <= batch_tokens:
            batches[-1].append(index)
        else:
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
    prompts = [prompt.fed(max_length) for prompt in batch]
    width = max(len(ids) for ids in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    device = next(model.parameters()).device
    width += root.length
    stop = _Stop(Stopper(tokenizer, how.until, eos_ids), width, batch)
    plain_greedy = not how.temperature and how.repetition_penalty == 1.0
    chosen = [] if plain_greedy else [_Chosen(Chooser(how), batch, prompts, seed, width)]
    with torch.inference_mode():
        output = model.generate(
            **root.prompts(ids.to(device), mask.to(device)),
            generation_config=GenerationConfig(
                max_new_tokens=how.max_tokens, do_sample=False, num_beams=1, pad_token_id=0, use_cache=True
            ),
            logits_processor=LogitsProcessorList(chosen),
            stopping_criteria=StoppingCriteriaList([stop]),
        )
    for asked, row, length in zip(
        batch, output[:, width:].tolist(), stop.lengths(output.shape[1] - width), strict=True
    ):
        yield stop.stopper.finish(row[:length], thinking=asked.thinking)


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends each row where its stopper says so; `width` is where answers begin."""

    def __init__(self, stopper: Stopper, width: int, batch: Sequence[Prompt]) -> None:
        self.stopper, self._width = stopper, width
        self._ends: list[int | None] = [None] * len(batch)
        for row, prompt in enumerate(batch):
            stopper.watch(row, thinking=prompt.thinking)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        length = input_ids.shape[1] - self._width
        going_on = [i for i, end in enumerate(self._ends) if end is None]
        tokens = input_ids[going_on, self._width :].tolist()
        for i, ended in zip(going_on, self.stopper.ended(going_on, tokens), strict=True):
            if ended:
                self._ends[i] = length
        return torch.tensor([end is not None for end in self._ends], device=input_ids.device)

    def lengths(self, longest: int) -> list[int]:
        """Return how many tokens each row has of its own."""
        return [longest if end is None else end for end in self._ends]


class _Chosen(LogitsProcessor):  # type: ignore[misc]
    """Leaves the token that the chooser takes as the only possible one."""

    def __init__(
        self, chooser: Chooser, batch: Sequence[Prompt], prompts: list[list[int]], seed: int, width: int
    ) -> None:
        self._chooser, self._prompts, self._width = chooser, prompts, width
        self._generators = [generator(seed, prompt) for prompt in batch]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        answers = input_ids[:, self._width :].tolist()
        ids = [[*prompt, *answer] for prompt, answer in zip(self._prompts, answers, strict=True)]
        drawn = torch.tensor(self._chooser.next(scores.float(), ids, self._generators), device=scores.device)
        return torch.full_like(scores, float("-inf")).scatter(1, drawn[:, None], 0.0)
