"""The exception that is meant for people."""

from __future__ import annotations

from harness.errors import HarnessError, did_you_mean


def test_a_message_stays_on_one_line_whatever_it_quotes() -> None:
    assert str(HarnessError("there is no folder a\nb")) == "there is no folder a b"


def test_the_closest_word_is_offered_and_a_far_one_is_not() -> None:
    assert did_you_mean("adaptor", ["adapter", "dtype"]) == "; did you mean 'adapter'?"
    assert did_you_mean("zzz", ["adapter", "dtype"]) == ""
