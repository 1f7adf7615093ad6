"""The ledger of answers: counts, shares, and when a number must not stand alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness.reports import ledger
from harness.reports.report import TaskInfo
from support.invented_reports import task_info


def info(**counts: Any) -> TaskInfo:
    return task_info("sums", 40, tokens_generated=1, **counts)


def test_every_kind_of_answer_is_counted_with_its_share_and_what_to_do() -> None:
    task = info(
        answers=40,
        empty_answers=2,
        cut_answers=12,
        answer_limit=256,
        unfinished_thoughts=3,
        not_understood=5,
        thoughts=9,
    )
    assert ledger.of_tasks([task]).sentence("sums") == (
        "sums: of 40 answers, 2 (5.0%) are empty, 12 (30.0%) reached their limit of 256 tokens, 3 (7.5%) never "
        "finished thinking and count as empty, 5 (12.5%) were not understood (--max-gen-toks raises the limit)"
    )


def test_answers_that_ended_and_were_understood_need_no_sentence() -> None:
    assert ledger.of_tasks([info(answers=40, cut_answers=0, not_understood=0)]).sentence("sums") == ""


@pytest.mark.parametrize(("documents", "doubtful"), [(20, False), (21, True)])
def test_a_number_is_doubtful_if_most_documents_are(documents: int, doubtful: bool) -> None:
    assert ledger.of_tasks([info(answers=40, doubtful_documents=documents)]).is_doubtful is doubtful


def test_an_average_adds_its_members_and_divides_by_what_is_known() -> None:
    total = ledger.of_tasks(
        [
            info(answers=40, cut_answers=1, answer_limit=256, not_understood=None),
            info(answers=120, cut_answers=None, answer_limit=64, not_understood=4, empty_answers=8),
            info(answers=0),
        ]
    )
    assert [(count.number, count.total) for count in total.counts] == [(8, 160), (1, 40), (4, 40)]
    assert "1 of 40 (2.5%) reached their limit of tokens" in total.sentence("all")
    assert (total.all_ended, total.all_understood) == (False, False)
    assert not ledger.of_tasks([info(answers=0)]).is_doubtful


def test_a_report_that_is_too_old_says_so() -> None:
    generated = info()
    assert (generated.answers, generated.tokens_generated) == (None, 1)
    assert "too old to say how answers ended" in ledger.of_tasks([generated]).sentence("sums")
    likelihoods = generated.model_copy(update={"tokens_generated": 0})
    assert ledger.of_tasks([likelihoods]).sentence("law") == ""
