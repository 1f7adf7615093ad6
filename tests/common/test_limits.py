"""The limit on documents: lm-eval's sample size, and what a person may type."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.evaluator_utils import get_sample_size

from harness.cli.options import parse_limit
from harness.common import limits


@given(st.integers(1, 10**6) | st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(1, 10**5))
def test_the_number_of_documents_is_lm_evals(limit: limits.Limit, count: int) -> None:
    theirs = get_sample_size(SimpleNamespace(eval_docs=range(count)), limit)
    assert limits.documents_within(limit, count) == min(theirs, count)


def test_without_a_limit_all_documents_count() -> None:
    assert limits.documents_within(None, 7) == 7


@pytest.mark.parametrize(("text", "limit"), [("20", 20), ("0.25", 0.25), (".5", 0.5), ("1", 1), ("0.999", 0.999)])
def test_a_limit_is_a_number_or_a_share(text: str, limit: limits.Limit) -> None:
    assert parse_limit(text) == limit
    assert type(parse_limit(text)) is type(limit)


@pytest.mark.parametrize(
    "text", ["0", "0.0", "-1", "-0.5", "1.0", "1.5", "2.0", "abc", "50%", "", "nan", "inf", "1e3", "1_0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="neither a number of documents, such as 20, nor a share below 1"):
        parse_limit(text)


def test_a_limit_in_words() -> None:
    assert limits.in_words(1000) == "limit 1,000 per task"
    assert limits.in_words(0.25) == "limit 0.25 of each task"
