"""`harness retrieve` as a person uses it: what it prints and writes, and its error messages."""

from __future__ import annotations

import json

import pytest

from harness.cli import main
from support import mirrors_of_law


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a mirror of invented law, and malformed files."""
    folder = tmp_path_factory.mktemp("law")
    mirrors_of_law.write(folder / "data")
    (folder / "broken.jsonl").write_text('{"text": "甲"}\n{"text"\n', encoding="utf-8")
    (folder / "mute.jsonl").write_text('{"text": "，。"}\n', encoding="utf-8")
    (folder / "asked.jsonl").write_text('{"query": "渡船"}\n', encoding="utf-8")
    (folder / "wrong.jsonl").write_text('{"query": "渡船", "gold": ["nowhere"]}\n', encoding="utf-8")
    return folder


CORPUS = "--corpus AndrewZhe/lawyer-llama:retrieval_articles"
QUESTIONS = "--questions AndrewZhe/lawyer-llama:legal_counsel_with_article_v2"


def call(world, text):
    return main(["retrieve", "--data", str(world / "data"), *text.format(w=world).split()])


def test_measures_are_printed_and_the_best_passages_written(world, capsys):
    assert call(world, f"{CORPUS} {QUESTIONS} --at 3,1 --top 2 -o {{w}}/out/found.jsonl") == 0
    out = capsys.readouterr().out
    assert "BM25 (Lucene's, k1 1.5, b 0.75) over jieba's words: 4 passages, 3 questions" in out
    rows = [line.replace("│", " ").split() for line in out.splitlines() if "│" in line]
    assert [row[:2] for row in rows] == [
        [kind, measure]
        for kind in ("provided", "cited")
        for measure in ("recall@1", "hit@1", "recall@3", "hit@3", "mrr@3")
    ]
    lines = (world / "out" / "found.jsonl").read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines]
    assert [result["query"] for result in results] == [row["query"] for row in mirrors_of_law.QUESTIONS]
    assert results[0]["laws"][0] == mirrors_of_law.ARTICLES[0]
    assert results[0]["ids"][0] == "《渡口法》第1条"
    assert all(len(result["laws"]) == len(result["ids"]) == len(result["scores"]) <= 2 for result in results)


def test_questions_without_right_passages_are_searched_but_not_measured(world, capsys):
    assert call(world, f"{CORPUS} --questions {{w}}/asked.jsonl") == 0
    assert "nothing is measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (f"--corpus nowhere.jsonl {QUESTIONS}", "there is no file nowhere.jsonl"),
        (f"--corpus {{w}}/broken.jsonl {QUESTIONS}", "line 2, is not JSON"),
        ("--corpus {w}/mute.jsonl --questions {w}/asked.jsonl", "has no words to index"),
        ("--corpus {w}/asked.jsonl --questions {w}/asked.jsonl", "'text' is missing or empty"),
        (f"{CORPUS} --questions {{w}}/wrong.jsonl", "'gold' names 'nowhere', which is not a passage of the corpus"),
        (f"{CORPUS} {QUESTIONS} --at 0,3", "--at 0,3 is not a list of numbers above 0"),
        (f"{CORPUS} {QUESTIONS} --at ,", "--at , is not a list of numbers"),
        (f"{CORPUS} {QUESTIONS} --method dense", "--encoder NAME go together"),
        (f"{CORPUS} {QUESTIONS} --encoder some/encoder", "--encoder NAME go together"),
        (f"{CORPUS} {QUESTIONS} -o found.txt", "-o found.txt is not a .jsonl file"),
        (f"{CORPUS} {QUESTIONS} -o {{w}}/asked.jsonl/found.jsonl", "cannot write"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(world, capsys, arguments, message):
    assert call(world, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tasks legal_consult --articles {w}/none.jsonl", "there is no file"),
        ("--tasks legal_consult --articles {w}/asked.jsonl", "'laws' is not a list of articles"),
    ],
)
def test_a_run_refuses_files_that_hold_no_articles(world, capsys, arguments, message):
    from support import tiny

    if not (world / "base").is_dir():
        tiny.llama(world / "base", context=2048)
    words = f"--model {{w}}/base --data {{w}}/data -o {{w}}/runs {arguments}".format(w=world).split()
    assert main(["run", *words]) == 2
    assert message in capsys.readouterr().err
