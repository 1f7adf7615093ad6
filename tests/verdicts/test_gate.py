"""The gate: Holm's procedure against references, verdicts on invented reports, and errors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.errors import HarnessError
from harness.verdicts.gate import Judgement, Outcome, alpha_shares, corrected_p_values, gate, holm
from harness.verdicts.policy import Policy, Rule
from harness.verdicts.texts import OutcomeText
from support.answered import Answers, report

p_values = st.floats(0, 1)


def gated(
    root: Path, baseline: dict[str, Answers], candidate: dict[str, Answers], policy: Any = None, **settings: Any
) -> Outcome:
    first = report(root / "a", "base", baseline, **settings)
    second = report(root / "b", "cand", candidate, **settings)
    return gate(first, second, policy or Policy())


def judgement_of(outcome: Outcome, task: str) -> Judgement:
    return next(item for item in outcome.judgements if item.score.task == task)


def flipped(n: int, right: int, lost: int, gained: int) -> tuple[list[int], list[int]]:
    """Return both sides' scores of n documents: the baseline has `right`, the candidate loses and gains some."""
    baseline = [1] * right + [0] * (n - right)
    candidate = [0] * lost + [1] * (right - lost) + [1] * gained + [0] * (n - right - gained)
    return baseline, candidate


def sides(**tasks: tuple[int, int, int, int]) -> tuple[dict[str, Answers], dict[str, Answers]]:
    both = {name: flipped(*numbers) for name, numbers in tasks.items()}
    return {name: Answers(a) for name, (a, _) in both.items()}, {name: Answers(b) for name, (_, b) in both.items()}


# --- Holm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 5, 20, 60])
def test_equal_weights_are_holms_procedure_as_statsmodels_has_it(count: int) -> None:
    p = np.random.default_rng(count).random(count) ** 4
    p[: count // 3] = p[0]  # ties
    expected = multipletests(p, method="holm")[1]
    assert holm(p.tolist(), [1 / count] * count) == pytest.approx(list(expected))


@given(st.lists(st.tuples(p_values, st.floats(0.01, 1)), min_size=1, max_size=6))
def test_weights_are_those_of_the_closed_procedure(pairs: list[tuple[float, float]]) -> None:
    """A hypothesis is rejected if the weighted Bonferroni tests of all intersections that contain it reject."""
    p, w = zip(*pairs, strict=True)
    places = range(len(p))
    subsets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(places, size)]

    def of_intersection(subset: tuple[int, ...]) -> float:
        return min(1.0, min(p[j] * sum(w[k] for k in subset) / w[j] for j in subset))

    expected = [max(of_intersection(subset) for subset in subsets if i in subset) for i in places]
    assert holm(list(p), list(w)) == pytest.approx(expected)


def test_watched_scores_share_half_of_alpha() -> None:
    assert alpha_shares([True, False, False]) == [0.5, 0.25, 0.25]
    assert alpha_shares([True, True]) == [0.5, 0.5]
    p = [0.03, 0.9, 0.9]
    assert corrected_p_values(p, [True, False, False])[0] == pytest.approx(0.06)
    assert corrected_p_values([0.9, 0.01, 0.9], [True, False, False])[1] == pytest.approx(0.04)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_unchanged_answers_pass_with_enough_documents(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(2000, 1000, 0, 0), math=(2000, 1000, 30, 30)))
    assert (outcome.verdict, outcome.exit_code) == ("passed", 0)
    assert [item.verdict for item in outcome.judgements] == ["passed", "passed"]


def test_few_unchanged_documents_are_inconclusive_with_the_number_needed(
    tmp_path: Path,
) -> None:
    outcome = gated(tmp_path, *sides(law=(50, 25, 0, 0)))
    assert (outcome.verdict, outcome.exit_code) == ("inconclusive", 3)
    assert 100 < judgement_of(outcome, "law").documents_needed < 500


