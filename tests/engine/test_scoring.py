"""Scoring against a forward pass per request, by hand."""

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
pairs = st.lists(st.builds(Pair, ids, ids), min_size=1, max_size=12)


@pytest.fixture(scope="module", params=["base", "lora"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models")
    base = tiny.llama(folder / "base", context=CONTEXT)
    path = base if request.param == "base" else tiny.lora(folder / "lora", base)
    return loading.load(loading.locate(CheckpointReference(str(path))))


def by_hand(model: Any, pair: Pair) -> LogLikelihood:
    """One row, every position through the vocabulary, log-softmax, sum."""
    fed = (pair.context + pair.continuation)[-(CONTEXT + 1) :]
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([fed[:-1]])).logits[0].double(), -1)
    last = logprobs[-len(pair.continuation) :]
    total = sum(float(last[k, token]) for k, token in enumerate(pair.continuation))
    return LogLikelihood(total, last.argmax(-1).tolist() == pair.continuation)


def scored(checkpoint: Checkpoint, asked: list[Pair], batch_tokens: int) -> list[LogLikelihood]:
    answers: dict[int, LogLikelihood] = {}
    for batch in scoring.plan(asked, CONTEXT, batch_tokens):
        answers.update(scoring.score(checkpoint.model, batch, asked, checkpoint.device))
    return [answers[i] for i in range(len(asked))]


def close(found: LogLikelihood, expected: LogLikelihood) -> bool:
    return abs(found.logprob - expected.logprob) <= FP32_LOGLIKELIHOOD and found.greedy == expected.greedy


@given(asked=pairs, batch_tokens=st.integers(1, 400))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_requests_in_any_batches_score_as_one_by_one(
    checkpoint: Checkpoint, asked: list[Pair], batch_tokens: int
) -> None:
    for found, pair in zip(scored(checkpoint, asked, batch_tokens), asked, strict=True):
        assert close(found, by_hand(checkpoint.model, pair))


def test_requests_that_feed_the_same_tokens_but_split_elsewhere_keep_their_own_scores(checkpoint: Checkpoint) -> None:
    # lm-eval's logits cache answers these wrongly: it groups by context + continuation[:-1].
    tokens = [10, 20, 30, 40, 50]
    asked = [Pair(tokens[:k], [*tokens[k:], last]) for k in (1, 2, 4) for last in (60, 61)]
    (batch,) = scoring.plan(asked, CONTEXT, 100)
    assert len(batch) == 1
    for found, pair in zip(scored(checkpoint, asked, 100), asked, strict=True):
        assert close(found, by_hand(checkpoint.model, pair))


def test_the_greedy_flag_is_the_models_own_choice(checkpoint: Checkpoint) -> None:
    context = [5, 6, 7]
    with torch.inference_mode():
        said = int(checkpoint.model(input_ids=torch.tensor([context])).logits[0, -1].argmax())
    right, wrong = scored(checkpoint, [Pair(context, [said]), Pair(context, [said ^ 1])], 100)
    assert (right.greedy, wrong.greedy) == (True, False)


def test_few_cells_at_a_time_change_no_score(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Pair(list(range(3, 3 + n)), list(range(20, 20 + n))) for n in range(1, 12)]
    monkeypatch.setattr(scoring, "MAX_CELLS", 4)
    for found, pair in zip(scored(checkpoint, asked, 400), asked, strict=True):
        assert close(found, by_hand(checkpoint.model, pair))


def test_letters_after_one_question_are_fed_once() -> None:
    asked = [Pair([1, 2, 3], [letter]) for letter in (4, 5, 6, 7)]
    assert sum(map(scoring.tokens_fed, scoring.plan(asked, CONTEXT, 100))) == 3


@given(asked=pairs, batch_tokens=st.integers(1, 400))
def test_batches_hold_every_request_once_and_no_more_tokens_than_allowed(asked: list[Pair], batch_tokens: int) -> None:
    batches = scoring.plan(asked, CONTEXT, batch_tokens)
    assert sorted(i for batch in batches for row in batch for i in row.requests) == list(range(len(asked)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(row.tokens) for row in batch) <= batch_tokens


def test_a_continuation_longer_than_the_context_is_refused() -> None:
    with pytest.raises(HarnessError, match="does not fit into the context of 32"):
        scoring.plan([Pair([1], list(range(CONTEXT + 1)))], CONTEXT, 100)


def test_nan_is_an_error_and_no_score(checkpoint: Checkpoint) -> None:
    class Broken(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, logits_to_keep: Any = 0, use_cache: bool = False) -> Any:
            from transformers.modeling_outputs import CausalLMOutputWithPast

            return CausalLMOutputWithPast(logits=torch.full((1, len(logits_to_keep), 384), torch.nan))

    asked = [Pair([1], [2])]
    (batch,) = scoring.plan(asked, CONTEXT, 100)
    with pytest.raises(HarnessError, match="NaN"):
        list(scoring.score(Broken(), batch, asked, torch.device("cpu")))


def test_a_model_that_cannot_keep_few_logits_scores_the_same(checkpoint: Checkpoint) -> None:
    class Whole(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> Any:
            return checkpoint.model(input_ids=input_ids)

    asked = [Pair([1, 2], [3, 4]), Pair([9], [8])]
    (batch,) = scoring.plan(asked, CONTEXT, 100)
    for index, found in scoring.score(Whole(), batch, asked, torch.device("cpu")):
        assert close(found, by_hand(checkpoint.model, asked[index]))


def test_loading_a_checkpoint_for_these_tests_keeps_its_context(tmp_path: Path, checkpoint: Checkpoint) -> None:
    assert checkpoint.max_length == CONTEXT
