"""jieba's words come out of the faster search as they come out of jieba."""

from __future__ import annotations

import time
from pathlib import Path

import jieba
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.text import segmenter

jieba.initialize()
segmenter.load()

# Pieces that the dictionary has in several lengths, that it lacks, and that jieba's own rules for Latin letters meet.
pieces = st.sampled_from(
    [
        *("中华人民共和国", "人民", "民", "研究生命起源", "南京市长江大桥", "的", "了", "一", "阔腿裤", "甄嬛"),
        *("王小明", "小立领", "亮亮", "polo领", "a字", "V领", "3.14%", "100", "C++", "Ａ", "，", "。", "!", " ", "\n"),
        *("—", "㐀", "𠀀"),
    ]
)
chinese = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=12)


@given(st.lists(st.one_of(pieces, chinese, st.text(max_size=4)), max_size=20).map("".join))
def test_words_are_jiebas(text: str) -> None:
    assert segmenter.words(text) == jieba.lcut(text)


def test_words_of_a_users_dictionary_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    word = "乙炔丁烯丙酮基"
    before = segmenter.words(word)
    for end in range(1, len(word)):
        monkeypatch.setitem(jieba.dt.FREQ, word[:end], jieba.dt.FREQ.get(word[:end], 0))
    monkeypatch.setitem(jieba.dt.FREQ, word, 10**6)
    assert jieba.lcut(word) == [word]
    assert segmenter.words(word) == before != [word]


@pytest.mark.parametrize("piece", ["的", "亮", "㐀", "人民", "简约的牛仔外套，", "a1.", " \n"])
def test_long_texts_take_the_time_of_their_length(piece: str) -> None:
    def seconds(text: str) -> float:
        started = time.process_time()
        segmenter.words(text)
        return time.process_time() - started

    short = min(seconds(piece * 2_000) for _ in range(3))
    assert min(seconds(piece * 20_000) for _ in range(2)) < 40 * short


@pytest.mark.data
@pytest.mark.oracle
def test_words_of_all_copy_at_hand_are_jiebas(data: Path) -> None:
    files = sorted((data / "shibing624" / "AdvertiseGen" / "data").glob("*.parquet"))
    texts = [text for file in files for text in pd.read_parquet(file)["summary"]]
    assert len(texts) >= 1070
    assert [segmenter.words(text) for text in texts] == [jieba.lcut(text) for text in texts]