def test_the_stated_number_of_documents_suffices_to_pass(tmp_path: Path) -> None:
    few = judgement_of(gated(tmp_path / "few", *sides(law=(300, 150, 9, 9))), "law")
    assert few.verdict == "inconclusive"
    share = round(few.documents_needed * 9 / 300)
    enough = gated(
        tmp_path / "enough", *sides(law=(round(few.documents_needed), round(few.documents_needed / 2), share, share))
    )
    assert enough.verdict == "passed"


def test_losing_everything_regresses_for_undeclared_fractions_too(tmp_path: Path) -> None:
    strict = {"metric": "prompt_level_strict_acc", "fraction": False}
    outcome = gated(tmp_path, {"ifeval": Answers([1] * 541, **strict)}, {"ifeval": Answers([0] * 541, **strict)})
    assert outcome.verdict == "regressed"


def test_the_stated_number_of_documents_shows_a_loss_among_many_tasks(tmp_path: Path) -> None:
    others = {f"t{i}": (200, 100, 12, 12) for i in range(1, 20)}
    judgement = judgement_of(gated(tmp_path, *sides(law=(200, 100, 20, 9), **others)), "law")
    assert judgement.verdict == "inconclusive"
    generator, n, significant = np.random.default_rng(0), round(judgement.documents_needed), 0
    for _ in range(400):
        lost, gained, _ = generator.multinomial(n, [0.1, 0.045, 0.855])
        significant += stats.binomtest(lost, lost + gained, alternative="greater").pvalue <= 0.05 / 20
    assert significant / 400 == pytest.approx(0.8, abs=0.08)


def test_a_real_loss_regresses(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(500, 400, 60, 10), math=(2000, 1000, 0, 0)))
    assert (outcome.verdict, outcome.exit_code) == ("regressed", 1)
    assert [item.verdict for item in outcome.judgements] == ["regressed", "passed"]


def test_a_gain_passes(tmp_path: Path) -> None:
    assert gated(tmp_path, *sides(law=(200, 100, 5, 40))).verdict == "passed"


def test_a_real_loss_smaller_than_the_margin_passes(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(20_000, 10_000, 300, 200)))
    assert judgement_of(outcome, "law").p_loss_corrected < 0.001
    assert (outcome.verdict, judgement_of(outcome, "law").reason) == (
        "passed",
        "a real loss, but smaller than the margin",
    )


def test_the_margin_decides_how_much_may_be_lost(tmp_path: Path) -> None:
    answers = sides(law=(1000, 600, 60, 30))
    assert gated(tmp_path / "2", *answers).verdict == "regressed"
    assert gated(tmp_path / "8", *answers, Policy(margin=8)).verdict == "passed"


def test_with_many_tasks_a_loss_must_be_clearer(tmp_path: Path) -> None:
    single = {"t0": (200, 100, 20, 9)}
    many = single | {f"t{i}": (200, 100, 12, 12) for i in range(1, 20)}
    assert gated(tmp_path / "1", *sides(**single)).verdict == "regressed"
    assert gated(tmp_path / "20", *sides(**many)).verdict == "inconclusive"


def test_one_task_is_enough_to_fail_and_all_are_needed_to_pass(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(3000, 1000, 0, 0), math=(50, 20, 1, 1)))
    assert outcome.verdict == "inconclusive"
    outcome = gated(tmp_path / "two", *sides(law=(3000, 1000, 0, 0), math=(300, 200, 90, 1)))
    assert outcome.verdict == "regressed"


