"""Log-likelihoods of a continuation after its context, and mean log-likelihoods of a whole text."""

from __future__ import annotations

from collections.abc import Sequence

from lm_eval.api.instance import Instance

from harness.backends.backend import Backend
from harness.backends.request_kinds.kind import OwnedPairs, ScoredKind
from harness.engine.requests import LogLikelihood, Pair


class ContinuationLikelihood(ScoredKind):
    """`loglikelihood`: (context, continuation) → the continuation's log-likelihood and whether it is greedy."""

    shares_beginnings = True

    def owned_pairs(self, requests: Sequence[Instance], backend: Backend) -> OwnedPairs:
        """Return one pair for each request."""
        return OwnedPairs(backend.encoder.pairs([request.args for request in requests]), list(range(len(requests))))

    def combine(self, owned: OwnedPairs, scores: Sequence[LogLikelihood], count: int) -> list[LogLikelihood]:
        """Return the scores as they are."""
        return list(scores)


class MeanLikelihood(ScoredKind):
    """`mean_loglikelihood`: (prompt, answer) → the mean log-likelihood per token of the two as one text.

    The negated mean is the perplexity by which OpenCompass's `PPLInferencer` chooses (open-compass/opencompass@a5acc4b,
    models/huggingface.py, `_get_ppl`). The first token is not scored but counts in the denominator, and a text longer
    than the context is cut on its left. ChatGLM-6B reads a text behind its special tokens, which count as one token.
    """

    def owned_pairs(self, requests: Sequence[Instance], backend: Backend) -> OwnedPairs:
        """Return a pair for each text of more than one token: the first token is the context of the others."""
        texts = backend.encoder.wholes([request.args for request in requests])
        lead = backend.encoder.beginning() if texts and backend.encoder.reads_behind else []
        room, first = backend.max_length - len(lead), 0 if lead else 1
        ends = [ids[-room:] for ids in texts]
        owners = [i for i, end in enumerate(ends) if len(end) > first]
        truncated = sum(len(ids) > room for ids in texts)
        return OwnedPairs([Pair(lead + ends[i][:first], ends[i][first:]) for i in owners], owners, truncated)

    def combine(self, owned: OwnedPairs, scores: Sequence[LogLikelihood], count: int) -> list[tuple[float, bool]]:
        """Return each text's score divided by its number of tokens; (0, True) for an unscored single token."""
        answers = [(0.0, True)] * count
        for owner, pair, score in zip(owned.owners, owned.pairs, scores, strict=True):
            answers[owner] = (score.logprob / (1 + len(pair.continuation)), score.greedy)
        return answers
