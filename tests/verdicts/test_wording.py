"""Sentences about verdicts, with expected texts written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.verdicts import gate, render, wording
from harness.verdicts.compare import Comparison, EarlyStop
from harness.verdicts.policy import Margin, Terms
from harness.verdicts.stats.means import Differences, Interval
from harness.verdicts.texts import OutcomeText
from support.invented_verdicts import SIGN, comparison, judgement, outcome, score


def test_a_regression_states_the_loss_and_its_evidence() -> None:
    text = wording.verdict(outcome(judgement("law", "regressed", lost=40, gained=6), judgement("math")))
    low, high = (f"{100 * end:.1f}".replace("-", "−") for end in comparison(score(), 40, 6).interval or ())
    assert text == f"regressed: law lost 34.0 points (95 % interval {low} to {high}, 100 documents, p = 3e-9)"


def test_an_inconclusive_verdict_states_what_would_settle_it() -> None:
    text = wording.verdict(outcome(judgement("law", "inconclusive", lost=3, gained=1), judgement("math")))
    assert text.startswith("inconclusive: law lost 2.0 points (95 % interval −")
    assert text.endswith(
        " 100 documents): a loss as large as the margin is not ruled out; about 1,300 documents would settle it"
    )


@pytest.mark.parametrize("needed", [float("inf"), float("nan"), 80.0])
def test_documents_needed_are_stated_only_if_they_would_settle_it(needed: float) -> None:
    assert "would settle" not in wording.verdict(outcome(judgement(verdict="inconclusive", documents_needed=needed)))


def test_a_sign_that_is_the_reason_appears_once() -> None:
    item = judgement(
        "law", "inconclusive", reason=SIGN.text, signs=(SIGN,), tests=gate.Tests(0.01, 0.5), documents_needed=9.0
    )
    assert wording.sentence(item).endswith(f"): {SIGN.text}")
    assert wording.signs(item) == []
    assert wording.signs(judgement("law", "regressed", signs=(SIGN,))) == [SIGN.text]
    (line,) = render.as_annotations(OutcomeText.of(outcome(item)))
    assert line.count(SIGN.text) == 1


def test_without_variation_there_is_no_interval() -> None:
    item = Comparison(score("bleu", fraction=False, value=20.0), Differences(np.full(3, 0.5), np.full(3, 0.5)), 3, 0)
    assert wording.evidence(item) == "no interval, 3 documents"


def test_a_pass_names_its_tasks() -> None:
    quiet = replace(judgement("law_1"), is_judged=False)
    text = wording.verdict(outcome(judgement("law"), judgement("math"), quiet))
    assert text == "passed: a loss as large as the margin is ruled out on law, math"


def test_three_tasks_are_described_and_all_are_named() -> None:
    text = wording.verdict(outcome(*(judgement(f"task_{i}", "regressed", lost=30) for i in range(5))))
    assert text.count("lost 29.0 points") == 3
    assert text.endswith("; and 2 more: task_3, task_4")


def test_a_score_below_its_floor_is_described_as_such() -> None:
    terms = Terms(Margin(2), 0.05, 0.7, 1, "block")
    result = outcome(judgement("law", "regressed", terms=terms, reason="below its floor of 70 %"))
    assert wording.verdict(result).startswith("regressed: law is at 60.0 %, below its floor of 70 % (95 % interval ")


def less(**changes: Any) -> Comparison:
    """Return bits per character of 2.0 and 2.5, so the candidate is worse; the values are stored negated."""
    bits = score("text", metric="bits", value=2.0, higher_is_better=False, fraction=False, **changes)
    values = Differences(np.array([-1.5, -2.5]), np.array([-2.0, -3.0]))
    return Comparison(bits, values, 2, 0)


def test_every_sentence_states_that_less_is_better() -> None:
    item = less()
    assert (item.baseline, item.candidate) == (2.0, 2.5)
    assert wording.change(item) == "rose by 0.500, where less is better"
    assert wording.difference(item) == "+0.500"
    assert wording.metric(item.score) == "bits ↓"
    assert "where less is better" in wording.verdict(outcome(judgement("text", "regressed", comparison=item)))


def test_a_fraction_where_less_is_better_changes_by_points() -> None:
    bits = score("law", metric="abstention", value=0.4, higher_is_better=False)
    assert wording.change(comparison(bits, 10, 0)) == "rose by 10.0 points, where less is better"
    assert wording.change(comparison(bits, 0, 10)) == "fell by 10.0 points, where less is better"


@pytest.mark.parametrize(
    ("lost", "gained", "text"), [(3, 0, "lost 3.0"), (0, 3, "gained 3.0"), (2, 2, "did not change")]
)
def test_changes_are_described_in_words(lost: int, gained: int, text: str) -> None:
    assert wording.change(comparison(score(), lost, gained)).startswith(text)


def test_a_difference_too_small_to_show_has_no_sign() -> None:
    item = comparison(score(), 1, 0, n=100_000, right=60_000)
    assert wording.difference(item) == "0.0"
    assert wording.change(item) == "did not change"


@pytest.mark.parametrize(
    ("p", "text"), [(3.2e-9, "3e-9"), (0.0341, "0.034"), (1.0, "1"), (0.0, "0"), (float("nan"), "–"), (0.00099, "1e-3")]
)
def test_p_values_are_short(p: float, text: str) -> None:
    assert wording.probability(p) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0.0, "0"), (9.2, "10"), (99, "99"), (101, "110"), (1234, "1,300"), (float("inf"), "–")]
)
def test_documents_needed_are_rounded_up_to_two_digits(count: float, text: str) -> None:
    assert wording.documents(count) == text


def test_a_relative_margin_shows_both_forms() -> None:
    terms = Terms(Margin(0.02, relative=True), 0.05, None, 1, "block")
    assert wording.margin(judgement(margin=0.012, terms=terms)) == "1.2 (2 %)"


def test_documents_seen_in_training_are_described_separately() -> None:
    tainted = comparison(score("law"), 0, 10, n=20, right=10)
    whole = replace(comparison(score("law"), 1, 1), tainted=tainted)
    (text,) = OutcomeText.of(outcome(judgement("law", comparison=whole))).remarks
    assert text.startswith("law: 20 documents seen in training, not judged; on them 50.0 % → 100.0 %, +50.0 (95 %")


def test_the_reading_is_stated_in_documents_and_tokens() -> None:
    assert wording.reading(outcome(judgement(), reading=gate.Reading(640, 14_042, 120_000, 1_000_000))) == (
        "stopped after 640 of 14,042 documents and 12 % of the tokens"
    )
    assert wording.reading(outcome(judgement())) == ""


def stopped(low: float, high: float, **changes: Any) -> Comparison:
    return comparison(score(**changes), 30, 2, n=320, right=200, early_stop=EarlyStop(Interval(low, high), 14_042))


def test_after_an_early_stop_there_is_an_interval_and_no_difference() -> None:
    item = stopped(-0.12, -0.021)
    assert wording.change(item) == "lost 2.1 to 12.0 points"
    assert wording.evidence(item) == "95 % confidence sequence, 320 of 14,042 documents"
    assert (wording.baseline(item), wording.candidate(item), wording.difference(item)) == ("60.0 %", "–", "–")
    assert wording.interval(item) == "−12.0 to −2.1"
    assert wording.verdict(outcome(judgement("law", "regressed", comparison=item))) == (
        "regressed: law lost 2.1 to 12.0 points (95 % confidence sequence, 320 of 14,042 documents, p = 3e-9)"
    )


@pytest.mark.parametrize(
    ("low", "high", "less", "text"),
    [
        (0.01, 0.2, False, "gained 1.0 to 20.0 points"),
        (-0.01, 0.2, False, "changed by −1.0 to +20.0 points"),
        (0.0, 0.2, False, "gained 0.0 to 20.0 points"),
        (0.0, 0.0, False, "did not change"),
        (0.01, 0.2, True, "rose by 1.0 to 20.0 points, where less is better"),
        (-0.01, 0.2, True, "changed by −1.0 to +20.0 points, where less is better"),
    ],
)
def test_intervals_are_described_in_words(low: float, high: float, less: bool, text: str) -> None:
    assert wording.change(stopped(low, high, higher_is_better=not less)) == text


def test_an_allowed_inconclusive_verdict_is_marked() -> None:
    terms = Terms(Margin(2), 0.05, None, 1, "allow")
    result = outcome(judgement("law", "inconclusive", terms=terms))
    assert result.exit_code == 0
    assert wording.verdict(result).startswith("inconclusive (allowed by the policy): law ")
