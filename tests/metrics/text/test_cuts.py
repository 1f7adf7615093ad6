"""Cuts: words equal those of the libraries, and the references decide which cut a task has."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import tokenize
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar

from harness.metrics.text import cuts
from support.languages import TEXTS


@pytest.mark.parametrize("language", TEXTS)
def test_the_references_decide_the_cut(language: str) -> None:
    first, second, cut = TEXTS[language]
    assert cuts.choose([first, second]) == cut
    assert cuts.CUTS[cut](first)


@pytest.mark.parametrize(
    ("references", "cut"),
    [
        (["Hello, world", "a café"], "unicode"),
        (["Hello, world", "a cafe\u0301"], "unicode"),
        (["Привет", "hello"], "unicode"),
        (["你好", "hello"], "jieba"),
        (["答案是α粒子。", "GPT-4 模型"], "jieba"),
        (["你好", "Привет мир"], "characters"),
        (["你好", "こんにちは"], "characters"),
        (["hello", "こんにちは"], "characters"),
        (["hello ❤️", "👍🏽 ok"], "words"),
        (["１２３", "abc"], "unicode"),
        (["ＡＢＣ、", "abc"], "unicode"),
        (["hello，world！", "～ok"], "words"),
        (["a²", "b"], "unicode"),
        (["1️⃣ first", "second"], "words"),
        (["２０２３", "今天是２０２３年"], "jieba"),
        (["ＧＰＴ－４ 模型", "ＯＫ", "好"], "jieba"),
        (["①甲", "②乙", "第Ⅳ章"], "jieba"),
        (["今天很好😀", "👍🏽 好", "1️⃣ 先洗手"], "jieba"),
        (["今天天气很好，我们去公园散步吧。", "α"], "jieba"),
        (["今天天气很好，我们去公园散步吧。", "Beyoncé 和 Zoë 来了"], "jieba"),
        (["今天天气很好，我们去公园散步吧。" * 3, "鲜の每日很有名"], "jieba"),
        (["歌手方탄的歌", "今天天气很好，我们去公园散步吧。"], "jieba"),
        (["iPhone 15 Pro Max", "这款手机很好"], "jieba"),
        (["今日は天気がいいです", "東京"], "characters"),
        (["서울은 한국의 수도", "BTS (방탄소년단)"], "characters"),
        (["삼성전자 三星 Galaxy", "오늘 날씨"], "characters"),
        (["กรุงเทพ 2023", "ＯＫ ครับ"], "characters"),
        (["Сегодня в Пекине (北京) хорошая погода"], "unicode"),
        (["The capital is Beijing 北京", "hello world"], "unicode"),
        (["الطقس جميل في ２０２٣ اليوم"], "unicode"),
        (["今天", "Сегодня хорошая погода в городе"], "characters"),
    ],
)
def test_a_mixture_has_the_cut_that_finds_words_in_all_of_it(references: list[str], cut: str) -> None:
    assert cuts.choose(references) == cut
    assert cuts.choose(references[::-1]) == cut


@given(st.text(max_size=40))
def test_latin_words_equal_rouge_scores(text: str) -> None:
    assert list(cuts.latin_words(text)) == tokenize.tokenize(text, None)


@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_unicode_words_of_ascii_equal_rouge_scores(text: str) -> None:
    assert list(cuts.unicode_words(text)) == tokenize.tokenize(text, None)


@given(st.text(st.sampled_from("aÉе七はกั한. !😀\n3"), max_size=30))
def test_characters_equal_sacrebleus_without_punctuation(text: str) -> None:
    kept = [token for token in TokenizerChar()(text.lower()).split() if unicodedata.category(token)[0] in "LMN"]
    if not any(mark and not before for mark, before in marks(text)):
        assert "".join(cuts.characters(text)) == unicodedata.normalize("NFC", "".join(kept))


def marks(text: str) -> list[tuple[bool, bool]]:
    """Return for each character whether it is a mark, and whether it follows a letter or another mark."""
    kinds = [unicodedata.category(character)[0] for character in text]
    return [(kind == "M", before in "LN") for kind, before in zip(kinds, ["Z", *kinds], strict=False)]


def in_usual_width(character: str) -> str:
    """Return a full-width or half-width character as the one that Unicode says it stands for."""
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in ("<wide>", "<narrow>") else character


@pytest.mark.parametrize("cut", ["unicode", "characters"])
@given(text=st.text(st.sampled_from("ａＺ０９ｶﾞﾊﾟﾡ é。x"), max_size=20))
def test_width_changes_no_word(cut: str, text: str) -> None:
    assert cuts.CUTS[cut](text) == cuts.CUTS[cut]("".join(map(in_usual_width, text)))


@given(st.text(max_size=30))
def test_no_letter_is_lost(text: str) -> None:
    usual = unicodedata.normalize("NFC", "".join(map(in_usual_width, text)).lower())
    letters = [c for c in usual if unicodedata.category(c)[0] in "LN"]
    for cut in (cuts.unicode_words, cuts.characters):
        assert [c for c in "".join(cut(text)) if unicodedata.category(c)[0] in "LN"] == letters
    assert cuts.has_word(text) == bool(letters)


@pytest.mark.parametrize("text", ["", "。！", "😀", "❤️", "👍🏽", "???", "…", "\u0301"])
def test_punctuation_and_emoji_are_no_words(text: str) -> None:
    assert not cuts.has_word(text)
