"""Marks of thoughts in decoded text, whatever kind of token spells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from harness.engine.decoding import stopping, thinking
from harness.engine.decoding.spelling import Speller
from harness.engine.decoding.thinking import KNOWN, Marks
from support import tiny

WRITTEN = {family.open: f"{family.open}甲{family.close}{family.answer_open}乙{family.answer_close}" for family in KNOWN}


def with_tokens(folder: Path, texts: list[str], *, special: bool) -> Any:
    """Return a tokenizer with added tokens that are special in tokenizer.json alone, as if saved by another library."""
    words = tiny.tokenizer()
    words.add_tokens(texts)
    words.save_pretrained(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for token in content["added_tokens"]:
        if token["content"] in texts:
            token["special"] = special
    file.write_text(json.dumps(content), encoding="utf-8")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return AutoTokenizer.from_pretrained(folder)


def tokens_of(family: Marks) -> list[str]:
    """Return the marks of `family` as separate added tokens; those of gpt-oss are made of several."""
    if "<|message|>" in family.open:
        return ["<|channel|>", "<|message|>", "<|start|>", "<|end|>"]
    return [text.strip() for text in family.texts]


@pytest.mark.parametrize("family", KNOWN, ids=lambda family: family.open.strip())
@pytest.mark.parametrize("kind", ["special", "added", "ordinary"])
def test_marks_of_every_kind_of_token_part_the_thought_from_the_answer(
    tmp_path: Path, family: Marks, kind: str
) -> None:
    words = tiny.tokenizer()
    if kind != "ordinary":
        words = with_tokens(tmp_path, tokens_of(family), special=kind == "special")
    ids = words.encode(WRITTEN[family.open] + "</s>", add_special_tokens=False)
    for marks in (KNOWN, (family,)):
        result = stopping.finished(Speller(words, marks), ids, (), marks)
        parts = thinking.split(result.text, marks=marks)
        assert (parts.answer, parts.finished) == ("乙", True)
        assert family.open.strip() in parts.thought


def test_special_tokens_that_are_no_marks_are_dropped(tmp_path: Path) -> None:
    words = with_tokens(tmp_path, ["<think>", "</think>", "<|image|>"], special=True)
    ids = words.encode("<s><think>甲<|image|></think><|image|>乙</s><pad>", add_special_tokens=False)
    assert Speller(words).text(ids) == "<think>甲</think>乙"
    assert Speller(words).text(words.encode("<|image|>乙</s>", add_special_tokens=False)) == "乙"


def test_a_tokenizer_whose_unknown_token_is_a_mark_loses_no_answer() -> None:
    words = tiny.tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    words.unk_token = "<think>"
    ids = words.encode("甲</think>乙", add_special_tokens=False)
    assert thinking.split(Speller(words).text(ids)).answer == "乙"
