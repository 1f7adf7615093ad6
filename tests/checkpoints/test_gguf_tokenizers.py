"""A GGUF file's own tokenizer makes the tokens of the original, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
from transformers import AutoTokenizer

from support import tiny
from support.gguf_files import written
from support.tampering import load, refusal

TEXTS = [*tiny.TEXTS, " 2024, 12.5% of  3 words\n\n</s>x", "emoji 🙂 \t tab"]


@pytest.fixture(scope="module")
def file(base, tmp_path_factory) -> Path:
    """The base as a file of 8-bit blocks."""
    return written(tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf", base, "Q8_0")


def test_the_tokenizer_of_a_file_makes_the_tokens_of_the_original(file, base):
    original, tokenizer = AutoTokenizer.from_pretrained(base), load(file).tokenizer
    assert [tokenizer(text)["input_ids"] for text in TEXTS] == [original(text)["input_ids"] for text in TEXTS]
    assert len(tokenizer) == len(original)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<s>", "</s>", "<pad>")


@pytest.mark.parametrize("adds", [True, False])
def test_a_file_says_whether_texts_begin_with_bos(base, tmp_path, adds):
    file = written(tmp_path / "tiny.gguf", base, settings={"tokenizer.ggml.add_bos_token": adds})
    assert (load(file).tokenizer("A")["input_ids"][0] == 1) is adds


def test_digits_are_split_before_merges_where_the_file_s_rule_says_so(base, tmp_path):
    words = AutoTokenizer.from_pretrained(base).get_vocab()
    tokens = sorted(words, key=words.__getitem__)
    tokens[-1] = "42"
    settings = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": ["4 2"]}
    by_rule = {}
    for rule in ("gpt-2", "smollm"):
        file = written(tmp_path / f"{rule}.gguf", base, settings={**settings, "tokenizer.ggml.pre": rule})
        by_rule[rule] = load(file).tokenizer.tokenize("a42")
    assert by_rule == {"gpt-2": ["a", "42"], "smollm": ["a", "4", "2"]}


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> sentencepiece.SentencePieceProcessor:
    """A vocabulary of SentencePiece, trained as LLaMA's."""
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "texts.txt").write_text("\n".join(tiny.TEXTS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts.txt"),
        model_prefix=str(folder / "pieces"),
        vocab_size=384,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))


def piece_settings(pieces: sentencepiece.SentencePieceProcessor) -> dict[str, object]:
    """Return the settings in which llama.cpp's converter states a vocabulary of SentencePiece."""
    ids = range(len(pieces))
    kinds = [2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1 for i in ids]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [pieces.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [float(pieces.get_score(i)) for i in ids],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": None,
        "tokenizer.ggml.add_bos_token": True,
    }


def test_a_sentencepiece_vocabulary_makes_the_tokens_of_sentencepiece(base, pieces, tmp_path):
    tokenizer = load(written(tmp_path / "tiny.gguf", base, settings=piece_settings(pieces))).tokenizer
    texts = [*tiny.TEXTS, "two  spaces", "a\nb\n\nc", "emoji 🙂 \t tab", "2024 12.5%", "x", "Aé", "花了一共 "]
    assert [tokenizer(text)["input_ids"] for text in texts] == [[1, *pieces.encode(text)] for text in texts]


def test_a_space_before_a_text_that_the_file_excludes_is_refused(base, pieces, tmp_path):
    settings = {**piece_settings(pieces), "tokenizer.ggml.add_space_prefix": False}
    assert "says that no space is put before a text" in refusal(written(tmp_path / "t.gguf", base, settings=settings))


@pytest.mark.parametrize("rule", ["default", "deepseek-llm", "of-tomorrow", None])
def test_a_rule_of_splitting_that_is_not_known_is_refused(base, tmp_path, rule):
    file = written(tmp_path / "tiny.gguf", base, settings={"tokenizer.ggml.pre": rule})
    assert f"llama.cpp's rule '{rule}'" in refusal(file)
    assert len(load(f"{file},tokenizer={base}").tokenizer) == 384


def test_a_file_without_a_tokenizer_is_refused(base, tmp_path):
    file = written(tmp_path / "tiny.gguf", base, settings={"tokenizer.ggml.model": None})
    assert "holds no tokenizer: name the folder of one with tokenizer=" in refusal(file)


def test_a_chat_template_and_the_end_of_a_turn_are_the_file_s(base, tmp_path):
    template = "{% for m in messages %}<s>{{ m.content }}{% endfor %}"
    settings = {"tokenizer.chat_template": template, "tokenizer.ggml.eot_token_id": 7}
    checkpoint = load(written(tmp_path / "tiny.gguf", base, settings=settings))
    assert checkpoint.tokenizer.chat_template == template
    assert checkpoint.eos_ids == (2, 7)


def test_an_end_of_text_that_a_file_does_not_state_is_not_invented(base, tmp_path):
    file = written(tmp_path / "tiny.gguf", base, settings={"tokenizer.ggml.eos_token_id": 5})
    assert load(file).eos_ids == (5,)
    assert load(file).model.config.eos_token_id == 5
