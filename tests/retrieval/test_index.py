"""Indexes: BM25 against its formula, vectors against plain cosines, and ties by the order of the corpus."""

from __future__ import annotations

import builtins
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tolerances
from harness.errors import HarnessError
from harness.retrieval.index import K1, B, DenseIndex, Hit, Question, WordIndex, best, evaluate, sentence_encoder, words

CORPUS = [
    "渡船每年检验一次，渡船应当登记。",
    "行人依次上船，不得拥挤。",
    "桥梁每五年检验一次。",
    "。！？",
    "Ferry 渡船 FERRY",
]


def by_formula(texts, query):
    """Return Lucene's BM25 (Kamphuis et al. 2020, table 1) of each text, for words that are cut beforehand."""
    cut = [words(text) for text in texts]
    mean = sum(map(len, cut)) / len(cut)
    scores = []
    for text in cut:
        score = 0.0
        for word in words(query):
            frequency = text.count(word)
            if frequency:
                having = sum(word in other for other in cut)
                rarity = math.log(1 + (len(cut) - having + 0.5) / (having + 0.5))
                score += rarity * frequency / (frequency + K1 * (1 - B + B * len(text) / mean))
        scores.append(score)
    return scores


def test_words_are_jieba_s_in_small_letters_without_punctuation():
    assert words("渡船，每年检验一次。Ferry 12！") == ["渡船", "每年", "检验", "一次", "ferry", "12"]
    assert words("，。 \n") == []


letters = st.text(st.sampled_from("渡船桥梁检验登记 a，1"), max_size=12)


@settings(max_examples=60)
@given(st.lists(letters, min_size=1, max_size=8).filter(lambda texts: any(map(words, texts))), letters)
def test_bm25_is_the_formula(texts, query):
    [hits] = WordIndex(texts).search([query], len(texts))
    scores = by_formula(texts, query)
    assert {hit.place: hit.score for hit in hits} == pytest.approx(
        {place: score for place, score in enumerate(scores) if score > 0}, rel=tolerances.BM25
    )
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_shares_no_word_is_not_found():
    index = WordIndex(CORPUS)
    assert [[hit.place for hit in hits] for hits in index.search(["检验", "飞机", "，", ""], 5)] == [[2, 0], [], [], []]
    assert [hit.place for hit in index.search(["ferry"], 1)[0]] == [4]


def test_equal_scores_rank_by_the_order_of_the_corpus():
    [hits] = WordIndex(["行人"] + ["渡船 登记"] * 9).search(["渡船"], 4)
    assert [hit.place for hit in hits] == [1, 2, 3, 4]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 14), st.sampled_from([None, 0.0]))
def test_the_best_are_those_of_a_stable_sort(values, top, above):
    wanted = [Hit(place, value) for place, value in enumerate(values) if above is None or value > above]
    wanted = sorted(wanted, key=lambda hit: -hit.score)[:top]
    assert best(np.array(values, dtype=float), top, above) == wanted


def test_a_corpus_without_words_is_refused():
    with pytest.raises(HarnessError, match="no words to index"):
        WordIndex(["，", " "])


def test_work_is_told():
    told = []
    index = WordIndex(CORPUS, told.append)
    index.search(["渡船", "桥梁"], 1, told.append)
    assert told == [1] * 7


# --- vectors: no encoder's weights are here, so that one is injected --------------------------------------------------


def letters_counted(texts):
    """An encoder: how often each of some letters occurs."""
    return [[text.count(letter) for letter in "渡船桥梁检问"] for text in texts]


def test_vectors_are_ranked_by_their_cosine():
    told = []
    index = DenseIndex(CORPUS, letters_counted, "counts", "问：", told.append)
    assert index.description == "cosine of counts's vectors, queries after '问：'"
    [hits] = index.search(["桥梁检验"], 4, told.append)
    asked = np.array(letters_counted(["问：桥梁检验"])[0], dtype=float)
    cosines = []
    for row in np.array(letters_counted(CORPUS), dtype=float):
        norm = np.linalg.norm(row) * np.linalg.norm(asked)
        cosines.append(float(row @ asked / norm) if norm else 0.0)
    assert [hit.place for hit in hits] == sorted(range(5), key=lambda place: -cosines[place])[:4]
    assert [hit.score for hit in hits] == pytest.approx(sorted(cosines, reverse=True)[:4])
    assert sum(told) == 6


def test_many_texts_are_encoded_in_parts():
    sizes = []

    def encode(texts):
        sizes.append(len(texts))
        return [[1.0, len(text)] for text in texts]

    index = DenseIndex(["渡" * n for n in range(1, 151)], encode, "length")
    assert sizes == [64, 64, 22]
    assert index.search(["渡" * 70], 1)[0][0].place == 69


@pytest.mark.parametrize("made", [[[math.nan]], [1.0], [[1.0], [2.0]]])
def test_an_encoder_that_makes_no_vectors_is_told(made):
    with pytest.raises(HarnessError, match="no finite vector"):
        DenseIndex(["渡船"], lambda texts: made, "broken")


def test_a_missing_extra_is_told(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.partition(".")[0] == "sentence_transformers":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(HarnessError, match=r"pip install 'checkpoint-harness\[dense\]'"):
        sentence_encoder("some/encoder")


def test_the_extra_is_asked_for_arrays_and_no_bar(monkeypatch):
    asked = {}

    class SentenceTransformer:
        def __init__(self, name, device):
            if name == "none":
                raise OSError("no such encoder\nand more")
            asked["loaded"] = (name, device)

        def encode(self, texts, **how):
            asked["how"] = how
            return np.ones((len(texts), 2))

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    index = DenseIndex(CORPUS, sentence_encoder("some/encoder", "cpu"), "some/encoder")
    assert [hit.place for hit in index.search(["渡"], 3)[0]] == [0, 1, 2]
    assert asked["loaded"] == ("some/encoder", "cpu")
    assert asked["how"]["convert_to_numpy"] is True
    assert asked["how"]["show_progress_bar"] is False
    with pytest.raises(HarnessError, match=r"'none' cannot be loaded \(no such encoder\)"):
        sentence_encoder("none")


# --- measures ---------------------------------------------------------------------------------------------------------


def test_measures_are_means_over_the_questions_that_have_such_a_set():
    asked = [
        Question("甲", {"provided": frozenset("abc"), "cited": frozenset("a")}),
        Question("乙", {"provided": frozenset("de")}),
        Question("丙", {}),
    ]
    found = evaluate(asked, [["a", "x", "b"], ["x", "y", "d"], ["a"]], [1, 3])
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        ("provided", "recall@1"): (pytest.approx((1 / 3 + 0) / 2), 2),
        ("provided", "hit@1"): (0.5, 2),
        ("provided", "recall@3"): (pytest.approx((2 / 3 + 1 / 2) / 2), 2),
        ("provided", "hit@3"): (1.0, 2),
        ("provided", "mrr@3"): (pytest.approx((1 + 1 / 3) / 2), 2),
        ("cited", "recall@1"): (1.0, 1),
        ("cited", "hit@1"): (1.0, 1),
        ("cited", "recall@3"): (1.0, 1),
        ("cited", "hit@3"): (1.0, 1),
        ("cited", "mrr@3"): (1.0, 1),
    }
    assert evaluate([Question("丙", {})], [["a"]], [1]) == {}
