"""On the real data: documents are counted, an answer scores where it is right, a random one scores its chance."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from harness.metrics.stats.estimates import mean_estimate
from harness.tasks.catalogue import Catalogue
from support import mirrors

# As the index of the data folder counts the splits; C-Eval's, MMLU's and CMMLU's are summed over subjects.
DOCUMENTS = {
    **dict.fromkeys(("cmnli", "cmnli_ppl", "cmnli_ppl_98dd6e", "cmnli_letter", "cmnli_gen", "cmnli_gen_51e956"), 12235),
    **dict.fromkeys(("ocnli", "ocnli_ppl", "ocnli_ppl_98dd6e", "ocnli_letter", "ocnli_gen", "ocnli_gen_51e956"), 2950),
    **dict.fromkeys(("c3", "c3_ppl", "c3_letter", "c3_gen"), 3816),
    **dict.fromkeys(("ceval", "ceval_gen", "ceval_gen_cot", "ceval_gen_cot_llama", "ceval_cot"), 1346),
    "ceval_test": 12342,
    **dict.fromkeys(("mmlu", "mmlu_hendrycks"), 14042),
    **dict.fromkeys(("gsm8k", "gsm8k_cot", "gsm8k_fixed"), 1319),
    "cmmlu": 11582,
    "mrpc": 408,
    "sst2": 872,
    "piqa": 1838,
    "agieval_jec_qa_kd": 1000,
    "agieval_jec_qa_ca": 1000,
    **dict.fromkeys(("cluener", "cluener_sentences", "cluener_key_value", "cluener_json"), 1343),
    "peoples_daily_ner": 4636,
    "msra_ner": 3442,
    **dict.fromkeys(("conll2003_ner", "conll2003_ner_json"), 3453),
    **dict.fromkeys(("duie", "duie_json"), 2000),
    **dict.fromkeys(("duee", "duee_json"), 1498),
    "iepile": 6 + 72 + 96 + 96,
}
LETTERS = "ABCD"
SUBJECTS = {  # tasks with one part for each subject, their data, and how they store the right letter
    "ceval": ("ceval/ceval-exam", "val", str),
    "mmlu_hendrycks": ("cais/mmlu", "test", lambda place: LETTERS[place]),
}
# What the columns of the files mean, apart from any prompt.
NLI = {"neutral": 0, "entailment": 1, "contradiction": 2}
SAYS = {
    "": {"\n矛盾": "contradiction", "\n蕴含": "entailment", "\n无关": "neutral"},
    "_ppl": {"\n矛盾": "contradiction", "\n蕴含": "entailment", "\n无关": "neutral"},
    "_letter": {"A": "entailment", "B": "contradiction", "C": "neutral"},
}


class Scripted(LM):
    """Answers every request by `score`, a function of the request."""

    def __init__(self, score: Any) -> None:
        super().__init__()
        self.score = score

    def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        return [(self.score(request), False) for request in requests]

    mean_loglikelihood = loglikelihood

    def loglikelihood_rolling(self, requests: Any, **_: Any) -> Any:
        raise NotImplementedError

    def generate_until(self, requests: Any, **_: Any) -> list[str]:
        return [self.score(request) for request in requests]


def golds(data: Path, name: str) -> dict[str, list[str]]:
    """Return the right letters of each task of the group `name`, one per document, according to the files."""
    dataset, split, letter = SUBJECTS[name]
    subjects = {task: task.removeprefix(f"{name}_") for task in Catalogue().sources([name], data)}
    return {task: list(map(letter, column(data, dataset, sub, split, "answer"))) for task, sub in subjects.items()}


def outcomes(built: Any, lm: LM, metric: str = "acc", limit: int | None = None) -> list[float]:
    """Return the score of each document, or of the first `limit`, in the order of the documents."""
    name = built.config.task
    outcome = evaluate(lm, {"tasks": {name: built}, "groups": {}}, limit=limit, bootstrap_iters=0)
    return [float(sample[metric]) for sample in sorted(outcome["samples"][name], key=lambda sample: sample["doc_id"])]


def column(data: Path, dataset: str, config: str, split: str, name: str) -> list[Any]:
    return list(pd.read_parquet(data / dataset / config / f"{split}-00000-of-00001.parquet")[name])


SLOW = (
    *("mmlu", "cmmlu", "ceval_gen", "ceval_gen_cot", "ceval_gen_cot_llama"),
    *("cmnli_ppl", "cmnli_ppl_98dd6e", "cmnli_letter", "cmnli_gen", "cmnli_gen_51e956"),  # OCNLI's are quick
    *("cluener_sentences", "cluener_key_value", "cluener_json", "peoples_daily_ner", "msra_ner"),
    *("conll2003_ner", "conll2003_ner_json", "duie_json", "duee_json"),
)


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("name", "documents"),
    [pytest.param(*item, marks=[pytest.mark.oracle] * (item[0] in SLOW)) for item in DOCUMENTS.items()],
)
def test_every_document_of_the_data_is_loaded(data, name, documents):
    tasks = Catalogue().load([name], data).tasks
    assert sum(len(task.documents) for task in tasks.values()) == documents


# Each document gets one of the possible answers, in turn: it scores 1 exactly where the files say it is right.
# `make test` scores the first documents or subjects, `make oracle` all.
FIRST = pytest.mark.parametrize("limit", [600, pytest.param(None, marks=pytest.mark.oracle)])
FIRST_SUBJECTS = pytest.mark.parametrize("subjects", [12, pytest.param(None, marks=pytest.mark.oracle)])


@FIRST
@pytest.mark.parametrize("protocol", SAYS)
def test_a_label_scores_where_it_is_right(data, protocol, limit):
    labels = [label for label in column(data, "clue/clue", "ocnli", "validation", "label") if label in NLI.values()]
    built = Catalogue().load([f"ocnli{protocol}"], data).tasks[f"ocnli{protocol}"].lm_eval
    words = list(SAYS[protocol])
    likelihood = Scripted(lambda request: float(request.args[1] == words[request.doc_id % 3]))
    scores = outcomes(built, likelihood, limit=limit)
    assert scores == [float(NLI[SAYS[protocol][words[i % 3]]] == label) for i, label in enumerate(labels[:limit])]
    assert len(scores) == (limit or 2950)


@FIRST
def test_a_place_scores_where_it_is_right_in_c3(data, limit):
    table = pd.read_parquet(data / "clue/clue/c3/validation-00000-of-00001.parquet")
    places = [list(choice).index(answer) for choice, answer in zip(table["choice"], table["answer"], strict=True)]
    built = Catalogue().load(["c3_letter"], data).tasks["c3_letter"].lm_eval
    scores = outcomes(built, Scripted(lambda request: float(request.idx == request.doc_id % 4)), limit=limit)
    assert scores == [float(place == i % 4) for i, place in enumerate(places[:limit])]


@FIRST_SUBJECTS
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_letter_scores_where_it_is_right_in_all_subjects(data, name, subjects):
    right = golds(data, name)
    for subject, task in mirrors.tasks(list(right)[:subjects], data).items():
        answers = [LETTERS[i % 4] for i in range(len(task.eval_docs))]
        likelihoods = {letter: [(float(choice == letter), False) for choice in LETTERS] for letter in LETTERS}
        scores = [
            task.process_results(doc, likelihoods[letter])["acc"]
            for doc, letter in zip(task.eval_docs, answers, strict=True)
        ]
        assert scores == [float(a == b) for a, b in zip(answers, right[subject], strict=True)], subject


@FIRST_SUBJECTS
@pytest.mark.parametrize("name", ["ceval_gen", "ceval_gen_cot", "ceval_gen_cot_llama", "ceval_cot"])
def test_a_constant_conclusion_scores_its_share_of_c_eval(data, name, subjects):
    by_subject = dict(list(golds(data, "ceval").items())[:subjects])
    right = Counter(letter for letters in by_subject.values() for letter in letters)
    response, count = "所以答案是C。", Counter()
    names = [f"{name}{subject.removeprefix('ceval')}" for subject in by_subject]
    for task in mirrors.tasks(names, data).values():
        task.build_all_requests()
        for instance in task.instances:
            instance.resps = [f"{response[:-2]}：\n\n答：C" if name == "ceval_cot" else response]
        task.apply_filters()
        docs = dict(enumerate(task.eval_docs))
        for kind in task.instances[0].filtered_resps:
            for instance in task.instances:
                scores = task.process_results(docs[instance.doc_id], [instance.filtered_resps[kind]])
                count[kind] += next(iter(scores.values()))
    # These filters read the first character, or a letter that stands alone.
    exceptions = {"minimax": 0, "chatgpt": right["C"] if name == "ceval_gen_cot" else 0}
    assert count == {kind: exceptions.get(kind, right["C"]) for kind in count}
    assert count


def test_a_constant_number_scores_its_share_of_gsm8k(data):
    answers = column(data, "openai/gsm8k", "main", "test", "answer")
    built = Catalogue().load(["gsm8k_fixed"], data).tasks["gsm8k_fixed"].lm_eval
    docs = list(built.eval_docs)
    most, share = Counter(answer.rsplit("#### ", 1)[1] for answer in answers).most_common(1)[0]
    for response in (f"It is {most}.", f"#### {most}"):
        scores = [built.process_results(doc, [response])["exact_match"] for doc in docs]
        assert sum(scores) == share


def test_a_constant_generated_answer_scores_its_share(data):
    labels = Counter(column(data, "clue/clue", "ocnli", "validation", "label"))
    built = Catalogue().load(["ocnli_gen"], data).tasks["ocnli_gen"].lm_eval
    assert sum(outcomes(built, Scripted(lambda _: "答案是B。"), "exact_match")) == labels[NLI["contradiction"]]


@pytest.mark.parametrize(("name", "chance"), [("ocnli", 1 / 3), ("ceval_law", 1 / 4), ("c3_letter", None)])
def test_a_random_answer_scores_chance(data, name, chance):
    draw = random.Random(0)
    built = Catalogue().load([name], data).tasks[name].lm_eval
    estimate = mean_estimate(outcomes(built, Scripted(lambda _: draw.random())))
    # C3 scores four letters, whatever the number of choices.
    assert estimate.low <= (chance or 1 / 4) <= estimate.high
