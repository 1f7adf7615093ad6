"""Scores of citations: shares and rates by cases, quotations compared with a search without an index."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.citation_scores import (
    QUOTATION_LENGTH,
    Quotations,
    agreement,
    cites_fabricated,
    cites_mistitled,
    cites_redundant,
    existing_share,
    share_among,
)
from harness.metrics.law.citations import cited_articles, cited_provisions
from harness.metrics.law.statutes import Article, StatuteBook

FIRST, SECOND, TENTH = (Article("渡口法", number) for number in (1, 2, 10))
BRIDGE = Article("桥梁法", 2)
TEXTS = {
    FIRST: "渡船每年应当由乡镇的检验员检验一次，检验合格的，发给绿色的船牌。",
    SECOND: "渡河的行人应当在渡船靠岸以后依次上船，不得携带易燃的物品。",
    BRIDGE: "桥梁每五年应当由县里的工程师检验一次，并且公布检验的结果。",
}
BOOK = StatuteBook(last_articles={"渡口法": 9}, extra_articles=frozenset(), texts=TEXTS)
QUOTATIONS = Quotations(BOOK)


def is_mistitled(answer):
    return cites_mistitled(answer, [FIRST, SECOND], QUOTATIONS, BOOK)


def test_agreement_is_over_sets():
    counts = agreement([FIRST, SECOND, FIRST], [SECOND, TENTH])
    assert (counts.precision, counts.recall, counts.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert agreement([], [SECOND]).f1_pair == (0, 1)
    answer, reference = "《渡口法》第一条第一款、第二款", "《渡口法》第一条第二款、第二条"
    assert agreement(cited_provisions(answer), cited_provisions(reference)).f1_pair == (2, 4)
    assert agreement(cited_articles(answer), cited_articles("《渡口法》第一条第二款")).f1 == 1


def test_existence_is_decided_for_known_laws_only():
    existing, unknown = Article("渡口法", 9), Article("航道法", 1)
    assert existing_share([FIRST, FIRST, existing, TENTH, unknown], BOOK) == (2, 3)
    assert existing_share([unknown], BOOK) == existing_share([], BOOK) == (0, 0)
    assert cites_fabricated([FIRST, TENTH], BOOK)
    assert not cites_fabricated([FIRST, existing, unknown], BOOK)
    assert not cites_fabricated([], BOOK)


def test_shares_and_redundancy():
    assert share_among([FIRST, TENTH, FIRST], [FIRST, SECOND]) == (1, 2)
    assert share_among([], [FIRST]) == (0, 0)
    assert cites_redundant([FIRST, SECOND], given=[FIRST, SECOND], needed=[FIRST])
    assert not cites_redundant([FIRST], given=[FIRST, SECOND], needed=[FIRST])
    # The tenth article is invented, but it was not in the prompt.
    assert not cites_redundant([FIRST, TENTH], given=[FIRST, SECOND], needed=[FIRST])


@pytest.mark.parametrize(
    ("answer", "is_wrong"),
    [
        ("《渡口法》第一条规定，渡船每年应当由乡镇的检验员检验一次。", False),
        ("《渡口法》第二条规定，渡船每年应当由乡镇的检验员检验一次。", True),
        (
            "《渡口法》第二条规定：“渡船，每年 应当由乡镇的检验员\n检验一次”。",
            False,
        ),  # the next line is judged by itself
        ("《渡口法》第二条规定：“渡船，每年 应当由乡镇的检验员，检验一次”。", True),
        ("《渡口法》第一条、第二条规定，渡船每年应当由乡镇的检验员检验一次。", False),
        ("渡船每年应当由乡镇的检验员检验一次，这是《桥梁法》第二条的规定。", True),
        ("渡船每年应当由乡镇的检验员检验一次。依照《桥梁法》第二条办理。", False),  # another sentence
        ("渡船每年应当由乡镇的检验员检验一次。", False),
        ("《渡口法》第三条规定，渡船每年应当由乡镇的检验员检验一次。", False),  # exists, but its text is not known
        ("《渡口法》第十条规定，渡船每年应当由乡镇的检验员检验一次。", True),  # does not exist
        ("《航道法》第二条规定，渡船每年应当由乡镇的检验员检验一次。", False),  # the law is not known
        ("《渡口法》第二条规定，渡船一年要检验一回。", False),  # a paraphrase
        (
            "《渡口法》第二条规定了上船，而第一条规定，渡船每年应当由乡镇的检验员检验一次。",
            False,
        ),  # by its number
        ("《桥梁法》第二条规定，渡河的行人应当在渡船靠岸以后依次上船。", True),  # its own number is cited
        ("《渡口法》第二条规定，渡船每年应当由乡镇的检。", False),  # too short
        ("", False),
    ],
)
def test_a_quotation_under_another_article(answer, is_wrong):
    assert is_mistitled(answer) is is_wrong


def test_the_right_number_under_another_law_that_lacks_this_article():
    book = StatuteBook(last_articles={"渡口法": 9, "桥梁法": 9}, extra_articles=frozenset())
    about = [Article("渡口法", 8), Article("航道法", 12)]
    quotations = Quotations(book)
    assert cites_mistitled("《桥梁法》第十二条", about, quotations, book)
    assert not cites_mistitled("《桥梁法》第八条", about, quotations, book)  # has an article 8 of its own
    assert not cites_mistitled("《渡口法》第十三条", about, quotations, book)  # fabricated, but not mistitled
    assert not cites_mistitled("《航道法》第十二条", about, quotations, book)


def letters_of(text):
    """Return the letters between citations, piece by piece."""
    without_citations = re.sub(r"《[^《》\n]*》|第[一二三十]+[条款项]", "|", text)
    return ["".join(letter for letter in piece if letter.isalnum()) for piece in without_citations.split("|")]


def is_misattributed_by_search(cited, sentence):
    """Return what `Quotations.is_misattributed` does, letter by letter and without an index."""
    if not cited or not all(article in TEXTS or BOOK.has_article(article) is False for article in cited):
        return False
    for piece in letters_of(sentence):
        stretch: set[Article] = set()
        for start in range(len(piece) + 1):
            run = piece[start : start + QUOTATION_LENGTH]
            sources = {
                article
                for article, text in TEXTS.items()
                if len(run) == QUOTATION_LENGTH and any(run in part for part in letters_of(text))
            }
            if sources:
                stretch |= sources
                continue
            if stretch and not stretch & set(cited):
                return True
            stretch = set()
    return False


pieces = st.one_of(
    st.sampled_from(
        [
            f"《{article.law}》第{'零一二三四五六七八九十'[article.number]}条"
            for article in (FIRST, SECOND, TENTH, BRIDGE)
        ]
    ),
    st.sampled_from(["《渡口法》第三条", "《航道法》第一条", "规定，", "：“", "”", "渡船", "检验一次"]),
    st.tuples(st.sampled_from(list(TEXTS.values())), st.integers(0, 20), st.integers(8, 31)).map(
        lambda cut: cut[0][cut[1] : cut[1] + cut[2]]
    ),
)


@given(st.lists(pieces, max_size=7).map("".join))
def test_quotations_are_found_as_by_search(sentence):
    cited = cited_articles(sentence)
    assert QUOTATIONS.is_misattributed(cited, sentence) == is_misattributed_by_search(cited, sentence)


@pytest.mark.parametrize("shape", ["渡", "《渡口法》第一条", TEXTS[FIRST], "。", "《"])
def test_a_long_answer_can_be_scored(shape):
    is_mistitled(shape * (100_000 // len(shape)))
