"""What sentences say of verdicts, by hand."""

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


def test_a_regression_says_what_was_lost_and_how_sure_that_is() -> None:
    said = wording.verdict(outcome(judgement("law", "regressed", lost=40, gained=6), judgement("math")))
    low, high = (f"{100 * end:.1f}".replace("-", "−") for end in comparison(score(), 40, 6).interval or ())
    assert said == f"regressed: law lost 34.0 points (95 % interval {low} to {high}, 100 documents, p = 3e-9)"


def test_what_is_inconclusive_says_what_would_settle_it() -> None:
    said = wording.verdict(outcome(judgement("law", "inconclusive", lost=3, gained=1), judgement("math")))
    assert said.startswith("inconclusive: law lost 2.0 points (95 % interval −")
    assert said.endswith(
        " 100 documents): a loss as large as the margin is not ruled out; about 1,300 documents would settle it"
    )


@pytest.mark.parametrize("needed", [float("inf"), float("nan"), 80.0])
def test_more_documents_are_named_only_where_they_would_settle_it(needed: float) -> None:
    assert "would settle" not in wording.verdict(outcome(judgement(verdict="inconclusive", documents_needed=needed)))


def test_a_sign_that_is_the_reason_is_told_once() -> None:
    one = judgement(
        "law", "inconclusive", reason=SIGN.text, signs=(SIGN,), tests=gate.Tests(0.01, 0.5), documents_needed=9.0
    )
    assert wording.sentence(one).endswith(f"): {SIGN.text}")
    assert wording.signs(one) == []
    assert wording.signs(judgement("law", "regressed", signs=(SIGN,))) == [SIGN.text]
    (line,) = render.as_annotations(OutcomeText.of(outcome(one)))
    assert line.count(SIGN.text) == 1


def test_where_nothing_varies_there_is_no_interval_to_tell() -> None:
    one = Comparison(score("bleu", fraction=False, value=20.0), Differences(np.full(3, 0.5), np.full(3, 0.5)), 3, 0)
    assert wording.evidence(one) == "no interval, 3 documents"


def test_a_pass_names_what_it_is_about() -> None:
    quiet = replace(judgement("law_1"), is_judged=False)
    said = wording.verdict(outcome(judgement("law"), judgement("math"), quiet))
    assert said == "passed: a loss as large as the margin is ruled out on law, math"


def test_only_some_of_many_are_told_in_full_and_all_are_named() -> None:
    said = wording.verdict(outcome(*(judgement(f"task_{i}", "regressed", lost=30) for i in range(5))))
    assert said.count("lost 29.0 points") == 3
    assert said.endswith("; and 2 more: task_3, task_4")


def test_a_floor_is_told_as_one() -> None:
    terms = Terms(Margin(2), 0.05, 0.7, 1, "block")
    found = outcome(judgement("law", "regressed", terms=terms, reason="below its floor of 70 %"))
    assert wording.verdict(found).startswith("regressed: law is at 60.0 %, below its floor of 70 % (95 % interval ")


def less(**changes: Any) -> Comparison:
    """Bits per character, which inside are negative: 2.0 and 2.5, so that the candidate is worse."""
    of = score("text", metric="bits", value=2.0, higher_is_better=False, fraction=False, **changes)
    values = Differences(np.array([-1.5, -2.5]), np.array([-2.0, -3.0]))
    return Comparison(of, values, 2, 0)


def test_where_less_is_better_every_sentence_says_so() -> None:
    one = less()
    assert (one.baseline, one.candidate) == (2.0, 2.5)
    assert wording.change(one) == "rose by 0.500, where less is better"
    assert wording.difference(one) == "+0.500"
    assert wording.metric(one.score) == "bits ↓"
    assert "where less is better" in wording.verdict(outcome(judgement("text", "regressed", comparison=one)))


def test_a_share_of_which_less_is_better_rises_by_points() -> None:
    of = score("law", metric="abstention", value=0.4, higher_is_better=False)
    assert wording.change(comparison(of, 10, 0)) == "rose by 10.0 points, where less is better"
    assert wording.change(comparison(of, 0, 10)) == "fell by 10.0 points, where less is better"


