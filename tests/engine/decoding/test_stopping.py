"""The text of a row that has ended."""

from __future__ import annotations

from harness.engine.decoding import stopping
from harness.engine.decoding.spelling import Speller
from support import tiny


def test_the_unknown_token_is_no_mark_of_a_thought() -> None:
    """A tokenizer without `<think>` returns its unknown token's id for it, which is a special token in Qwen's."""
    words = tiny.tokenizer()
    words.unk_token = "</s>"
    assert words.convert_tokens_to_ids("<think>") == words.eos_token_id
    ids = [60, words.eos_token_id, 61]
    assert stopping.finished(Speller(words), ids, ()) == (words.decode([60, 61]), 3)


def test_a_mark_that_is_a_special_token_stays_in_the_thought() -> None:
    words = tiny.tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = words.encode("<think>甲</think>乙</s>", add_special_tokens=False)
    assert stopping.finished(Speller(words), ids, ()).text == "<think>甲</think>乙"
