"""Continuations on the plain walk: prompts decoded by transformers' `generate()` in left-padded batches.

This is for models whose cache cannot be rearranged in lanes (`harness.engine.decoding.lanes`). Each answer ends at its
own stop, and the batch when its last answer has ended.

Not here: text templates, the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model, Tokenizer
from harness.engine.decoding.sampling import Chooser, generator
from harness.engine.decoding.stopping import Continuation, Stopper
from harness.engine.decoding.thinking import KNOWN, Marks
from harness.engine.requests import Prompt, require_room


def plan(prompts: Sequence[Prompt], max_length: int, batch_tokens: int, *, mixed: bool = True) -> list[list[int]]:
    """Return batches of request indices, longest prompts first.

    The prompts of a batch share their settings, and have at most `batch_tokens` tokens, answers and padding included.
    Unless `mixed`, they also have the same length. Raises HarnessError if an answer alone could fill the context.
    """
    require_room(prompts, max_length)
    lengths = [len(prompt.fed_tokens(max_length)) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (prompts[i].settings.canonical_json, -lengths[i], prompts[i].ids))
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
    model: Model,
    tokenizer: Tokenizer,
    batch: Sequence[Prompt],
    eos_ids: Sequence[int],
    max_length: int,
    seed: int,
    root: RootCache = EMPTY,
    marks: Sequence[Marks] = KNOWN,
) -> Iterator[Continuation]:
    """Yield, in order, the continuation of every prompt in `batch`; all share their settings and start after `root`.

    A prompt that leaves no room for its answer loses tokens on its left, as in lm-eval.
    """
    settings = batch[0].settings
    prompts = [prompt.fed_tokens(max_length) for prompt in batch]
    width = max(len(ids) for ids in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    device = next(model.parameters()).device
    width += root.length
    stop = _Stop(Stopper(tokenizer, settings.until, eos_ids, marks), width, batch)
    is_plain_greedy = not settings.temperature and settings.repetition_penalty == 1.0
    processors = [] if is_plain_greedy else [_OnlyChosen(Chooser(settings), batch, prompts, seed, width)]
    with torch.inference_mode():
        output = model.generate(
            **root.prompts(ids.to(device), mask.to(device)),
            generation_config=GenerationConfig(
                max_new_tokens=settings.max_tokens, do_sample=False, num_beams=1, pad_token_id=0, use_cache=True
            ),
            logits_processor=LogitsProcessorList(processors),
            stopping_criteria=StoppingCriteriaList([stop]),
        )
    for request, answer, end in zip(batch, output[:, width:].tolist(), stop.ends, strict=True):
        yield stop.stopper.finish(answer[:end], thinking=request.thinking, ended=end is not None)


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch when the `stopper` says so; answers begin at column `width`."""

    def __init__(self, stopper: Stopper, width: int, batch: Sequence[Prompt]) -> None:
        self.stopper, self._width = stopper, width
        self.ends: list[int | None] = [None] * len(batch)
        """The number of tokens at which each row ended; None while it has not."""
        for row, prompt in enumerate(batch):
            stopper.watch(row, thinking=prompt.thinking)

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        length = input_ids.shape[1] - self._width
        running = [i for i, end in enumerate(self.ends) if end is None]
        tokens = input_ids[running, self._width :].tolist()
        for i, has_ended in zip(running, self.stopper.ended(running, tokens), strict=True):
            if has_ended:
                self.ends[i] = length
        return torch.tensor([end is not None for end in self.ends], device=input_ids.device)


class _OnlyChosen(LogitsProcessor):  # type: ignore[misc]
    """Gives every token except the one that `chooser` chooses a probability of 0."""

    def __init__(
        self, chooser: Chooser, batch: Sequence[Prompt], prompts: list[list[int]], seed: int, width: int
    ) -> None:
        self._chooser, self._prompts, self._width = chooser, prompts, width
        self._generators = [generator(seed, prompt) for prompt in batch]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        answers = input_ids[:, self._width :].tolist()
        ids = [[*prompt, *answer] for prompt, answer in zip(self._prompts, answers, strict=True)]
        tokens = torch.tensor(self._chooser.next(scores.float(), ids, self._generators), device=scores.device)
        return torch.full_like(scores, float("-inf")).scatter(1, tokens[:, None], 0.0)
