"""Requests in token ids, as the engine answers them, and the answers.

Not here: text and tokenizers (`harness.backends`), or how a token is chosen (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.engine.decoding.settings import Settings
from harness.errors import HarnessError


class Pair(NamedTuple):
    """The token ids of a context and of the continuation to be scored after it; neither is empty."""

    context: list[int]
    continuation: list[int]
    lead: int = 0
    """Number of the context's first ids that stay if it is cut on its left: special tokens of ChatGLM2 and 3."""


class LogLikelihood(NamedTuple):
    """The answer to a pair."""

    logprob: float
    """Sum of the natural log-probabilities of the continuation's tokens."""
    greedy: bool
    """Whether greedy decoding would generate this continuation."""


class Generation(NamedTuple):
    """The answer to a prompt."""

    text: str
    """The generated text, thought included, up to the first stop string."""
    is_cut: bool
    """Whether the answer reached its limit of tokens before it ended."""


class Prompt(NamedTuple):
    """Token ids to continue, and how to continue them."""

    ids: list[int]
    settings: Settings
    sample: int = 0
    """Number of this sample among several samples of the same prompt, from 0."""
    thinking: bool = False
    """Whether the prompt ends inside an open thought, so that the generated text begins in the middle of it."""
    lead: int = 0
    """Number of the first ids that stay if the prompt is cut on its left."""

    def fed_tokens(self, max_length: int) -> list[int]:
        """Return the ids that the model reads: `ids`, cut on the left to leave room for the answer, as in lm-eval."""
        return cut(self.ids, max_length - self.settings.max_tokens, self.lead)

    def limited_to(self, tokens: int) -> Prompt:
        """Return this prompt with an answer of at most `tokens` tokens; a smaller limit in its settings is kept."""
        return self._replace(settings=replace(self.settings, max_tokens=min(tokens, self.settings.max_tokens)))


def cut(ids: list[int], room: int, lead: int) -> list[int]:
    """Return `ids` cut to `room`: the first `lead` of them, unless they fill the room, and the last."""
    if len(ids) <= room:
        return ids
    lead = lead if lead < room else 0
    return ids[:lead] + ids[-(room - lead) :]


def require_room(prompts: Sequence[Prompt], max_length: int) -> None:
    """Raise HarnessError if the answer to one of `prompts` alone could fill a context of `max_length` tokens."""
    for prompt in prompts:
        if prompt.settings.max_tokens >= max_length:
            raise HarnessError(
                f"a task generates up to {prompt.settings.max_tokens:,} new tokens, but the context has "
                f"{max_length:,}: no room is left for the prompt; set max_length= if the model supports more"
            )
