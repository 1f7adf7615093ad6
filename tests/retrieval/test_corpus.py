"""Reading corpora and questions: every shape of row, right passages, and errors that name the place."""

from __future__ import annotations

import json

import pytest

from harness.errors import HarnessError
from harness.metrics.law.statutes import Article
from harness.retrieval.corpus import Question, find_files, full_name, read_corpus, read_questions
from harness.retrieval.index import Passage
from support import mirrors_of_law


def lines(file, *rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return [file]


def test_every_passage_has_an_id_whatever_columns_its_row_has(tmp_path):
    statute = "# 中华人民共和国桥梁法\n\n第一条 甲。\n\n第二条之一 乙。\n"
    files = lines(
        tmp_path / "corpus.jsonl",
        {"text": "《渡口法》第一千零一十条：渡船登记。"},
        {"law": "中华人民共和国航道法", "number": 12, "text": "航道养护。"},
        {"law": "航道法", "number": "第十二条之一", "text": "《航道法》第十二条之一：航道疏浚。"},
        {"id": "note-7", "text": "一则笔记。"},
        {"id": "a", "law": "航道法", "number": "十三", "text": "航道公告。"},
        {"text": "没有编号的文字。"},
        {"text": statute},
    )
    corpus = read_corpus(files)
    assert corpus.passages == [
        Passage("《渡口法》第1010条", "《渡口法》第一千零一十条：渡船登记。"),
        Passage("《航道法》第12条", "《航道法》第十二条：航道养护。"),
        Passage("《航道法》第12条之1", "《航道法》第十二条之一：航道疏浚。"),
        Passage("note-7", "一则笔记。"),
        Passage("a", "《航道法》第十三条：航道公告。"),
        Passage("6", "没有编号的文字。"),
        Passage("《桥梁法》第1条", "《桥梁法》第一条：甲。"),
        Passage("《桥梁法》第2条之1", "《桥梁法》第二条之一：乙。"),
    ]
    assert corpus.of_article[Article("航道法", 13)] == "a"
    assert corpus.replaced == 0


def test_a_later_text_of_a_statute_replaces_an_earlier_one(tmp_path):
    old, new = "# 桥梁法\n\n第一条 旧。\n\n第二条 同。\n", "# 桥梁法\n\n第一条 新。\n\n第二条 同。\n\n第三条 增。\n"
    corpus = read_corpus(lines(tmp_path / "laws.jsonl", {"text": old}, {"text": new}))
    assert [passage.text[-2:] for passage in corpus.passages] == ["新。", "同。", "增。"]
    assert corpus.replaced == 1


def test_the_number_of_an_article_is_spelled_as_in_statutes():
    numbers = (10, 12, 110, 1076, 1200)
    assert [full_name(Article("甲法", n)) for n in numbers] == [
        f"《甲法》第{text}条" for text in ("十", "十二", "一百一十", "一千零七十六", "一千二百")
    ]
    assert full_name(Article("甲法", 3, 12)) == "《甲法》第三条之十二"


def test_right_passages_come_from_gold_or_from_laws_and_response(tmp_path):
    corpus = read_corpus(
        lines(
            tmp_path / "corpus.jsonl", *({"text": text} for text in mirrors_of_law.ARTICLES), {"id": "x", "text": "甲"}
        )
    )
    first, second, third = (f"《渡口法》第{n}条" for n in (1, 2, 3))
    laws = list(mirrors_of_law.ARTICLES[:3])
    files = lines(
        tmp_path / "questions.jsonl",
        {"query": "问一", "gold": ["x", "《中华人民共和国渡口法》第一条"]},
        {"query": "问二", "laws": laws, "response": "依据渡口法，《渡口法》第2条、第九条。"},
        {"query": "问三", "laws": laws[:1], "response": "应当登记。"},
        {"query": "问四"},
        {"query": "问五", "gold": []},
        {"query": "问六", "gold": laws[0]},
    )
    assert read_questions(files, corpus) == [
        Question("问一", {"gold": frozenset({"x", first})}),
        Question("问二", {"provided": frozenset({first, second, third}), "cited": frozenset({second})}),
        Question("问三", {"provided": frozenset({first})}),
        Question("问四", {}),
        Question("问五", {}),
        Question("问六", {"gold": frozenset({first})}),
    ]


def test_ids_may_be_numbers_in_both_files(tmp_path):
    corpus = read_corpus(lines(tmp_path / "corpus.jsonl", {"id": 7, "text": "甲"}, {"id": 8, "text": "乙"}))
    files = lines(tmp_path / "questions.jsonl", {"query": "问一", "gold": [7, 8]}, {"query": "问二", "gold": 8})
    assert [question.gold["gold"] for question in read_questions(files, corpus)] == [{"7", "8"}, {"8"}]


def test_files_are_named_by_path_folder_or_mirror(tmp_path):
    mirrors_of_law.write(tmp_path / "data")
    name, file = "AndrewZhe/lawyer-llama", "train-00000-of-00001.parquet"
    assert find_files(f"{name}:retrieval_articles", tmp_path / "data") == [
        tmp_path / "data" / name / "retrieval_articles" / file
    ]
    [path] = lines(tmp_path / "one.jsonl", {"text": "甲"})
    assert find_files(str(path), None) == [path]
    assert find_files(str(tmp_path / "data" / name / "retrieval_articles"), None)[0].name == file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.jsonl", "there is no file nowhere.jsonl, and .* has no data set 'nowhere.jsonl'"),
        ("AndrewZhe/lawyer-llama:retrieval", "has no configuration 'retrieval': name one of legal_counsel_multi"),
        ("AndrewZhe/lawyer-llama", "has several configurations: write AndrewZhe/lawyer-llama:CONFIG with one of"),
    ],
)
def test_a_name_without_files_is_an_error(tmp_path, name, message):
    mirrors_of_law.write(tmp_path)
    with pytest.raises(HarnessError, match=message):
        find_files(name, tmp_path)


