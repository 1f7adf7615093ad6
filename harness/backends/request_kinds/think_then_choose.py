"""Two dependent passes: generate a chain of thought, then choose a letter after reading it."""

from __future__ import annotations

from collections.abc import Sequence

from lm_eval.api.instance import Instance

from harness.backends.backend import Backend
from harness.backends.letters import LETTERS
from harness.backends.request_kinds.generation import GeneratingKind, generate
from harness.backends.work import Work
from harness.engine.requests import Pair, Prompt


class ThinkThenChoose(GeneratingKind):
    """`think_then_choose`: (prompt, generation settings with `then`) → thought, connecting text and letter.

    The text generated after the prompt is put between the two parts of `then`. The letter from A to D whose first token
    has the largest logit after this text is chosen, as in ChatGLM2-6B's evaluate_ceval.py. The thought contains no
    special tokens, whereas upstream decodes special tokens and the padding of its batches into the second prompt.
    """

    shares_beginnings = True
    own_arguments = frozenset({"then"})

    def prompts(self, requests: Sequence[Instance], backend: Backend) -> list[Prompt]:
        """Return the first pass's prompts; all samples of one request share one chain of thought."""
        return [prompt._replace(sample=0) for prompt in super().prompts(requests, backend)]

    def answer(self, requests: Sequence[Instance], backend: Backend, work: Work) -> list[str]:
        """Generate the thoughts of all requests, then score the letters of all of them."""
        thoughts = generate(self.prompts(requests, backend), backend, work)
        surroundings = [request.args[1]["then"] for request in requests]
        second_prompts = [
            f"{before}{thought}{after}" for (before, after), thought in zip(surroundings, thoughts, strict=True)
        ]
        letters = _choose_letters(second_prompts, backend)
        return [
            thought.within(f"{thought}{after}{letter}")
            for thought, (_, after), letter in zip(thoughts, surroundings, letters, strict=True)
        ]


def _choose_letters(prompts: Sequence[str], backend: Backend) -> list[str]:
    """Return the letter from A to D with the largest logit after each of `prompts`."""
    ids = backend.encoder.encode(prompts)
    letter_ids = backend.encoder.encode(LETTERS, special=False)
    lead = backend.encoder.lead
    scores = backend.score(
        [Pair(ids[prompt], letter_ids[letter][:1], lead(ids[prompt])) for prompt in prompts for letter in LETTERS]
    )
    rows = [scores[i : i + len(LETTERS)] for i in range(0, len(scores), len(LETTERS))]
    return [max(zip(LETTERS, row, strict=True), key=lambda pair: pair[1].logprob)[0] for row in rows]
