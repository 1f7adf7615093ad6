"""Training corpora: valid and invalid rows, proportions of a mixture, labels of examples."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.demo import model
from harness.errors import HarnessError
from harness.training import corpora
from harness.training.corpora import IGNORED, Example


def written(folder: Path, *rows: str) -> Path:
    file = folder / "corpus.jsonl"
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


def test_rows_are_examples(tmp_path):
    rows = [{"text": "a text"}, {"prompt": "asked", "completion": "answered"}, {"prompt": "", "completion": "x"}]
    assert corpora.read(written(tmp_path, *map(json.dumps, rows))) == [
        Example("", "a text"),
        Example("asked", "answered"),
        Example("", "x"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        '{"text": ""}',
        '{"prompt": "a"}',
        '{"text": "a", "prompt": "b"}',
        '{"text": 3}',
        '{"completion": "a"}',
        '{"text": "a", "completion": "b"}',
        "{}",
    ],
)
def test_the_error_names_the_row_that_is_not_an_example(tmp_path, row):
    with pytest.raises(HarnessError, match=r"corpus.jsonl.*line 2.*is neither"):
        corpora.read(written(tmp_path, '{"text": "fine"}', row))


def test_files_that_are_not_a_corpus(tmp_path):
    with pytest.raises(HarnessError, match="there is no corpus"):
        corpora.read(tmp_path / "none.jsonl")
    with pytest.raises(HarnessError, match="is empty"):
        corpora.read(written(tmp_path))
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(HarnessError, match=r"supported are .jsonl"):
        corpora.read(tmp_path / "a.doc")


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(0.1, 9), min_size=1), st.integers(1, 200))
def test_every_prefix_of_a_mixture_keeps_the_proportions(weights, count):
    texts = {name: [Example("", f"{name}{i}") for i in range(7)] for name in weights}
    drawn = Counter(example.text[0] for example in corpora.mixture(texts, weights, count, "seed"))
    assert drawn.total() == count
    for name, weight in weights.items():
        # Largest deficit first: no corpus is ahead of its share by 1, or behind it by the number of corpora.
        assert drawn[name] - count * weight / sum(weights.values()) < 1
        assert count * weight / sum(weights.values()) - drawn[name] < len(weights)


def test_a_corpus_is_read_whole_before_it_is_read_again():
    texts = {"a": [Example("", str(i)) for i in range(10)]}
    drawn = list(corpora.mixture(texts, {"a": 1}, 30, "seed"))
    rounds = [drawn[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(examples) == sorted(texts["a"]) for examples in rounds)
    assert len({tuple(examples) for examples in rounds}) == 3
    assert drawn == list(corpora.mixture(texts, {"a": 1}, 30, "seed"))
    assert drawn != list(corpora.mixture(texts, {"a": 1}, 30, "another"))


def test_completions_are_learned_and_prompts_are_not():
    tokenizer = model.train_tokenizer(["问：谁？答：我。"], [])
    (plain, prompted, cut) = itertools.chain(
        corpora.encode([Example("", "我。"), Example("问：谁？答：", "我。")], tokenizer, 99),
        corpora.encode([Example("问：谁？答：", "我。")], tokenizer, 7),
    )
    eos = tokenizer.eos_token_id
    answer = tokenizer("我。")["input_ids"]
    assert plain == ([*answer, eos], [*answer, eos])
    assert prompted.input_ids == [*tokenizer("问：谁？答：我。")["input_ids"], eos]
    assert prompted.labels == [IGNORED] * 6 + [*answer, eos]
    assert cut == (prompted.input_ids[:7], prompted.labels[:7])
