"""Signs of broken answers, on invented answers with and without them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from harness.verdicts import signs
from harness.verdicts.signs import Answers, Expected, Sign, find

N = 400


def objects(values: list[Any]) -> signs.Objects:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def shared(share: float, value: Any, rest: Any, n: int = N) -> signs.Objects:
    """Return n values: `value` for the first `share` of them, `rest` for the others."""
    count = round(share * n)
    return objects([value] * count + [rest] * (n - count))


def predicted(predictions: signs.Objects, **more: Any) -> Answers:
    return Answers(predictions=predictions, **more)


# --- constant answers -------------------------------------------------------------------------------------------------


def test_answering_yes_to_everything_is_a_sign() -> None:
    targets = shared(0.68, "yes", "no")
    baseline = predicted(shared(0.64, " Yes", " No"))
    assert find(baseline, predicted(shared(1, " Yes", " No")), Expected(targets)) == [
        Sign("constant answers", "answers 'Yes' to 400 of 400 documents (baseline: 256)")
    ]
    assert find(baseline, predicted(shared(0.95, " Yes", " No")), Expected(targets))[0].name == "constant answers"
    assert find(baseline, predicted(shared(0.94, " Yes", " No")), Expected(targets)) == []


def test_an_answer_that_the_baseline_never_gave_can_be_constant() -> None:
    signs_found = find(
        predicted(shared(0.5, "a", "b")),
        predicted(shared(1, "第一行\n第二行" + "长" * 50, "")),
        Expected(shared(0.5, "a", "b")),
    )
    assert signs_found[0].text == f"answers '第一行 第二行{'长' * 33}…' to 400 of 400 documents (baseline: 0)"


@pytest.mark.parametrize(
    ("baseline", "candidate", "targets"),
    [
        (shared(0.5, "a", "b"), shared(1, "a", "b"), shared(0.97, "a", "b")),  # the constant answer is expected
        (shared(0.5, "a", "b"), shared(1, "a", "b"), shared(1, "", "")),  # the right answers are unknown
        (shared(0.5, "a", "b"), shared(1, "a", "b"), None),
        (shared(1, "a", "b"), shared(1, "a", "b"), shared(0.6, "a", "b")),  # the baseline had the same constant answer
        (shared(1, "b", "a"), shared(1, "a", "b"), shared(0.6, "a", "b")),  # the baseline had another constant answer
        (shared(0.5, "a", "b", 19), shared(1, "a", "b", 19), shared(0.5, "a", "b", 19)),  # too few documents
        (shared(0.5, "a", "b"), None, shared(0.5, "a", "b")),
    ],
)
def test_constant_answers_are_not_a_sign_if_expected_or_not_new(baseline: Any, candidate: Any, targets: Any) -> None:
    assert find(predicted(baseline), Answers(predictions=candidate), Expected(targets)) == []


def test_always_choosing_the_first_choice_is_a_sign() -> None:
    right = np.arange(N) % 4
    free = objects([f"choice {i}" for i in range(N)])
    baseline, candidate = predicted(free, places=right[::-1].copy()), predicted(free, places=np.zeros(N, dtype=int))
    assert find(baseline, candidate, Expected(free, right)) == [
        Sign("constant answers", "chooses number 1 in 400 of 400 documents (baseline: 100)")
    ]
    assert find(baseline, candidate, Expected(free, np.full(N, 3))) == []


# --- jumps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "sign"),
    [
        ("abstention", Sign("abstentions", "abstains on 40 of 400 documents (baseline: 12)")),
        ("abstention_repaired", Sign("abstentions", "abstains on 40 of 400 documents (baseline: 12)")),
        ("unparsed", Sign("parse failures", "no answer can be parsed for 40 of 400 documents (baseline: 12)")),
        ("empty", Sign("empty answers", "gives an empty answer to 40 of 400 documents (baseline: 12)")),
    ],
)
def test_a_rising_failure_metric_is_a_sign(metric: str, sign: Sign) -> None:
    few, many = (shared(share, 1.0, 0.0).astype(float) for share in (0.03, 0.1))
    assert find(Answers(metrics={metric: few}), Answers(metrics={metric: many}), Expected()) == [sign]
    assert find(Answers(metrics={metric: many}), Answers(metrics={metric: few}), Expected()) == []
    assert find(Answers(metrics={metric: many}), Answers(metrics={metric: many}), Expected()) == []
    assert find(Answers(), Answers(metrics={metric: many}), Expected()) == []


def test_a_rise_is_a_sign_if_it_is_large_and_not_by_chance() -> None:
    def rise(n: int, before: int, after: int) -> list[Sign]:
        shares = [np.arange(n) < count for count in (before, after)]
        columns = [{"abstention": share.astype(float)} for share in shares]
        return find(Answers(metrics=columns[0]), Answers(metrics=columns[1]), Expected())

    assert rise(10_000, 100, 310)
    assert not rise(10_000, 100, 290)  # 1.9 points: certain, but below the threshold
    assert rise(100, 0, 8)
    assert not rise(100, 0, 2)  # 2 points, possibly by chance


def test_a_rise_in_one_cluster_is_not_a_sign() -> None:
    before, after = np.zeros(100), (np.arange(100) < 25).astype(float)
    columns = Answers(metrics={"unparsed": before}), Answers(metrics={"unparsed": after})
    assert find(*columns, Expected())
    assert not find(*columns, Expected(), np.arange(100) // 25)


def test_documents_without_a_value_are_left_out_and_fractions_are_percentages() -> None:
    before, after = np.zeros(N), np.full(N, 0.25)
    before[0], after[1] = np.nan, np.nan
    signs_found = find(Answers(metrics={"empty": before}), Answers(metrics={"empty": after}), Expected())
    assert signs_found == [Sign("empty answers", "gives an empty answer to 25.0% of 398 documents (baseline: 0.0%)")]
    counts = Answers(metrics={"empty": np.full(N, 5.0)})  # a metric of that name that is not a fraction
    assert find(Answers(metrics={"empty": before}), counts, Expected()) == []


def test_one_kind_of_failure_is_named_once() -> None:
    few, many = np.zeros(N), np.ones(N)
    before = Answers(metrics={"abstention": few, "abstention_repaired": few})
    after = Answers(metrics={"abstention": many, "abstention_repaired": many})
    assert [sign.name for sign in find(before, after, Expected())] == ["abstentions"]


@pytest.mark.parametrize("nothing", ["[invalid]", "", " \n"])
def test_invalid_predictions_are_parse_failures(nothing: str) -> None:
    targets, lengths = shared(0.5, "A", "B"), np.full(N, 30.0)
    baseline, candidate = predicted(targets, lengths=lengths), predicted(shared(1, nothing, "A"), lengths=lengths)
    assert find(baseline, candidate, Expected(targets)) == [
        Sign("parse failures", "no answer can be parsed for 400 of 400 documents (baseline: 0)")
    ]


def test_an_empty_response_is_an_empty_answer_not_a_parse_failure() -> None:
    targets, lengths = shared(0.5, "A", "B"), (np.arange(N) >= 40) * 30.0
    baseline, candidate = predicted(targets, lengths=np.full(N, 30.0)), predicted(shared(0.1, "", "A"), lengths=lengths)
    assert find(baseline, candidate, Expected(targets)) == [
        Sign("empty answers", "gives an empty answer to 40 of 400 documents (baseline: 0)")
    ]


# --- lengths ----------------------------------------------------------------------------------------------------------


def collapse(before: float, after: float, target: str | None, n: int = N) -> list[Sign]:
    targets = None if target is None else shared(1, target, "", n)
    return find(Answers(lengths=np.full(n, before)), Answers(lengths=np.full(n, after)), Expected(targets))


def test_responses_that_shrink_to_less_than_half_are_a_sign() -> None:
    sign = Sign("length collapse", "half of its answers have 40 characters or fewer (baseline: 100)")
    assert collapse(100, 40, None) == collapse(100, 40, "长" * 90) == collapse(100, 40, "") == [sign]
    assert collapse(100, 50, None) == []
    assert collapse(100, 40, "B") == []  # a single letter is expected; the baseline added words around it
    assert collapse(100, 40, None, 19) == []
    assert collapse(40, 100, None) == []


def test_signs_in_many_documents_are_found_fast() -> None:
    n = 14_042
    texts = objects([f"answer {i}" for i in range(n)])
    both = [
        predicted(
            texts, places=np.arange(n) % 4, lengths=np.arange(n) * 1.0, metrics={"abstention": np.arange(n) % 2 * 1.0}
        )
        for _ in range(2)
    ]
    start = time.perf_counter()
    assert find(*both, Expected(texts, np.arange(n) % 4)) == []
    assert time.perf_counter() - start < 2