def test_a_members_loss_under_a_rising_average_regresses(tmp_path: Path) -> None:
    """Continued pretraining raises most of a suite and costs SciQ 6.3 points, as Lawyer LLaMA's did."""
    averages = {"suite": ("task", ["sciq", "nli", "c3", "piqa"])}
    outcome = gated(
        tmp_path,
        *sides(sciq=(1000, 900, 83, 20), nli=(1000, 500, 40, 110), c3=(1000, 500, 40, 110), piqa=(1000, 700, 30, 60)),
        averages=averages,
    )
    average, sciq = judgement_of(outcome, "suite"), judgement_of(outcome, "sciq")
    assert average.comparison.difference > 0.02
    assert (average.is_judged, average.verdict) == (True, "passed")
    assert sciq.comparison.difference == pytest.approx(-0.063)
    assert (sciq.is_judged, sciq.verdict) == (False, "regressed")
    assert (outcome.verdict, outcome.exit_code) == ("regressed", 1)


def test_a_members_real_loss_below_the_margin_is_described_as_such(tmp_path: Path) -> None:
    averages = {"suite": ("task", ["law", "math"])}
    outcome = gated(tmp_path, *sides(law=(20_000, 10_000, 300, 200), math=(2000, 1000, 0, 0)), averages=averages)
    assert judgement_of(outcome, "law").reason == "a real loss, but smaller than the margin"
    assert judgement_of(outcome, "math").reason == "no real loss is shown"
    assert outcome.verdict == "passed"


def test_tasks_of_a_missing_average_are_judged_themselves(tmp_path: Path) -> None:
    """A report has no average if the score of a member is missing, and the members are not headlines."""
    first, second = (
        report(tmp_path / name, name, answers, averages={"suite": ("task", ["law", "math"])})
        for name, answers in zip(
            "ab", sides(law=(500, 400, 300, 0), math=(2000, 1000, 0, 0), nli=(2000, 9, 0, 0)), strict=True
        )
    )
    for item in (first, second):
        scores = [score for score in item.manifest.scores if score.task != "suite"]
        object.__setattr__(item, "manifest", item.manifest.model_copy(update={"scores": scores}))
    outcome = gate(first, second, Policy())
    assert {item.score.task for item in outcome.judgements if item.is_judged} == {"nli", "law", "math"}
    assert outcome.verdict == "regressed"


def test_watched_members_need_not_pass(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(40)]
    outcome = gated(tmp_path, *sides(**dict.fromkeys(names, (60, 30, 1, 1))), averages={"exam": ("sample", names)})
    assert {item.verdict for item in outcome.judgements if not item.is_judged} == {"inconclusive"}
    assert outcome.verdict == "passed"


def test_a_floor_bounds_the_candidates_score(tmp_path: Path) -> None:
    answers = sides(law=(2000, 1000, 0, 0))
    above, below = (Policy(tasks=(Rule(match="law", floor=floor),)) for floor in (49, 51))
    assert gated(tmp_path / "above", *answers, above).verdict == "passed"
    outcome = gated(tmp_path / "below", *answers, below)
    assert (outcome.verdict, judgement_of(outcome, "law").reason) == ("regressed", "below its floor of 51 %")


def test_if_less_is_better_the_floor_is_a_ceiling(tmp_path: Path) -> None:
    less = {"metric": "abstention", "higher_is_better": False}
    baseline, candidate = ({"law": Answers([0] * 1500 + [1] * 500, **less)} for _ in range(2))
    policies = [Policy(tasks=(Rule(match="law", floor=floor),)) for floor in (26, 24)]
    verdicts = [gated(tmp_path / str(i), baseline, candidate, item).verdict for i, item in enumerate(policies)]
    assert verdicts == ["passed", "regressed"]


def test_fewer_documents_than_the_minimum_never_pass(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(2000, 1000, 0, 0)), Policy(minimum=3000))
    assert (outcome.verdict, judgement_of(outcome, "law").reason) == ("inconclusive", "fewer than 3,000 documents")


def test_inconclusive_may_be_allowed_but_is_not_called_passed(tmp_path: Path) -> None:
    answers = sides(law=(50, 25, 1, 1), math=(2000, 1000, 0, 0))
    outcome = gated(tmp_path / "all", *answers, Policy(inconclusive="allow"))
    assert (outcome.verdict, outcome.exit_code) == ("inconclusive", 0)
    for task, code in (("law", 0), ("math", 3)):
        policy = Policy(tasks=(Rule(match=task, inconclusive="allow"),))
        assert gated(tmp_path / task, *answers, policy).exit_code == code


