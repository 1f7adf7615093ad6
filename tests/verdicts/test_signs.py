"""Invented answers that look broken, and such as do not."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from harness.verdicts import signs
from harness.verdicts.signs import Answers, Expected, Sign, find

N = 400


def objects(values: list[Any]) -> signs.Objects:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def of(share: float, one: Any, other: Any, n: int = N) -> signs.Objects:
    """`share` of n documents have `one`, the first of them."""
    count = round(share * n)
    return objects([one] * count + [other] * (n - count))


def said(predictions: signs.Objects, **more: Any) -> Answers:
    return Answers(predictions=predictions, **more)


# --- constant answers -------------------------------------------------------------------------------------------------


def test_yes_to_everything_is_a_sign() -> None:
    targets = of(0.68, "yes", "no")
    baseline = said(of(0.64, " Yes", " No"))
    assert find(baseline, said(of(1, " Yes", " No")), Expected(targets)) == [
        Sign("constant answers", "answers 'Yes' to 400 of 400 documents (baseline: 256)")
    ]
    assert find(baseline, said(of(0.95, " Yes", " No")), Expected(targets))[0].name == "constant answers"
    assert find(baseline, said(of(0.94, " Yes", " No")), Expected(targets)) == []


def test_an_answer_that_the_baseline_never_gave_is_one_too() -> None:
    found = find(said(of(0.5, "a", "b")), said(of(1, "第一行\n第二行" + "长" * 50, "")), Expected(of(0.5, "a", "b")))
    assert found[0].text == f"answers '第一行 第二行{'长' * 33}…' to 400 of 400 documents (baseline: 0)"


@pytest.mark.parametrize(
    ("baseline", "candidate", "targets"),
    [
        (of(0.5, "a", "b"), of(1, "a", "b"), of(0.97, "a", "b")),  # it is what is wanted
        (of(0.5, "a", "b"), of(1, "a", "b"), of(1, "", "")),  # what is wanted is not known
        (of(0.5, "a", "b"), of(1, "a", "b"), None),
        (of(1, "a", "b"), of(1, "a", "b"), of(0.6, "a", "b")),  # it was so before
        (of(1, "b", "a"), of(1, "a", "b"), of(0.6, "a", "b")),  # so was another answer
        (of(0.5, "a", "b", 19), of(1, "a", "b", 19), of(0.5, "a", "b", 19)),  # too few to tell
        (of(0.5, "a", "b"), None, of(0.5, "a", "b")),
    ],
)
def test_what_is_no_news_is_no_sign(baseline: Any, candidate: Any, targets: Any) -> None:
    assert find(said(baseline), Answers(predictions=candidate), Expected(targets)) == []


def test_choosing_the_first_of_other_choices_every_time_is_a_sign() -> None:
    right = np.arange(N) % 4
    free = objects([f"choice {i}" for i in range(N)])
    baseline, candidate = said(free, places=right[::-1].copy()), said(free, places=np.zeros(N, dtype=int))
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
def test_a_failure_that_a_metric_counts_is_a_sign_where_it_rises(metric: str, sign: Sign) -> None:
    few, many = (of(share, 1.0, 0.0).astype(float) for share in (0.03, 0.1))
    assert find(Answers(metrics={metric: few}), Answers(metrics={metric: many}), Expected()) == [sign]
    assert find(Answers(metrics={metric: many}), Answers(metrics={metric: few}), Expected()) == []
    assert find(Answers(metrics={metric: many}), Answers(metrics={metric: many}), Expected()) == []
    assert find(Answers(), Answers(metrics={metric: many}), Expected()) == []


def test_a_rise_is_named_where_it_is_large_and_no_chance() -> None:
    def rise(n: int, before: int, now: int) -> list[Sign]:
        shares = [np.arange(n) < count for count in (before, now)]
        columns = [{"abstention": share.astype(float)} for share in shares]
        return find(Answers(metrics=columns[0]), Answers(metrics=columns[1]), Expected())

    assert rise(10_000, 100, 310)
    assert not rise(10_000, 100, 290)  # 1.9 points, though certain
    assert rise(100, 0, 8)
    assert not rise(100, 0, 2)  # 2 points, which chance may do


def test_a_rise_in_one_cluster_is_no_rise_of_all() -> None:
    before, now = np.zeros(100), (np.arange(100) < 25).astype(float)
    columns = Answers(metrics={"unparsed": before}), Answers(metrics={"unparsed": now})
    assert find(*columns, Expected())
    assert not find(*columns, Expected(), np.arange(100) // 25)


def test_documents_without_a_value_are_left_out_and_shares_are_told_as_such() -> None:
    before, now = np.zeros(N), np.full(N, 0.25)
    before[0], now[1] = np.nan, np.nan
    found = find(Answers(metrics={"empty": before}), Answers(metrics={"empty": now}), Expected())
    assert found == [Sign("empty answers", "gives an empty answer to 25.0% of 398 documents (baseline: 0.0%)")]
    counts = Answers(metrics={"empty": np.full(N, 5.0)})  # a metric of that name that is no share
    assert find(Answers(metrics={"empty": before}), counts, Expected()) == []


def test_one_kind_of_failure_is_named_once() -> None:
    few, many = np.zeros(N), np.ones(N)
    before = Answers(metrics={"abstention": few, "abstention_repaired": few})
    now = Answers(metrics={"abstention": many, "abstention_repaired": many})
    assert [sign.name for sign in find(before, now, Expected())] == ["abstentions"]


@pytest.mark.parametrize("nothing", ["[invalid]", "", " \n"])
def test_answers_in_which_a_filter_finds_nothing_cannot_be_read(nothing: str) -> None:
    targets, lengths = of(0.5, "A", "B"), np.full(N, 30.0)
    baseline, candidate = said(targets, lengths=lengths), said(of(1, nothing, "A"), lengths=lengths)
    assert find(baseline, candidate, Expected(targets)) == [
        Sign("parse failures", "no answer can be parsed for 400 of 400 documents (baseline: 0)")
    ]


def test_an_empty_response_is_an_empty_answer_and_not_one_that_cannot_be_read() -> None:
    targets, some = of(0.5, "A", "B"), (np.arange(N) >= 40) * 30.0
    baseline, candidate = said(targets, lengths=np.full(N, 30.0)), said(of(0.1, "", "A"), lengths=some)
    assert find(baseline, candidate, Expected(targets)) == [
        Sign("empty answers", "gives an empty answer to 40 of 400 documents (baseline: 0)")
    ]


# --- lengths ----------------------------------------------------------------------------------------------------------


def collapse(before: float, now: float, wanted: str | None, n: int = N) -> list[Sign]:
    targets = None if wanted is None else of(1, wanted, "", n)
    return find(Answers(lengths=np.full(n, before)), Answers(lengths=np.full(n, now)), Expected(targets))


def test_responses_that_shrink_to_less_than_half_are_a_sign() -> None:
    sign = Sign("length collapse", "half of its answers have 40 characters or fewer (baseline: 100)")
    assert collapse(100, 40, None) == collapse(100, 40, "长" * 90) == collapse(100, 40, "") == [sign]
    assert collapse(100, 50, None) == []
    assert collapse(100, 40, "B") == []  # the letter that is wanted, without the baseline's words around it
    assert collapse(100, 40, None, 19) == []
    assert collapse(40, 100, None) == []


def test_many_documents_are_gone_through_in_a_moment() -> None:
    n = 14_042
    texts = objects([f"answer {i}" for i in range(n)])
    both = [
        said(texts, places=np.arange(n) % 4, lengths=np.arange(n) * 1.0, metrics={"abstention": np.arange(n) % 2 * 1.0})
        for _ in range(2)
    ]
    start = time.perf_counter()
    assert find(*both, Expected(texts, np.arange(n) % 4)) == []
    assert time.perf_counter() - start < 2
