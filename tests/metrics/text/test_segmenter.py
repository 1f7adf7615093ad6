"""Words equal jieba's, in time proportional to the length of the text."""

from __future__ import annotations

from pathlib import Path

import jieba
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.text import segmenter
from support.growth import is_proportional

jieba.initialize()
segmenter.load()

# Words in the dictionary, with shorter words in them; words that it lacks; Latin letters, digits and other signs.
pieces = st.sampled_from(
    [
        *("中华人民共和国", "人民", "民", "研究生命起源", "南京市长江大桥", "的", "了", "一", "阔腿裤", "甄嬛"),
        *("王小明", "小立领", "亮亮", "polo领", "a字", "V领", "3.14%", "100", "C++", "Ａ", "，", "。", "!", " ", "\n"),
        *("—", "㐀", "𠀀"),
    ]
)
chinese = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=12)


@given(st.lists(st.one_of(pieces, chinese, st.text(max_size=4)), max_size=20).map("".join))
def test_words_equal_jiebas(text: str) -> None:
    assert segmenter.words(text) == jieba.lcut(text)


def test_words_added_to_jieba_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    word = "乙炔丁烯丙酮基"
    before = segmenter.words(word)
    for end in range(1, len(word)):
        monkeypatch.setitem(jieba.dt.FREQ, word[:end], jieba.dt.FREQ.get(word[:end], 0))
    monkeypatch.setitem(jieba.dt.FREQ, word, 10**6)
    assert jieba.lcut(word) == [word]
    assert segmenter.words(word) == before != [word]


@given(st.text(st.sampled_from("的了魑翙谖氪阔腿甄嬛"), max_size=60))
def test_long_runs_of_single_characters_are_cut_as_in_jieba(text: str) -> None:
    assert segmenter.words(text) == jieba.lcut(text)


@pytest.mark.parametrize("piece", ["的", "亮", "㐀", "人民", "简约的牛仔外套，", "a1.", " \n", "翙谖氪"])
def test_time_is_proportional_to_length(piece: str) -> None:
    assert is_proportional(segmenter.words, piece, 2_000, 20_000)


@pytest.mark.data
@pytest.mark.oracle
def test_words_of_advertising_copy_equal_jiebas(data: Path) -> None:
    files = sorted((data / "shibing624" / "AdvertiseGen" / "data").glob("*.parquet"))
    texts = [text for file in files for text in pd.read_parquet(file)["summary"]]
    assert len(texts) >= 1070
    assert [segmenter.words(text) for text in texts] == [jieba.lcut(text) for text in texts]