def test_allowing_inconclusive_verdicts_allows_no_loss(tmp_path: Path) -> None:
    outcome = gated(tmp_path, *sides(law=(500, 400, 60, 10)), Policy(inconclusive="allow"))
    assert (outcome.verdict, outcome.exit_code) == ("regressed", 1)


def test_constant_answers_are_a_sign_and_do_not_pass(tmp_path: Path) -> None:
    """A model that answers Yes to every item of a task with two answers keeps its accuracy."""
    targets = ["Yes", "No"] * 1000
    before = ["Yes", "No", "No", "Yes"] * 500
    right = [
        [int(prediction == target) for prediction, target in zip(side, targets, strict=True)]
        for side in (before, ["Yes"] * 2000)
    ]
    baseline = {"mrpc": Answers(right[0], predictions=before, targets=targets)}
    candidate = {"mrpc": Answers(right[1], predictions=["Yes"] * 2000, targets=targets)}
    outcome = gated(tmp_path / "look", baseline, candidate, Policy(margin=8))
    judgement = judgement_of(outcome, "mrpc")
    assert [sign.name for sign in judgement.signs] == ["constant answers"]
    assert "'Yes'" in judgement.signs[0].text
    assert (outcome.verdict, outcome.exit_code) == ("inconclusive", 3)
    assert gated(tmp_path / "ignore", baseline, candidate, Policy(margin=8, signs="ignore")).verdict == "passed"


def test_a_watched_member_shows_constant_answers_but_no_rise(tmp_path: Path) -> None:
    targets = ["Yes", "No"] * 1000
    plain = {"targets": targets, "metric": "acc"}
    varied = {"predictions": ["Yes", "No", "No", "Yes"] * 500, "more": {"unparsed": [0] * 2000}}
    constant = {"predictions": ["Yes"] * 2000, "more": {"unparsed": [1] * 100 + [0] * 1900}}
    mrpc = [Answers([1, 0] * 1000, **plain, **settings) for settings in (varied, constant)]
    nli = Answers([1, 0] * 1000, **plain, predictions=["Yes", "No", "No", "Yes"] * 500)
    averages = {"glue": ("task", ["mrpc", "nli"])}
    outcome = gated(tmp_path, {"mrpc": mrpc[0], "nli": nli}, {"mrpc": mrpc[1], "nli": nli}, averages=averages)
    judgement = judgement_of(outcome, "mrpc")
    assert (judgement.is_judged, [sign.name for sign in judgement.signs]) == (False, ["constant answers"])
    assert "mrpc: answers 'Yes' to 2,000 of 2,000 documents (baseline: 1,000)" in OutcomeText.of(outcome).remarks
    assert outcome.verdict == "passed"


def test_a_rise_of_abstentions_is_a_sign(tmp_path: Path) -> None:
    never, often = [0] * 2000, [1] * 200 + [0] * 1800
    right = flipped(2000, 1000, 0, 0)
    outcome = gated(
        tmp_path,
        {"law": Answers(right[0], more={"abstention": never})},
        {"law": Answers(right[1], more={"abstention": often})},
    )
    assert [sign.name for sign in judgement_of(outcome, "law").signs] == ["abstentions"]
    assert outcome.verdict == "inconclusive"


def test_a_length_collapse_is_a_sign(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).random(500).tolist()
    plain = {"metric": "rouge", "fraction": True, "targets": ["a long answer"] * 500}
    outcome = gated(
        tmp_path,
        {"adgen": Answers(scores, responses=["a long answer"] * 500, **plain)},
        {"adgen": Answers(scores, responses=["short"] * 500, **plain)},
    )
    assert [sign.name for sign in judgement_of(outcome, "adgen").signs] == ["length collapse"]


