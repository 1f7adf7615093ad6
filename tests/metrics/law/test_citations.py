"""Citations in any form, by cases, by properties and against the strict form."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.citations import KNOWN_LAWS, LONGEST_RANGE, Provision, cited_articles, cited_provisions
from harness.metrics.law.statutes import STATUTES, Article, title_key
from harness.metrics.law.strict_citations import parse_citations
from support.chinese_numerals import SPELLINGS, WIDE

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("citations_understood.jsonl").read_text(encoding="utf-8").splitlines()
]
OF = {number: [text for text, value in SPELLINGS.items() if value == number] for number in range(1, 60)}


@pytest.mark.parametrize("case", CASES, ids=[case["text"] for case in CASES])
def test_a_case(case):
    understood = [(*one.article, one.paragraph, one.item) for one in cited_provisions(case["text"])]
    assert understood == [tuple(one) for one in case["cited"]]


def test_what_was_understood_is_written_so_that_it_is_understood_again():
    said = "《渡口法》第三条之一第二款第（一）项、民诉法第十条"
    shown = [str(one) for one in cited_provisions(said)]
    assert shown == ["《渡口法》第3条之1第2款第（1）项", "《民事诉讼法》第10条"]
    assert [one for text in shown for one in cited_provisions(text)] == cited_provisions(said)


def test_articles_are_each_once_and_mentions_are_all():
    said = "《渡口法》第三条第一款、第二款，《渡口法》第九条，《中华人民共和国渡口法》第3条"
    three, nine = Article("渡口法", 3), Article("渡口法", 9)
    assert cited_articles(said) == [three, nine]
    assert [one.article for one in cited_provisions(said)] == [three, three, nine, three]


def test_names_and_aliases_are_the_caller_s():
    assert cited_articles("渡法第三条") == []
    assert cited_articles("渡法第三条", {"渡法"}, {"渡法": "渡口法"}) == [Article("渡口法", 3)]
    assert cited_articles("民法典第三条", ()) == []
    assert cited_articles("依据a.b第三条", {"a.b"}) == [Article("a.b", 3)]
    assert cited_articles("依据axb第三条", {"a.b"}) == []
    assert set(STATUTES) <= KNOWN_LAWS


@pytest.mark.parametrize("span", [LONGEST_RANGE - 1, LONGEST_RANGE])
def test_a_long_range_is_its_two_ends(span):
    found = cited_articles(f"《渡口法》第10条至第{10 + span}条")
    assert len(found) == (span + 1 if span < LONGEST_RANGE else 2)


names = st.text(st.characters(categories=["Lo"]), min_size=1, max_size=6).map(lambda text: f"{title_key(text)}法")
numbers = st.integers(1, 59)
joints = st.sampled_from(["、", "，", ",", "和", "与", "及", "或", "以及", " 、 "])


@st.composite
def numeral(draw):
    number = draw(numbers)
    return number, draw(st.sampled_from([*OF[number], str(number), str(number).translate(WIDE)]))


@st.composite
def part(draw, mark):
    """Return numbers of paragraphs or items, and their text: one, a list, or a range."""
    shape = draw(st.sampled_from(["one", "list", "short list", "range", "short range"]))
    first, first_text = draw(numeral())
    if shape == "one":
        return [first], f"第{first_text}{mark}"
    other, other_text = draw(numeral())
    inner = mark if "short" not in shape else ""
    second = "第" if inner else ""
    if "list" in shape:
        return [first, other], f"第{first_text}{inner}{draw(joints)}{second}{other_text}{mark}"
    return [first, *range(first + 1, other), other], f"第{first_text}{inner}至{second}{other_text}{mark}"


@st.composite
def article(draw):
    """Return what one article's citation holds as (number, inserted, paragraph, item), and its text."""
    number, text = draw(numeral())
    place = draw(st.sampled_from([0, 0, 1, 2]))
    text = f"第{text}条" + ("之" + "一二"[place - 1] if place else "")
    kind = draw(st.sampled_from(["whole", "paragraphs", "items", "items of a paragraph"]))
    if kind == "whole":
        return [(number, place, 0, 0)], text
    listed, more = draw(part("款" if kind == "paragraphs" else "项"))
    if kind == "paragraphs":
        return [(number, place, one, 0) for one in listed], text + more
    if kind == "items":
        return [(number, place, 0, one) for one in listed], text + more
    paragraph, spelled = draw(numeral())
    return [(number, place, paragraph, one) for one in listed], f"{text}第{spelled}款{more}"


@given(st.data())
def test_what_is_cited_is_understood(data):
    text, expected = "", []
    for law, listed in data.draw(st.lists(st.tuples(names, st.lists(article(), min_size=1, max_size=3)), max_size=3)):
        joint = data.draw(joints)
        text += f"依据《中华人民共和国{law}》{joint.join(spelled for _, spelled in listed)}的规定。"
        for parts, _ in listed:
            expected += [Provision(Article(title_key(law), *one[:2]), *one[2:]) for one in parts]
    assert cited_provisions(text) == expected


@given(st.text() | st.text(st.sampled_from("《》〈〉第条款项之编章、至和（）() \n一十百零12甲该法民典"), max_size=80))
def test_any_text_can_be_read(text):
    for one in cited_provisions(text):
        assert one.article.law
        assert 1 <= one.article.number <= 9999
        assert min(one.article.inserted, one.paragraph, one.item) >= 0


@pytest.mark.parametrize(
    "shape",
    [
        *(
            "《",
            "》",
            "《甲",
            "《甲》",
            "《甲》第",
            "《甲》（",
            "《甲》第一条至",
            "《甲》第一章",
            "第一条、",
            "该法第1条",
        ),
        *(
            "民法典",
            "《甲》第一条第一款、",
            "《甲》甲乙丙丁编",
            "《甲》第一条第（一）项至",
            "（",
            "第一、",
            " ",
            "第一章",
        ),
    ],
)
def test_a_long_text_can_be_read(shape):
    for text in (shape * (100_000 // len(shape)), "《甲》第一" + shape * (100_000 // len(shape))):
        cited_provisions(text)


@pytest.fixture(scope="module")
def consultations(data):
    folder = data / "AndrewZhe" / "lawyer-llama" / "legal_counsel_with_article_v2"
    [file] = folder.glob("*.parquet")
    return pq.read_table(file).to_pylist()


@pytest.mark.data
def test_understanding_finds_whatever_the_strict_form_finds(consultations):
    for row in consultations:
        understood = [one.article for one in cited_provisions(row["response"])]
        for one in parse_citations(row["response"]):
            assert Article(title_key(one.law), one.article) in understood
