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
SPELLINGS_OF = {number: [text for text, value in SPELLINGS.items() if value == number] for number in range(1, 60)}


@pytest.mark.parametrize("case", CASES, ids=[case["text"] for case in CASES])
def test_a_case(case):
    provisions = [(*cited.article, cited.paragraph, cited.item) for cited in cited_provisions(case["text"])]
    assert provisions == [tuple(provision) for provision in case["cited"]]


def test_a_citation_as_text_is_parsed_as_the_same_citation():
    text = "《渡口法》第三条之一第二款第（一）项、民诉法第十条"
    written = [str(provision) for provision in cited_provisions(text)]
    assert written == ["《渡口法》第3条之1第2款第（1）项", "《民事诉讼法》第10条"]
    assert [provision for citation in written for provision in cited_provisions(citation)] == cited_provisions(text)


def test_articles_are_distinct_and_provisions_are_not():
    text = "《渡口法》第三条第一款、第二款，《渡口法》第九条，《中华人民共和国渡口法》第3条"
    third, ninth = Article("渡口法", 3), Article("渡口法", 9)
    assert cited_articles(text) == [third, ninth]
    assert [provision.article for provision in cited_provisions(text)] == [third, third, ninth, third]


def test_callers_can_pass_names_and_aliases():
    assert cited_articles("渡法第三条") == []
    assert cited_articles("渡法第三条", {"渡法"}, {"渡法": "渡口法"}) == [Article("渡口法", 3)]
    assert cited_articles("民法典第三条", ()) == []
    assert cited_articles("依据a.b第三条", {"a.b"}) == [Article("a.b", 3)]
    assert cited_articles("依据axb第三条", {"a.b"}) == []
    assert set(STATUTES) <= KNOWN_LAWS


@pytest.mark.parametrize("span", [LONGEST_RANGE - 1, LONGEST_RANGE])
def test_a_long_range_is_its_two_ends(span):
    articles = cited_articles(f"《渡口法》第10条至第{10 + span}条")
    assert len(articles) == (span + 1 if span < LONGEST_RANGE else 2)


names = st.text(st.characters(categories=["Lo"]), min_size=1, max_size=6).map(lambda text: f"{title_key(text)}法")
numbers = st.integers(1, 59)
joints = st.sampled_from(["、", "，", ",", "和", "与", "及", "或", "以及", " 、 "])


@st.composite
def numeral(draw):
    """Return a number and one of its spellings."""
    number = draw(numbers)
    return number, draw(st.sampled_from([*SPELLINGS_OF[number], str(number), str(number).translate(WIDE)]))


@st.composite
def parts(draw, mark):
    """Return numbers of paragraphs or items, and their text: a single number, a list, or a range."""
    shape = draw(st.sampled_from(["single", "list", "short list", "range", "short range"]))
    first, first_text = draw(numeral())
    if shape == "single":
        return [first], f"第{first_text}{mark}"
    last, last_text = draw(numeral())
    inner_mark = mark if "short" not in shape else ""
    ordinal = "第" if inner_mark else ""
    if "list" in shape:
        return [first, last], f"第{first_text}{inner_mark}{draw(joints)}{ordinal}{last_text}{mark}"
    return [first, *range(first + 1, last), last], f"第{first_text}{inner_mark}至{ordinal}{last_text}{mark}"


@st.composite
def article(draw):
    """Return the provisions of one article as (number, inserted, paragraph, item), and their text."""
    number, text = draw(numeral())
    inserted = draw(st.sampled_from([0, 0, 1, 2]))
    text = f"第{text}条" + ("之" + "一二"[inserted - 1] if inserted else "")
    kind = draw(st.sampled_from(["whole", "paragraphs", "items", "items of a paragraph"]))
    if kind == "whole":
        return [(number, inserted, 0, 0)], text
    listed, parts_text = draw(parts("款" if kind == "paragraphs" else "项"))
    if kind == "paragraphs":
        return [(number, inserted, paragraph, 0) for paragraph in listed], text + parts_text
    if kind == "items":
        return [(number, inserted, 0, item) for item in listed], text + parts_text
    paragraph, spelled = draw(numeral())
    return [(number, inserted, paragraph, item) for item in listed], f"{text}第{spelled}款{parts_text}"


@given(st.data())
def test_written_citations_are_parsed(data):
    laws = st.lists(st.tuples(names, st.lists(article(), min_size=1, max_size=3)), max_size=3)
    text, expected = "", []
    for law, articles in data.draw(laws):
        joint = data.draw(joints)
        text += f"依据《中华人民共和国{law}》{joint.join(article_text for _, article_text in articles)}的规定。"
        for provisions, _ in articles:
            expected += [Provision(Article(title_key(law), *numbers[:2]), *numbers[2:]) for numbers in provisions]
    assert cited_provisions(text) == expected


@given(st.text() | st.text(st.sampled_from("《》〈〉第条款项之编章、至和（）() \n一十百零12甲该法民典"), max_size=80))
def test_any_text_can_be_parsed(text):
    for cited in cited_provisions(text):
        assert cited.article.law
        assert 1 <= cited.article.number <= 9999
        assert min(cited.article.inserted, cited.paragraph, cited.item) >= 0


@pytest.mark.sampled(6)
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
def test_a_long_text_can_be_parsed(shape):
    for text in (shape * (100_000 // len(shape)), "《甲》第一" + shape * (100_000 // len(shape))):
        cited_provisions(text)


@pytest.fixture(scope="module")
def consultations(data):
    folder = data / "AndrewZhe" / "lawyer-llama" / "legal_counsel_with_article_v2"
    [file] = folder.glob("*.parquet")
    return pq.read_table(file).to_pylist()


@pytest.mark.data
def test_every_citation_in_the_strict_form_is_found(consultations):
    for row in consultations:
        articles = [provision.article for provision in cited_provisions(row["response"])]
        for citation in parse_citations(row["response"]):
            assert Article(title_key(citation.law), citation.article) in articles