def test_files_without_rows_are_an_error(tmp_path):
    (tmp_path / "corpus.txt").write_text("甲")
    with pytest.raises(HarnessError, match=r"is none of \.jsonl, \.json"):
        find_files(str(tmp_path / "corpus.txt"), None)
    with pytest.raises(HarnessError, match=r"holds no file that ends in \.jsonl"):
        find_files(str(tmp_path), None)
    with pytest.raises(HarnessError, match="there is no file nowhere: name a file, or ORG/NAME:CONFIG"):
        find_files("nowhere", None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"texts": "甲"}], "line 1: 'text' is missing or empty"),
        ([], "holds no passages"),
        ([{"id": "a", "text": "甲"}, {"id": "a", "text": "乙"}], "line 2: another passage already has the id 'a'"),
        ([{"law": "甲法", "number": "末", "text": "甲"}], "line 1: 'number' is '末', not the number of an article"),
        ([{"law": "甲法", "text": "甲"}], "line 1: 'number' is missing"),
        ([{"text": 3.5}, {"text": ["甲"]}], "line 2: 'text' is not a text"),
    ],
)
def test_a_malformed_corpus_is_an_error(tmp_path, rows, message):
    with pytest.raises(HarnessError, match=message):
        read_corpus(lines(tmp_path / "corpus.jsonl", *rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "问"}], "line 1: 'query' is missing or empty"),
        ([], "holds no questions"),
        ([{"query": "问"}, {"query": "问", "gold": ["b"]}], "line 2: 'gold' names 'b', which is not a passage"),
        ([{"query": "问", "gold": [""]}], "line 1: 'gold' is an empty list, or has entries"),
        (
            [{"query": "问", "laws": ["《渡口法》第九条：甲"]}],
            "'laws' names '《渡口法》第九条：甲', which is not a passage",
        ),
    ],
)
def test_malformed_questions_are_an_error(tmp_path, rows, message):
    corpus = read_corpus(lines(tmp_path / "corpus.jsonl", {"id": "a", "text": "《渡口法》第一条：甲"}))
    with pytest.raises(HarnessError, match=message):
        read_questions(lines(tmp_path / "questions.jsonl", *rows), corpus)


def test_a_line_that_is_not_json_is_an_error(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"text": "甲"}\n{"text": \n')
    with pytest.raises(HarnessError, match=r"corpus.jsonl, line 2, is not JSON"):
        read_corpus([tmp_path / "corpus.jsonl"])
