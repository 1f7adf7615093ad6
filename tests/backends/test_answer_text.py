"""The answer in a generated text."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends import answer_text
from harness.backends.answer_text import AnswerText

MARKS = ["<think>", "</think>", "[THINK]", "[/THINK]", "<|end_of_thought|>", "<|begin_of_solution|>"]
PIECES = [*MARKS, "<think>想</think>", "\n", "\n\n", " ", "7", "答案：A", "Question:", "</s>", "甲"]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
stops = st.lists(st.sampled_from(["\n", "\n\n", "Question:", "</s>", " "]), max_size=3)


@pytest.mark.parametrize(
    ("text", "until", "is_cut", "answer", "ending"),
    [
        ("7", [], False, "7", "stop"),
        ("7", [], True, "7", "limit"),
        ("7", [], None, "7", "unknown"),
        ("\n7\n8", ["\n"], None, "\n7", "stop"),
        ("<think>89</think>\n7", [], False, "7", "stop"),
        ("<think>89", [], True, "", "thought"),
        ("<think>\n\n</think>7\n\nQuestion: 8", ["\n\nQuestion:"], True, "7", "stop"),
        ("", [], False, "", "empty"),
        ("\u200b\n", [], None, "\u200b\n", "empty"),
        ("\n\n", [], True, "\n\n", "limit"),
        ("\ufeff\n7\n", ["\n"], None, "\ufeff\n7", "stop"),
        ("<think>89</think><think>7", [], True, "", "thought"),
        ("<think>8</think>7\nQuestion: <think>9</think>5", ["\nQuestion:"], None, "7", "stop"),
        ("<think>8</think>7\nQuestion: <think>9", ["\nQuestion:"], None, "7", "stop"),
    ],
)
def test_a_text_loses_its_thought_and_what_follows_a_stop(
    text: str, until: list[str], is_cut: bool | None, answer: str, ending: str
) -> None:
    result = answer_text.read(text, until, is_cut=is_cut)
    assert (result, result.ending) == (answer, ending)
    assert result.has_thought == text.startswith("<think>")


@given(texts, stops)
def test_what_was_read_once_is_read_again_as_the_same_text(text: str, until: list[str]) -> None:
    """A report's answers, or a file written from them, can be scored again."""
    first = answer_text.read(text, until)
    assert answer_text.read(first, until) == first


def test_copies_know_how_the_answer_ended() -> None:
    answer = AnswerText("7", "limit", has_thought=True)
    for again in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer)), answer.within("x")):
        assert (again.ending, again.has_thought) == ("limit", True)
    assert answer.within("x") == "x"