def test_tainted_documents_are_not_judged(tmp_path: Path) -> None:
    """The candidate memorised a third of the documents and forgot others."""
    tainted = [True] * 300 + [False] * 600
    baseline = {"law": Answers([0] * 300 + [1] * 600, tainted=tainted)}
    candidate = {"law": Answers([1] * 300 + [0] * 100 + [1] * 500, tainted=tainted)}
    outcome = gated(tmp_path, baseline, candidate)
    comparison = judgement_of(outcome, "law").comparison
    assert outcome.verdict == "regressed"
    assert (comparison.documents, comparison.difference) == (600, pytest.approx(-1 / 6))
    assert comparison.tainted is not None
    assert comparison.tainted.difference == 1.0


# --- what cannot be judged --------------------------------------------------------------------------------------------


def test_a_candidate_that_lacks_a_task_is_refused(tmp_path: Path) -> None:
    baseline, candidate = sides(law=(20, 10, 1, 1), math=(20, 10, 1, 1))
    del candidate["math"]
    with pytest.raises(HarnessError, match=r"cand cannot be judged against base.* math: cand has no acc for it"):
        gated(tmp_path, baseline, candidate)


def test_different_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="law: different prompts of 4 of 4 documents"):
        gated(tmp_path, {"law": Answers([1, 0, 1, 1])}, {"law": Answers([1, 0, 1, 1], prompt="x")})


def test_tasks_that_the_baseline_lacks_are_noted(tmp_path: Path) -> None:
    baseline, candidate = sides(law=(2000, 1000, 0, 0), math=(20, 10, 1, 1))
    del baseline["math"]
    outcome = gated(tmp_path, baseline, candidate)
    assert outcome.verdict == "passed"
    assert outcome.notes == ("not judged because the baseline lacks them: math",)


def test_prompts_cut_in_one_report_are_noted(tmp_path: Path) -> None:
    cut = Answers([1, 0] * 500, info={"truncated": 12})
    outcome = gated(tmp_path, {"law": Answers([1, 0] * 500)}, {"law": cut})
    assert outcome.notes == ("12 prompts cut to fit the context instead of 0",)
    few = Answers([1, 0] * 400, info={"truncated": 12})  # with different documents, different prompts are cut
    assert len(gated(tmp_path / "few", {"law": Answers([1, 0] * 500)}, {"law": few}).notes) == 1


def test_documents_that_only_one_checkpoint_answered_are_noted(tmp_path: Path) -> None:
    outcome = gated(tmp_path, {"law": Answers([1, 0] * 500)}, {"law": Answers([1, 0] * 400)})
    assert outcome.notes == ("law: 200 documents left out because only one checkpoint answered",)
    assert judgement_of(outcome, "law").comparison.documents == 800


def test_a_rule_that_matches_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="rule 'lwa' matches no task"):
        gated(tmp_path, *sides(law=(20, 10, 1, 1)), Policy(tasks=(Rule(match="lwa"),)))


def test_a_candidate_identical_to_the_baseline_is_noted(tmp_path: Path) -> None:
    item = report(tmp_path, "base", sides(law=(2000, 1000, 0, 0))[0])
    assert gate(item, item, Policy()).notes == ("the candidate is identical to the baseline (same fingerprint)",)


def test_a_named_member_is_judged_by_itself(tmp_path: Path) -> None:
    averages = {"exam": ("task", ["law", "logic"])}
    baseline, candidate = sides(law=(2000, 1000, 0, 0), logic=(50, 25, 1, 1))
    first, second = (
        report(tmp_path / name, name, side, averages=averages) for name, side in (("a", baseline), ("b", candidate))
    )
    outcome = gate(first, second, Policy(), ["law"])
    assert [(item.score.task, item.is_judged) for item in outcome.judgements] == [("law", True)]
    assert outcome.verdict == "passed"
