"""When a row ends, and the text of one that has ended."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.engine.decoding import stopping, thinking
from harness.engine.decoding.spelling import Speller
from harness.engine.decoding.stopping import Continuation, Stopper
from support import tiny

WORDS = tiny.tokenizer()


def test_the_unknown_token_is_no_mark_of_a_thought() -> None:
    """A tokenizer without `<think>` returns its unknown token's id for it, which is a special token in Qwen's."""
    words = tiny.tokenizer()
    words.unk_token = "</s>"
    assert words.convert_tokens_to_ids("<think>") == words.eos_token_id
    ids = [60, words.eos_token_id, 61]
    assert stopping.finished(Speller(words), ids, ()) == (words.decode([60, 61]), 3, False)


def test_a_mark_that_is_a_special_token_stays_in_the_thought() -> None:
    words = tiny.tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = words.encode("<think>甲</think>乙</s>", add_special_tokens=False)
    assert stopping.finished(Speller(words), ids, ()).text == "<think>甲</think>乙"


@pytest.mark.parametrize(
    ("text", "until", "answer"),
    [
        ("\n7", ["\n"], "\n7"),
        ("\n\n 7\n8", ["\n"], "\n\n 7"),
        ("\n\n", ["\n"], "\n\n"),
        (" \u3000\n答案\n\n下一题", ["\n\n"], " \u3000\n答案"),
        ("Question: 2", ["Question:"], ""),  # the next question, without an answer before it
        ("\nQuestion: 2", ["\nQuestion:", "\n"], ""),
        ("7</s>\n", ["\n", "</s>"], "7"),
        ("7", [], "7"),
    ],
)
def test_white_space_before_the_first_visible_character_is_no_stop(text: str, until: list[str], answer: str) -> None:
    assert stopping.cut(text, until) == answer


@given(st.text("\n a:", max_size=12), st.lists(st.text("\n a:", min_size=1, max_size=3), max_size=3))
def test_a_row_ends_with_the_token_that_completes_its_first_stop(text: str, until: list[str]) -> None:
    """Token by token, the stopper agrees with the rule on the whole text."""
    tokens = [WORDS.encode(letter, add_special_tokens=False)[0] for letter in text]
    stopper = Stopper(WORDS, until, eos_ids=[])
    stopper.watch(0, thinking=False)
    ends = [stopper.ended([0], [tokens[:length]])[0] for length in range(1, len(tokens) + 1)]
    expected = [stopping.find_stop(text[:length], until) is not None for length in range(1, len(tokens) + 1)]
    assert ends[: expected.index(True) + 1 if True in expected else None] == (
        expected[: expected.index(True) + 1] if True in expected else expected
    )


@pytest.mark.parametrize(
    ("text", "until", "expected"),
    [
        ("Sure. <think>a\n\nb</think>\n\n7\n\n8", ["\n\n"], "Sure. <think>a\n\nb</think>\n\n7"),
        ("<think>a</think>\n<think>b\n\nc</think>7\n\n8", ["\n\n"], "<think>a</think>\n<think>b\n\nc</think>7"),
        ("Sure.\n\n<think>a</think>7", ["\n\n"], "Sure."),
        ("<think>a</think>7\n\n<think>b</think>8", ["\n\n"], "<think>a</think>7"),
        ("89</think>\n7\n8", ["\n"], "89</think>\n7"),
    ],
)
def test_a_text_ends_at_its_first_stop_outside_all_thoughts(text: str, until: list[str], expected: str) -> None:
    end, answer = generated(WORDS.encode(text, add_special_tokens=False), until)
    assert (end, answer.text) == (True, expected)
    assert text[: stopping.find_end(text, until)] == expected


MARKS = ["<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "<|channel|>final<|message|>", "<answer>"]


@settings(deadline=None, max_examples=settings.default.max_examples)
@given(
    st.lists(st.sampled_from([*MARKS, "\n", "\n\n", " ", "7", "甲", "Q:", "</s>"]), max_size=12),
    st.lists(st.sampled_from(["\n", "\n\n", "Q:", " ", "</s>"]), max_size=2),
    st.booleans(),
)
@example(["7", "\n", "</think>"], ["\n"], False)
@example(["[/THINK]", "\n", "</think>"], ["\n"], False)
def test_a_row_ends_where_the_text_so_far_has_an_end(pieces: list[str], until: list[str], opened: bool) -> None:
    """Token by token, with marks that are several tokens, the stopper agrees with the rule on the whole text so far.

    What would follow does not matter: a closing mark behind a stop string cannot make a thought of what was answered.
    """
    tokens = [token for piece in pieces for token in WORDS.encode(piece, add_special_tokens=False)]
    texts = [WORDS.decode(tokens[: n + 1], skip_special_tokens="</s>" not in until) for n in range(len(tokens))]
    ends = [stopping.find_end(text, until, opened) for text in texts]
    first = next((n for n, place in enumerate(ends) if place is not None), None)
    end, answer = generated(tokens, until, opened=opened)
    assert end == (first is not None)
    text = "".join(texts[-1:]) if first is None else texts[first][: ends[first]]
    parts = thinking.split(text.replace("</s>", ""), opened)
    assert answer.text == parts.thought + parts.answer


def generated(tokens: list[int], until: list[str], *, opened: bool = False) -> tuple[bool, Continuation]:
    """Return whether the stopper ends the row of `tokens`, and its text."""
    stopper = Stopper(WORDS, until, eos_ids=[])
    stopper.watch(0, thinking=opened)
    lengths = range(1, len(tokens) + 1)
    end = next((length for length in lengths if stopper.ended([0], [tokens[:length]])[0]), None)
    return end is not None, stopper.finish(tokens[:end], thinking=opened, ended=end is not None)


def test_an_answer_is_cut_if_nothing_ended_it_before_its_limit() -> None:
    words = tiny.tokenizer()
    ids = words.encode("甲乙丙", add_special_tokens=False)
    assert stopping.finished(Speller(words), ids, (), ended=False).is_cut
    assert not stopping.finished(Speller(words), ids, (), ended=True).is_cut
    assert not stopping.finished(Speller(words), ids, ("丙",), ended=False).is_cut
