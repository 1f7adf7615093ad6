"""On the real data: documents are counted, a constant answer scores its label's share, a random one its chance."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from harness.metrics.aggregate import mean_estimate
from harness.tasks import Catalogue

# Validation splits as the index of the data folder counts them; C-Eval's and MMLU's are summed over subjects.
DOCUMENTS = {"cmnli": 12235, "ocnli": 2950, "c3": 3816, "ceval": 1346, "mmlu_hendrycks": 14042, "gsm8k_fixed": 1319}
# What the columns of the files mean, apart from any prompt.
NLI = {"neutral": 0, "entailment": 1, "contradiction": 2}
SAYS = {
    "": {"\n矛盾": "contradiction", "\n蕴含": "entailment", "\n无关": "neutral"},
    "_ppl": {"\n矛盾": "contradiction", "\n蕴含": "entailment", "\n无关": "neutral"},
    "_letter": {"A": "entailment", "B": "contradiction", "C": "neutral"},
}


class Scripted(LM):
    """Answers every scored request with `score`, a function of its place among the document's and its continuation."""

    def __init__(self, score: Any) -> None:
        super().__init__()
        self.score = score

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        return [(self.score(request.idx, request.args[1]), False) for request in requests]

    mean_loglikelihood = loglikelihood

    def loglikelihood_rolling(self, requests: Any, **_: Any) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        return [self.score(request.idx, "") for request in requests]


def outcomes(built: Any, lm: LM, metric: str = "acc") -> list[float]:
    """Return each document's score."""
    name = built.config.task
    found = evaluate(lm, {"tasks": {name: built}, "groups": {}}, bootstrap_iters=0)
    return [float(sample[metric]) for sample in found["samples"][name]]


def column(data: Path, dataset: str, config: str, split: str, name: str) -> list[Any]:
    return list(pd.read_parquet(data / dataset / config / f"{split}-00000-of-00001.parquet")[name])


@pytest.mark.parametrize(("name", "documents"), DOCUMENTS.items())
def test_every_document_is_asked(data, name, documents):
    found = Catalogue().load([name], data)
    assert sum(len(task.eval_docs) for task in found.tasks.values()) == documents


@pytest.mark.parametrize("protocol", SAYS)
def test_a_constant_label_scores_its_share(data, protocol):
    labels = Counter(column(data, "clue/clue", "ocnli", "validation", "label"))
    built = Catalogue().load([f"ocnli{protocol}"], data).tasks[f"ocnli{protocol}"]
    for word, meaning in SAYS[protocol].items():
        scores = outcomes(built, Scripted(lambda _, said, word=word: float(said == word)))
        assert sum(scores) == labels[NLI[meaning]]


def test_a_constant_place_scores_its_share_of_c3(data):
    table = pd.read_parquet(data / "clue/clue/c3/validation-00000-of-00001.parquet")
    places = Counter(
        list(choice).index(answer) for choice, answer in zip(table["choice"], table["answer"], strict=True)
    )
    built = Catalogue().load(["c3_letter"], data).tasks["c3_letter"]
    for place in range(4):
        assert sum(outcomes(built, Scripted(lambda i, _, place=place: float(i == place)))) == places[place]


def test_a_constant_text_scores_its_share_where_answers_are_generated(data):
    labels = Counter(column(data, "clue/clue", "ocnli", "validation", "label"))
    built = Catalogue().load(["ocnli_gen"], data).tasks["ocnli_gen"]
    assert sum(outcomes(built, Scripted(lambda *_: "答案是B。"), "exact_match")) == labels[NLI["contradiction"]]


@pytest.mark.parametrize(("name", "chance"), [("ocnli", 1 / 3), ("ceval_law", 1 / 4), ("c3_letter", None)])
def test_a_random_answer_scores_chance(data, name, chance):
    draw = random.Random(0)
    built = Catalogue().load([name], data).tasks[name]
    found = mean_estimate(outcomes(built, Scripted(lambda *_: draw.random())))
    # Of C3's letters four are scored, whatever the number of choices.
    assert found.low <= (chance or 1 / 4) <= found.high
