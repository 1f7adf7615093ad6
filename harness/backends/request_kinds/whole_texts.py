"""Log-likelihoods of whole texts, read in windows if a text is longer than the context."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from lm_eval.api.instance import Instance

from harness.backends import windows
from harness.backends.backend import Backend
from harness.backends.request_kinds.kind import OwnedPairs, ScoredKind
from harness.engine.requests import LogLikelihood


class _WholeText(ScoredKind):
    special: ClassVar[bool]
    """Whether the tokenizer adds its special tokens to the text."""

    @abstractmethod
    def strides(self, requests: Sequence[Instance], backend: Backend) -> list[int]:
        """Return for each request by how many tokens its windows move."""

    def owned_pairs(self, requests: Sequence[Instance], backend: Backend) -> OwnedPairs:
        """Return the windows of all texts; the first token of a text follows BOS, or EOS if there is no BOS.

        A ChatGLM's special tokens take the place of BOS. In ChatGLM-6B, every window begins with them.
        """
        encoder = backend.encoder
        texts = [str(request.args[0]) for request in requests]
        ids = encoder.encode(texts, special=self.special and not encoder.rules.beginning)
        beginning = encoder.beginning() if texts else []
        strides = self.strides(requests, backend)
        token_ids = [ids[text] for text in texts]
        return OwnedPairs(
            *windows.cut(token_ids, beginning, backend.max_length, strides, repeats_beginning=encoder.reads_behind)
        )

    def combine(self, owned: OwnedPairs, scores: Sequence[LogLikelihood], count: int) -> list[float]:
        """Return for each text the sum of the scores of its windows."""
        totals = [0.0] * count
        for owner, score in zip(owned.owners, scores, strict=True):
            totals[owner] += score.logprob
        return totals


class RollingLikelihood(_WholeText):
    """`loglikelihood_rolling`: (text,) → the text's log-likelihood, in windows as lm-eval cuts them."""

    special = True

    def strides(self, requests: Sequence[Instance], backend: Backend) -> list[int]:
        """Return the context length for each request."""
        return [backend.max_length] * len(requests)


class SlidingLikelihood(_WholeText):
    """`loglikelihood_sliding`: (text, {"stride": tokens or None}) → the log-likelihood of all its tokens.

    Windows move by `stride` new tokens, so that outside the first window each token has at least `max_length - stride`
    tokens before it.
    """

    special = False

    def strides(self, requests: Sequence[Instance], backend: Backend) -> list[int]:
        """Return the stride that each request states, or the default."""
        return [stride(request.args[1]["stride"], backend.max_length) for request in requests]


def stride(tokens: int | None, max_length: int) -> int:
    """Return by how many tokens windows move: `tokens`, at most the whole context; if None, half the context."""
    return min(tokens or max(max_length // 2, 1), max_length)
