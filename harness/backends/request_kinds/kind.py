"""What every kind of request defines: what it asks of a backend, and what it makes of the results.

`inputs` serves three purposes: answering requests, forecasting their cost, and learning which beginnings they share. A
kind with two dependent passes returns the inputs of its first pass only, because the inputs of the second depend on the
results of the first.

Not here: the kinds themselves, or how a backend computes results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from lm_eval.api.instance import Instance

from harness.backends.backend import Backend
from harness.backends.work import Work
from harness.engine.requests import LogLikelihood, Pair, Prompt


class Inputs(NamedTuple):
    """What requests ask of a backend."""

    pairs: Sequence[Pair] = ()
    prompts: Sequence[Prompt] = ()


class RequestKind(ABC):
    """One type of lm-eval request."""

    shares_beginnings: ClassVar[bool] = False
    """Whether the beginnings that documents share are worth keeping between calls."""

    @abstractmethod
    def inputs(self, requests: Sequence[Instance], backend: Backend) -> Inputs:
        """Return what `requests` ask of `backend` first."""

    @abstractmethod
    def answer(self, requests: Sequence[Instance], backend: Backend, work: Work) -> list[Any]:
        """Return the answer to each request in lm-eval's form; count in `work` how many were cut or had thoughts."""


class OwnedPairs(NamedTuple):
    """The pairs (context, continuation) to score that requests consist of."""

    pairs: list[Pair]
    owners: list[int]
    """The index of the request that each pair belongs to."""
    truncated: int = 0
    """Number of requests whose text was cut on the left before it became a pair."""


class ScoredKind(RequestKind):
    """A kind that is answered by log-likelihoods alone."""

    @abstractmethod
    def owned_pairs(self, requests: Sequence[Instance], backend: Backend) -> OwnedPairs:
        """Return the pairs that `requests` consist of."""

    @abstractmethod
    def combine(self, owned: OwnedPairs, scores: Sequence[LogLikelihood], count: int) -> list[Any]:
        """Return the answers to `count` requests from the `scores` of their pairs."""

    def inputs(self, requests: Sequence[Instance], backend: Backend) -> Inputs:
        """Return the pairs that `requests` consist of."""
        return Inputs(pairs=self.owned_pairs(requests, backend).pairs)

    def answer(self, requests: Sequence[Instance], backend: Backend, work: Work) -> list[Any]:
        """Score all pairs of `requests` in one call and combine the scores."""
        owned = self.owned_pairs(requests, backend)
        work.truncated += owned.truncated
        return self.combine(owned, backend.score(owned.pairs), len(requests))
