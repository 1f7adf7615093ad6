"""Valid and invalid gate.yaml files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.reports.report import Score
from harness.verdicts import policy
from harness.verdicts.policy import Margin, Policy
from support.answered import Answers, report


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str) -> Policy:
        (tmp_path / "gate.yaml").write_text(text, encoding="utf-8")
        return policy.read(tmp_path / "gate.yaml")

    return written


@pytest.fixture
def scores(tmp_path: Path) -> list[Score]:
    tasks = {
        "ceval_law": Answers([1, 0, 1], more={"abstention": [0, 0, 1]}),
        "ceval_physics": Answers([1, 0, 1, 0]),
        "adgen": Answers([31.5, 12.25], "rouge_l", fraction=False),
        "wiki": Answers([2.5, 3.5], "bits", higher_is_better=False, fraction=False),
    }
    averages = {"ceval": ("task", ["ceval_law", "ceval_physics"])}
    return report(tmp_path, "base", tasks, averages=averages).manifest.scores


def of(scores: list[Score], task: str, metric: str | None = None) -> Score:
    return next(score for score in scores if score.task == task and metric in (None, score.metric))


def test_the_default_margin_is_two_points_or_two_percent(write: Any, scores: list[Score]) -> None:
    for text in ("", "# nothing\n", "{}"):
        policy_ = write(text)
        assert policy_ == Policy()
        assert policy_.terms(of(scores, "ceval")).margin.of(of(scores, "ceval"), 0.5) == 0.02
        assert policy_.terms(of(scores, "adgen")).margin.of(of(scores, "adgen"), 20.0) == 2.0
        assert policy_.terms(of(scores, "wiki")).margin.of(of(scores, "wiki"), 3.0) == 0.06
        assert policy_.terms(of(scores, "wiki"))[1:] == (0.05, None, 1, "block")


@pytest.mark.parametrize(
    ("number", "higher_is_better", "margin"),
    [
        (0.55, True, 0.02),  # an undeclared fraction of right answers, or a correlation
        (-0.1, True, 0.02),
        (0.0, True, 0.02),
        (4.5, True, 0.09),  # marks from 1 to 5
        (31.5, True, 2.0),  # up to 100
        (-250.0, True, 5.0),  # a log-likelihood
        (0.8, False, 0.016),
    ],
)
def test_the_default_margin_is_small_on_every_scale(
    scores: list[Score], number: float, higher_is_better: bool, margin: float
) -> None:
    update = {"value": number, "higher_is_better": higher_is_better}
    score = of(scores, "adgen").model_copy(update=update)
    assert Policy().terms(score).margin.of(score, number) == pytest.approx(margin)
    assert Policy(margin=3).terms(score).margin.of(score, number) == (0.03 if abs(number) <= 1 else 3)


def test_the_first_matching_rule_applies_and_the_policy_fills_omitted_keys(write: Any, scores: list[Score]) -> None:
    policy_ = write(
        "margin: 3\nalpha: 0.01\ntasks:\n"
        "- {match: ceval_law, floor: 45, minimum: 100}\n"
        "- {match: 'ceval*', margin: 5%, inconclusive: allow}\n"
    )
    law, physics, wiki = (policy_.terms(of(scores, name)) for name in ("ceval_law", "ceval_physics", "wiki"))
    assert (law.margin, law.alpha, law.floor, law.minimum, law.inconclusive) == (Margin(3), 0.01, 0.45, 100, "block")
    assert (physics.margin, physics.inconclusive, physics.floor) == (Margin(0.05, True), "allow", None)
    assert wiki.margin == Margin(3)


def test_a_floor_is_in_points_for_fractions_and_otherwise_in_the_metrics_unit(write: Any, scores: list[Score]) -> None:
    policy_ = write("tasks:\n- {match: adgen, floor: 20}\n- {match: 'ceval*', floor: 20}\n")
    assert policy_.terms(of(scores, "adgen")).floor == 20
    assert policy_.terms(of(scores, "ceval")).floor == 0.2


def test_the_primary_metric_represents_a_task_unless_a_rule_names_another(write: Any, scores: list[Score]) -> None:
    plain = [(score.task, score.metric) for score in write("").select(scores)]
    tasks = ["ceval", "ceval_law", "ceval_physics", "adgen", "wiki"]
    assert plain == list(zip(tasks, ["acc", "acc", "acc", "rouge_l", "bits"], strict=True))
    named = write("tasks:\n- {match: ceval_law, metric: abstention}\n").select(scores)
    assert [(score.task, score.metric) for score in named] == [
        (t, "abstention" if t == "ceval_law" else m) for t, m in plain
    ]


def test_a_task_without_the_named_metric_keeps_its_primary_metric(write: Any, scores: list[Score]) -> None:
    selected = write("tasks:\n- {match: '*', metric: abstention}\n").select(scores)
    named = ["abstention" if score.task == "ceval_law" else score.metric for score in selected]
    assert len(selected) == 5
    assert [score.metric for score in selected] == named


def test_an_average_without_a_primary_metric_is_represented_by_its_first(write: Any, scores: list[Score]) -> None:
    mixed = [score.model_copy(update={"primary": score.primary and score.average is None}) for score in scores]
    assert next(score.task for score in write("").select(mixed)) == "ceval"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margin: 0", "margin: '0' is not a margin: write points above 0"),
        ("margin: -1", "is not a margin"),
        ("margin: yes", "is not a margin"),
        ("margin: two", "is not a margin"),
        ("margin: .inf", "is not a margin"),
        ("alpha: 0", "alpha: Input should be greater than 0"),
        ("alpha: 0.5", "alpha: Input should be less than 0.5"),
        ("minimum: 0", "minimum"),
        ("inconclusive: maybe", "inconclusive: Input should be 'block' or 'allow'"),
        ("margn: 2", "margn: Extra inputs are not permitted"),
        ("tasks:\n- {margin: 2}", "tasks.0.match: Field required"),
        ("tasks:\n- {match: x, flor: 2}", "tasks.0.flor"),
        ("tasks: 3", "tasks"),
        ("tasks:\n- {match: x, floor: .nan}", "tasks.0.floor: Input should be a finite number"),
        ("- margin", "does not hold keys and values"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_an_invalid_policy_is_one_error_sentence(write: Any, text: str, message: str) -> None:
    with pytest.raises(HarnessError, match=r"the policy .*gate\.yaml") as caught:
        write(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_policy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cannot be read .*check --policy"):
        policy.read(tmp_path / "gate.yaml")
    (tmp_path / "gate.yaml").write_bytes(b"\xff\xfe\x00margin")
    with pytest.raises(HarnessError, match=r"cannot be read|not valid YAML"):
        policy.read(tmp_path / "gate.yaml")


def test_a_rule_that_matches_no_task_or_metric_is_an_error(write: Any, scores: list[Score]) -> None:
    with pytest.raises(HarnessError, match=r"rule 'cevel\*' matches no task of the baseline .*ceval_law"):
        write("tasks:\n- match: cevel*\n").select(scores)
    with pytest.raises(HarnessError, match=r"rule 'adgen' names a metric that its tasks lack .*rouge_l \(none\)"):
        write("tasks:\n- {match: adgen, metric: bleu}\n").select(scores)


def test_a_rule_that_never_applies_is_an_error(write: Any, scores: list[Score]) -> None:
    hidden = "tasks:\n- {match: 'ceval*', margin: 1}\n- {match: ceval_law, floor: 45}\n"
    with pytest.raises(
        HarnessError, match=r"rule 'ceval_law' never applies: earlier rules \('ceval\*'\) match .* put it first"
    ):
        write(hidden).select(scores)
    write(
        "tasks:\n- {match: ceval_law, floor: 45}\n- {match: 'ceval*', margin: 1}\n- {match: '*', margin: 3}\n"
    ).select(scores)
    write("tasks:\n- {match: '*e*', margin: 1}\n- {match: 'wiki', margin: 1}\n- {match: '*', margin: 3}\n").select(
        scores
    )
