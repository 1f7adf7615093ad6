"""Citations in the strict form, by cases and by properties; Chinese numerals, compared with all that exist."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.strict_citations import Citation, count_citations, parse_citations, parse_numeral
from support.chinese_numerals import SPELLINGS, WIDE, in_words, spellings

CASES = [
    json.loads(line) for line in Path(__file__).with_name("citations.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=[case["text"] or "empty" for case in CASES])
def test_a_case(case):
    assert parse_citations(case["text"]) == [tuple(citation) for citation in case["citations"]]


def test_the_spellings_that_this_test_uses():
    expected = [
        "七",
        "一十",
        "一十二",
        "二十",
        "一百零五",
        "一百一十",
        "一千零六",
        "一千零一十",
        "一千零七十六",
        "一千二百",
    ]
    assert [in_words(number) for number in (7, 10, 12, 20, 105, 110, 1006, 1010, 1076, 1200)] == expected
    assert spellings(12) == {"一十二", "十二", "一二"}
    assert spellings(202) == {"二百零二", "二百〇二", "两百零二", "两百〇二", "二零二", "二〇二"}


def test_every_numeral_is_parsed():
    assert {text: parse_numeral(text) for text in SPELLINGS} == SPELLINGS
    for number in range(1, 10_000):
        assert parse_numeral(str(number)) == parse_numeral(str(number).translate(WIDE)) == number


def test_nothing_else_is_parsed():
    for length in range(6):
        for letters in itertools.product("一二两零〇十百千", repeat=length):
            text = "".join(letters)
            assert parse_numeral(text) == SPELLINGS.get(text), text


@pytest.mark.parametrize(
    "text", ["0", "007", "10000", "-3", "3.5", "1二", " 3", "3\n", "٣", "²", "壹", "万", "九" * 5, "三 十"]
)
def test_other_text_is_no_numeral(text):
    assert parse_numeral(text) is None


titles = st.text(max_size=8).map(str.strip).filter(lambda title: title and not set(title) & set("《》\n"))
numbers = st.integers(1, 9999)
written_numbers = numbers.flatmap(
    lambda number: st.tuples(
        st.just(number), st.sampled_from([*sorted(spellings(number)), str(number), str(number).translate(WIDE)])
    )
)


@given(st.lists(st.tuples(titles, st.lists(written_numbers, min_size=1, max_size=4)), max_size=4), st.data())
def test_written_citations_are_parsed(laws, data):
    text, expected = "", []
    for title, articles in laws:
        joint = data.draw(st.sampled_from(["、", "，", ",", "和", "与", "及", "或", "以及", " 、 "]))
        text += f"依据《{title}》{joint.join(f'第{written}条' for _, written in articles)}。"
        expected += [Citation(title, number) for number, _ in articles]
    assert parse_citations(text) == expected
    assert count_citations(text, expected) == (len(set(expected)),) * 3


@given(st.text() | st.text(st.sampled_from("《》第条之、和 \n一十百零12甲"), max_size=60))
def test_any_text_can_be_parsed(text):
    for law, article in parse_citations(text):
        assert law == law.strip() != ""
        assert law in text
        assert 1 <= article <= 9999


@pytest.mark.parametrize(
    "shape", ["《", "《甲", "《甲》", "《甲》第", "第一条、", "《甲》第一条", "9", "第9", "一", " ", "《甲》第 ", "条"]
)
def test_a_long_text_can_be_parsed(shape):
    parse_citations(shape * (100_000 // len(shape)))
    parse_citations("《甲》第一条、第" + shape * (100_000 // len(shape)))


def test_counts_are_over_sets():
    expected = [Citation("河道法", 3), Citation("河道法", 4), Citation("渡口条例", 3)]
    counts = count_citations("《河道法》第三条、第三条、第5条，《渡口条例》第4条", expected)
    assert counts == (1, 3, 3)
    assert count_citations("没有引用。", expected) == (0, 0, 3)
    assert count_citations("没有引用。", []).f1_pair == (0, 0)