@pytest.mark.parametrize(
    ("lost", "gained", "said"), [(3, 0, "lost 3.0"), (0, 3, "gained 3.0"), (2, 2, "did not change")]
)
def test_what_moved_is_said_in_words(lost: int, gained: int, said: str) -> None:
    assert wording.change(comparison(score(), lost, gained)).startswith(said)


def test_a_difference_too_small_to_show_has_no_sign() -> None:
    one = comparison(score(), 1, 0, n=100_000, right=60_000)
    assert wording.difference(one) == "0.0"
    assert wording.change(one) == "did not change"


@pytest.mark.parametrize(
    ("p", "said"), [(3.2e-9, "3e-9"), (0.0341, "0.034"), (1.0, "1"), (0.0, "0"), (float("nan"), "–"), (0.00099, "1e-3")]
)
def test_p_values_are_short(p: float, said: str) -> None:
    assert wording.probability(p) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0.0, "0"), (9.2, "10"), (99, "99"), (101, "110"), (1234, "1,300"), (float("inf"), "–")]
)
def test_documents_needed_are_rounded_up_to_what_is_known_of_them(count: float, said: str) -> None:
    assert wording.documents(count) == said


def test_a_relative_margin_says_what_it_is_a_share_of() -> None:
    terms = Terms(Margin(0.02, relative=True), 0.05, None, 1, "block")
    assert wording.margin(judgement(margin=0.012, terms=terms)) == "1.2 (2 %)"


def test_documents_seen_in_training_are_told_apart() -> None:
    seen = comparison(score("law"), 0, 10, n=20, right=10)
    whole = replace(comparison(score("law"), 1, 1), tainted=seen)
    (said,) = OutcomeText.of(outcome(judgement("law", comparison=whole))).remarks
    assert said.startswith("law: 20 documents seen in training, not judged; on them 50.0 % → 100.0 %, +50.0 (95 %")


def test_what_was_read_is_told_in_documents_and_tokens() -> None:
    assert wording.reading(outcome(judgement(), reading=gate.Reading(640, 14_042, 120_000, 1_000_000))) == (
        "stopped after 640 of 14,042 documents and 12 % of the tokens"
    )
    assert wording.reading(outcome(judgement())) == ""


def stopped(low: float, high: float, **changes: Any) -> Comparison:
    return comparison(score(**changes), 30, 2, n=320, right=200, early_stop=EarlyStop(Interval(low, high), 14_042))


def test_where_asking_stopped_there_is_an_interval_and_no_difference() -> None:
    one = stopped(-0.12, -0.021)
    assert wording.change(one) == "lost 2.1 to 12.0 points"
    assert wording.evidence(one) == "95 % confidence sequence, 320 of 14,042 documents"
    assert (wording.baseline(one), wording.candidate(one), wording.difference(one)) == ("60.0 %", "–", "–")
    assert wording.interval(one) == "−12.0 to −2.1"
    assert wording.verdict(outcome(judgement("law", "regressed", comparison=one))) == (
        "regressed: law lost 2.1 to 12.0 points (95 % confidence sequence, 320 of 14,042 documents, p = 3e-9)"
    )


@pytest.mark.parametrize(
    ("low", "high", "less", "said"),
    [
        (0.01, 0.2, False, "gained 1.0 to 20.0 points"),
        (-0.01, 0.2, False, "changed by −1.0 to +20.0 points"),
        (0.0, 0.2, False, "gained 0.0 to 20.0 points"),
        (0.0, 0.0, False, "did not change"),
        (0.01, 0.2, True, "rose by 1.0 to 20.0 points, where less is better"),
        (-0.01, 0.2, True, "changed by −1.0 to +20.0 points, where less is better"),
    ],
)
def test_an_interval_is_said_in_words(low: float, high: float, less: bool, said: str) -> None:
    assert wording.change(stopped(low, high, higher_is_better=not less)) == said


def test_an_allowed_inconclusive_verdict_says_that_it_is() -> None:
    terms = Terms(Margin(2), 0.05, None, 1, "allow")
    found = outcome(judgement("law", "inconclusive", terms=terms))
    assert found.exit_code == 0
    assert wording.verdict(found).startswith("inconclusive (allowed by the policy): law ")
