"""Title keys, articles of statutes, and the list of laws, compared with the texts of the laws."""

from __future__ import annotations

import re
from collections import defaultdict

import cn2an
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.law.statutes import (
    ALIASES,
    INSERTED,
    STATUTES,
    Article,
    StatuteBook,
    parse_entry,
    split_articles,
    title_key,
)

REPEALED = {"婚姻法", "继承法", "收养法", "民法通则", "民法总则", "物权法", "合同法", "侵权责任法", "担保法"}
STATUTE = """# 中华人民共和国渡口法

（某年某月某日通过）

## 第一章 总则

第一条 为了渡河，制定本法。

第二条　渡口由乡镇管理。
依照第一条收费的除外。

## 第二章 渡船

第二条之一 渡船应当登记。

第十条 本法自公布之日起施行。
"""


@pytest.mark.parametrize(
    "written",
    [
        "渡口法",
        "《渡口法》",
        "中华人民共和国渡口法",
        "《中华人民共和国渡口法》",
        " 渡 口法\n",
        "渡口法（2020年修正）",
        "渡口法(2020)",
        "渡口法（第二次修订）",
        "渡口法（最新版）",
        "渡口法（修正案）",
        "中华人民共和国渡口法（2018年最新修订版）",
    ],
)
def test_a_title_has_one_key(written):
    assert title_key(written) == "渡口法"


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("最高人民法院关于适用〈中华人民共和国渡口法〉的解释(一)", "关于适用《渡口法》的解释（一）"),
        ("最高人民法院、最高人民检察院关于渡口的解释", "关于渡口的解释"),
        ("关于适用《渡口法》的解释（二）", "关于适用《渡口法》的解释（二）"),
        ("最高人民法院工作规则", "最高人民法院工作规则"),
        ("渡口办法（试行）", "渡口办法（试行）"),
        ("外国人在中华人民共和国渡河办法", "外国人在中华人民共和国渡河办法"),
        ("《甲》和《乙》", "《甲》和《乙》"),
        ("中华人民共和国", "中华人民共和国"),
        ("（）", "（）"),
        ("《》", ""),
        ("", ""),
    ],
)
def test_all_other_parts_of_a_title_stay_in_its_key(written, key):
    assert title_key(written) == key


def test_aliases_are_replaced_by_full_names():
    assert title_key("民诉法") == title_key("中华人民共和国民事诉讼法") == "民事诉讼法"
    assert title_key("渡法", {"渡法": "渡口法"}) == "渡口法"
    assert title_key("民诉法", {}) == "民诉法"
    assert {title_key(name) for name in ALIASES} <= set(STATUTES)
    assert all(title_key(name) == name for name in STATUTES)


@given(st.text() | st.text(st.sampled_from("《》〈（）()2020年修正案 中华人民共和国法"), max_size=60))
def test_any_text_has_a_key_and_a_key_is_its_own_key(text):
    key = title_key(title_key(text))
    assert title_key(key) == key


def test_articles_of_a_statute():
    assert list(split_articles(STATUTE)) == [
        (Article("渡口法", 1), "为了渡河，制定本法。"),
        (Article("渡口法", 2), "渡口由乡镇管理。\n依照第一条收费的除外。"),
        (Article("渡口法", 2, 1), "渡船应当登记。"),
        (Article("渡口法", 10), "本法自公布之日起施行。"),
    ]
    untitled = STATUTE.partition("\n")[2]
    assert list(split_articles(untitled)) == []
    assert [article for article, _ in split_articles(untitled, "《渡口法》")] == [
        article for article, _ in split_articles(STATUTE)
    ]
    assert list(split_articles("# 渡口法\n\n依照第一条，第二条。")) == []


def test_an_entry_is_an_article_and_its_text():
    assert parse_entry("《渡口法》第一千零一十条：渡河。") == (Article("渡口法", 1010), "渡河。")
    assert parse_entry("《中华人民共和国渡口法》第3条之二　渡河") == (Article("渡口法", 3, 2), "渡河")
    assert parse_entry("《关于〈渡口法〉的解释》第3条: x") == (Article("关于《渡口法》的解释", 3), "x")
    assert parse_entry("《渡口法》规定第三条") is None
    assert parse_entry("渡口法第三条") is None
    assert parse_entry("《渡口法》第零条") is None


def test_which_articles_exist():
    book = StatuteBook()
    assert [book.has_article(Article("民法典", number)) for number in (0, 1, 1260, 1261)] == [False, True, True, False]
    assert [book.has_article(Article("刑法", 120, number)) for number in (1, 6, 7)] == [True, True, False]
    assert book.has_article(Article("民法典", 3, 1)) is False
    assert book.has_article(Article("渡口法", 1)) is None
    with_text = StatuteBook(texts={Article("渡口法", 7): "渡河。"})
    assert (with_text.has_article(Article("渡口法", 7)), with_text.has_article(Article("渡口法", 8))) == (True, None)


@pytest.mark.data
def test_the_list_has_the_last_article_of_each_law(data):
    """The laws are parsed here with cn2an and another expression; of several editions, the longest counts."""
    numbered = re.compile(r"^第([一二三四五六七八九十百千零]+)条(?:之([一二三四五六七八九十]+))?[\s　]", re.MULTILINE)
    last, inserted = defaultdict(int), set()
    [file] = (data / "corpora" / "legal_zh").rglob("*.parquet")
    for text in pq.read_table(file)["text"].to_pylist():
        law = text.partition("\n")[0].lstrip("# ").strip().removeprefix("中华人民共和国")
        if law not in STATUTES:
            continue
        for number, place in numbered.findall(text):
            last[law] = max(last[law], cn2an.cn2an(number))
            if place:
                inserted.add(Article(law, cn2an.cn2an(number), cn2an.cn2an(place)))
    assert {law: number for law, number in STATUTES.items() if law not in REPEALED} == dict(last)
    assert inserted == INSERTED
