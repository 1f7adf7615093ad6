"""Scoring on the plain walk against one forward pass for each request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import CheckpointReference
from harness.engine import scoring
from harness.engine.requests import LogLikelihood, Pair
from harness.errors import HarnessError
from support import tiny
from tolerances import FP32_LOGLIKELIHOOD

CONTEXT = 32
ids = st.lists(st.integers(3, 383), min_size=1, max_size=CONTEXT)
pairs = st.lists(st.builds(Pair, ids, ids, st.just(0)), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=["base", "lora"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models")
    base = tiny.llama(folder / "base", context=CONTEXT)
    path = base if request.param == "base" else tiny.lora(folder / "lora", base)
    return loading.load(loading.locate(CheckpointReference(str(path))))


def score_by_hand(model: Any, pair: Pair) -> LogLikelihood:
    """Return a pair's score from one row: every position times the vocabulary, log-softmax, sum."""
    fed = (pair.context + pair.continuation)[-(CONTEXT + 1) :]
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([fed[:-1]])).logits[0].double(), -1)
    last = logprobs[-len(pair.continuation) :]
    total = sum(float(last[k, token]) for k, token in enumerate(pair.continuation))
    return LogLikelihood(total, last.argmax(-1).tolist() == pair.continuation)


def score(checkpoint: Checkpoint, requests: list[Pair], batch_tokens: int) -> list[LogLikelihood]:
    """Return the scores of `requests` from the plain walk."""
    answers: dict[int, LogLikelihood] = {}
    for batch in scoring.plan(requests, CONTEXT, batch_tokens):
        answers.update(scoring.score(checkpoint.model, batch, requests, checkpoint.device))
    return [answers[i] for i in range(len(requests))]


def are_close(score: LogLikelihood, expected: LogLikelihood) -> bool:
    return abs(score.logprob - expected.logprob) <= FP32_LOGLIKELIHOOD and score.greedy == expected.greedy


@given(requests=pairs, batch_tokens=st.integers(1, 400))
@settings(
    deadline=None,
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_requests_in_any_batches_score_as_one_by_one(
    checkpoint: Checkpoint, requests: list[Pair], batch_tokens: int
) -> None:
    for result, pair in zip(score(checkpoint, requests, batch_tokens), requests, strict=True):
        assert are_close(result, score_by_hand(checkpoint.model, pair))


def test_requests_that_split_the_same_tokens_differently_have_their_own_scores(checkpoint: Checkpoint) -> None:
    # lm-eval's logits cache scores these wrongly, because it groups by context + continuation[:-1].
    tokens = [10, 20, 30, 40, 50]
    requests = [Pair(tokens[:k], [*tokens[k:], last]) for k in (1, 2, 4) for last in (60, 61)]
    (batch,) = scoring.plan(requests, CONTEXT, 100)
    assert len(batch) == 1
    for result, pair in zip(score(checkpoint, requests, 100), requests, strict=True):
        assert are_close(result, score_by_hand(checkpoint.model, pair))


def test_the_greedy_flag_says_whether_the_model_would_generate_the_continuation(checkpoint: Checkpoint) -> None:
    context = [5, 6, 7]
    with torch.inference_mode():
        best = int(checkpoint.model(input_ids=torch.tensor([context])).logits[0, -1].argmax())
    right, wrong = score(checkpoint, [Pair(context, [best]), Pair(context, [best ^ 1])], 100)
    assert (right.greedy, wrong.greedy) == (True, False)


def test_scores_do_not_depend_on_how_many_cells_are_computed_at_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Pair(list(range(3, 3 + n)), list(range(20, 20 + n))) for n in range(1, 12)]
    monkeypatch.setattr(scoring, "MAX_CELLS", 4)
    for result, pair in zip(score(checkpoint, requests, 400), requests, strict=True):
        assert are_close(result, score_by_hand(checkpoint.model, pair))


def test_letters_after_one_question_are_fed_once() -> None:
    requests = [Pair([1, 2, 3], [letter]) for letter in (4, 5, 6, 7)]
    assert sum(map(scoring.tokens_fed, scoring.plan(requests, CONTEXT, 100))) == 3


@given(requests=pairs, batch_tokens=st.integers(1, 400))
def test_batches_contain_each_request_once_and_at_most_the_allowed_tokens(
    requests: list[Pair], batch_tokens: int
) -> None:
    batches = scoring.plan(requests, CONTEXT, batch_tokens)
    assert sorted(i for batch in batches for row in batch for i in row.requests) == list(range(len(requests)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(row.tokens) for row in batch) <= batch_tokens


def test_a_continuation_longer_than_the_context_is_an_error() -> None:
    with pytest.raises(HarnessError, match="does not fit into the context of 32"):
        scoring.plan([Pair([1], list(range(CONTEXT + 1)))], CONTEXT, 100)


def test_nan_logits_are_an_error(checkpoint: Checkpoint) -> None:
    class Broken(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, logits_to_keep: Any = 0, use_cache: bool = False) -> Any:
            from transformers.modeling_outputs import CausalLMOutputWithPast

            return CausalLMOutputWithPast(logits=torch.full((1, len(logits_to_keep), 384), torch.nan))

    requests = [Pair([1], [2])]
    (batch,) = scoring.plan(requests, CONTEXT, 100)
    with pytest.raises(HarnessError, match="NaN"):
        list(scoring.score(Broken(), batch, requests, torch.device("cpu")))


def test_a_model_that_cannot_select_rows_scores_the_same(checkpoint: Checkpoint) -> None:
    class Whole(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
            return checkpoint.model(input_ids=input_ids)

    requests = [Pair([1, 2], [3, 4]), Pair([9], [8])]
    (batch,) = scoring.plan(requests, CONTEXT, 100)
    for index, result in scoring.score(Whole(), batch, requests, torch.device("cpu")):
        assert are_close(result, score_by_hand(checkpoint.model, requests[index]))


def test_the_checkpoint_of_these_tests_has_the_expected_context(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert checkpoint.max_length == CONTEXT
