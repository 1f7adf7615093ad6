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
from harness.retrieval.index import K1, B, DenseIndex, Hit, WordIndex, best, sentence_encoder, words

CORPUS = [
    "渡船每年检验一次，渡船应当登记。",
    "行人依次上船，不得拥挤。",
    "桥梁每五年检验一次。",
    "。！？",
    "Ferry 渡船 FERRY",
]


def by_formula(texts, query):
    """Return Lucene's BM25 (Kamphuis et al. 2020, table 1) of each text."""
    texts = [words(text) for text in texts]
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        score = 0.0
        for word in words(query):
            frequency = text.count(word)
            if frequency:
                containing = sum(word in other for other in texts)
                rarity = math.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
                score += rarity * frequency / (frequency + K1 * (1 - B + B * len(text) / mean))
        scores.append(score)
    return scores


def test_words_are_jiebas_in_lower_case_without_punctuation():
    assert words("渡船，每年检验一次。Ferry 12！") == ["渡船", "每年", "检验", "一次", "ferry", "12"]
    assert words("，。 \n") == []


letters = st.text(st.sampled_from("渡船桥梁检验登记 a，1"), max_size=12)


@settings(max_examples=settings.default.max_examples)
@given(st.lists(letters, min_size=1, max_size=8).filter(lambda texts: any(map(words, texts))), letters)
def test_bm25_equals_its_formula(texts, query):
    [hits] = WordIndex(texts).search([query], len(texts))
    scores = by_formula(texts, query)
    assert {hit.place: hit.score for hit in hits} == pytest.approx(
        {place: score for place, score in enumerate(scores) if score > 0}, rel=tolerances.BM25
    )
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_passages_without_a_common_word_are_not_found():
    index = WordIndex(CORPUS)
    assert [[hit.place for hit in hits] for hits in index.search(["检验", "飞机", "，", ""], 5)] == [[2, 0], [], [], []]
    assert [hit.place for hit in index.search(["ferry"], 1)[0]] == [4]


def test_equal_scores_rank_by_the_order_of_the_corpus():
    [hits] = WordIndex(["行人"] + ["渡船 登记"] * 9).search(["渡船"], 4)
    assert [hit.place for hit in hits] == [1, 2, 3, 4]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(1, 14), st.sampled_from([None, 0.0]))
def test_best_equals_a_stable_sort(values, top, above):
    expected = [Hit(place, value) for place, value in enumerate(values) if above is None or value > above]
    expected = sorted(expected, key=lambda hit: -hit.score)[:top]
    assert best(np.array(values, dtype=float), top, above) == expected


def test_a_corpus_without_words_is_refused():
    with pytest.raises(HarnessError, match="no words to index"):
        WordIndex(["，", " "])


def test_progress_advances_per_text_and_query():
    counts = []
    index = WordIndex(CORPUS, counts.append)
    index.search(["渡船", "桥梁"], 1, counts.append)
    assert counts == [1] * 7


# --- vectors: by encoders written here, since no real one is available ------------------------------------------------


def letter_counts(texts):
    """Encode texts by how often each of six letters occurs."""
    return [[text.count(letter) for letter in "渡船桥梁检问"] for text in texts]


def test_vectors_are_ranked_by_their_cosine():
    counts = []
    index = DenseIndex(CORPUS, letter_counts, "counts", "问：", counts.append)
    assert index.description == "cosine of counts's vectors, queries after '问：'"
    [hits] = index.search(["桥梁检验"], 4, counts.append)
    query = np.array(letter_counts(["问：桥梁检验"])[0], dtype=float)
    cosines = []
    for row in np.array(letter_counts(CORPUS), dtype=float):
        norm = np.linalg.norm(row) * np.linalg.norm(query)
        cosines.append(float(row @ query / norm) if norm else 0.0)
    assert [hit.place for hit in hits] == sorted(range(5), key=lambda place: -cosines[place])[:4]
    assert [hit.score for hit in hits] == pytest.approx(sorted(cosines, reverse=True)[:4])
    assert sum(counts) == 6


def test_many_texts_are_encoded_in_parts():
    sizes = []

    def encode(texts):
        sizes.append(len(texts))
        return [[1.0, len(text)] for text in texts]

    index = DenseIndex(["渡" * n for n in range(1, 151)], encode, "length")
    assert sizes == [64, 64, 22]
    assert index.search(["渡" * 70], 1)[0][0].place == 69


@pytest.mark.parametrize("vectors", [[[math.nan]], [1.0], [[1.0], [2.0]]])
def test_an_encoder_without_finite_vectors_is_an_error(vectors):
    with pytest.raises(HarnessError, match="does not return one finite vector per text"):
        DenseIndex(["渡船"], lambda texts: vectors, "broken")


def test_a_missing_extra_is_an_error(monkeypatch):
    original = builtins.__import__

    def absent(name, *rest, **more):
        if name.partition(".")[0] == "sentence_transformers":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(HarnessError, match=r"pip install 'checkpoint-harness\[dense\]'"):
        sentence_encoder("some/encoder")


def test_the_encoder_is_called_for_arrays_and_without_a_bar(monkeypatch):
    calls = {}

    class SentenceTransformer:
        def __init__(self, name, device):
            if name == "none":
                raise OSError("no such encoder\nand more")
            calls["loaded"] = (name, device)

        def encode(self, texts, **options):
            calls["options"] = options
            return np.ones((len(texts), 2))

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    index = DenseIndex(CORPUS, sentence_encoder("some/encoder", "cpu"), "some/encoder")
    assert [hit.place for hit in index.search(["渡"], 3)[0]] == [0, 1, 2]
    assert calls["loaded"] == ("some/encoder", "cpu")
    assert calls["options"]["convert_to_numpy"] is True
    assert calls["options"]["show_progress_bar"] is False
    with pytest.raises(HarnessError, match=r"'none' cannot be loaded \(no such encoder\)"):
        sentence_encoder("none")
