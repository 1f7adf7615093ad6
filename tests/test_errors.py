"""The exception for errors that a user can correct."""

from __future__ import annotations

from harness.errors import HarnessError, did_you_mean


def test_a_message_stays_on_one_line() -> None:
    assert str(HarnessError("there is no folder a\nb")) == "there is no folder a b"


def test_only_a_close_word_is_suggested() -> None:
    assert did_you_mean("adaptor", ["adapter", "dtype"]) == "; did you mean 'adapter'?"
    assert did_you_mean("zzz", ["adapter", "dtype"]) == ""
