"""The statements of docs/numbers.md about other harnesses, checked on those harnesses' definitions."""

from __future__ import annotations

import re
from fractions import Fraction

import pandas as pd
import pytest
from lm_eval.api.instance import Instance

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import parse
from harness.engine.requests import LogLikelihood
from harness.metrics.answers.numbers import last_number
from harness.tasks.catalogue import Catalogue
from support import mirrors, tiny

OPENCOMPASS_NUMBER = r"\-?\d+\.\d+|\-?\d+"  # open-compass/opencompass, configs/datasets/gsm8k, gen_1d7fe4
LM_EVAL_NUMBER = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"  # lm-eval gsm8k, flexible-extract


def test_lm_evals_c_eval_lacks_a_word_and_the_examples():
    ours, theirs = (Catalogue().config(name) for name in ("ceval_law", "ceval-valid_law"))
    assert theirs["description"] == ours["description"].replace("考试", "")
    assert theirs.get("num_fewshot") in (None, 0)
    assert ours["num_fewshot"] == 5


def test_with_a_chat_template_c_evals_header_is_the_system_message_and_examples_are_turns(tmp_path):
    row = {"id": 0, "question": "问", **dict.fromkeys("ABCD", "甲"), "answer": "A", "explanation": ""}
    mirrors.write(tmp_path, "ceval/ceval-exam", "law", dev=[row] * 5, val=[row], test=[row])
    built = mirrors.task("ceval_law", tmp_path)

    def render(turns, add_generation_prompt):
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)

    built.build_all_requests(apply_chat_template=True, fewshot_as_multiturn=True, chat_template=render)
    prompt = built.instances[0].args[0]
    assert prompt.startswith("<system>以下是中国关于法学考试的单项选择题，请选出其中的正确答案。")
    assert prompt.count("<user>问\nA. 甲") == 6
    assert prompt.count("<assistant>A") == 5
    assert prompt.count("以下是中国") == 1


def test_the_original_mmlu_has_two_spaces_and_keeps_those_around_a_question(tmp_path):
    rows = [{"question": " 1 + 1? ", "choices": ["1", "2", "3", "4"], "answer": 1}]
    mirrors.write(tmp_path, "cais/mmlu", "anatomy", dev=rows * 5, test=rows)
    built = [mirrors.task(f"{name}_anatomy", tmp_path, num_fewshot=0) for name in ("mmlu", "mmlu_hendrycks")]
    theirs, original = (mirrors.requests(task)[0][0] for task in built)
    spaced = theirs.replace("about anatomy", "about  anatomy").replace("\n1 + 1?\n", "\n 1 + 1? \n")
    assert spaced == original != theirs


@pytest.mark.parametrize(
    ("text", "number", "opencompass", "lm_eval"),
    [
        ("the answer is 1,200", 1200, "200", "1,200"),
        ("x = \u22123", -3, "3", "3"),
        ("it is 1/2", Fraction(1, 2), "2", "2"),
    ],
)
def test_other_harnesses_expressions_read_other_numbers(text, number, opencompass, lm_eval):
    assert last_number(text) == number
    assert re.findall(OPENCOMPASS_NUMBER, text)[-1] == opencompass
    assert next(filter(None, re.findall(LM_EVAL_NUMBER, text)[-1])) == lm_eval


def test_lm_evals_jec_qa_accepts_one_of_several_right_choices(tmp_path):
    rows = [{"query": "问：下列哪些？\n答：", "choices": ["(A)一", "(B)二", "(C)三", "(D)四"], "gold": [0, 2]}]
    mirrors.write(tmp_path, "hails/agieval-jec-qa-kd", "default", test=rows)
    built = mirrors.task("agieval_jec_qa_kd", tmp_path)
    doc = built.eval_docs[0]
    scores = [built.process_results(doc, [(float(i == j), False) for j in range(4)])["acc"] for i in range(4)]
    assert scores == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("half", ["kd", "ca"])
def test_about_half_of_jec_qas_questions_have_several_right_choices(data, half):
    [file] = (data / f"hails/agieval-jec-qa-{half}").rglob("*.parquet")
    right = [len(gold) for gold in pd.read_parquet(file)["gold"]]
    assert 0.4 < sum(count > 1 for count in right) / len(right) < 0.6
    assert 0.4 < sum(right) / 4 / len(right) < 0.5


def test_perplexity_of_the_whole_text_and_likelihood_of_the_answer_choose_differently(tmp_path, monkeypatch):
    """A long answer of likely tokens lowers the perplexity of an unlikely text, but is less likely itself."""
    lm = HarnessLM(loading.load(loading.locate(parse(str(tiny.llama(tmp_path / "model"))))))
    prompt, answers = "The weather is", ["好", "不好说"]
    likely = {token for answer in answers for token in lm.tok_encode(answer, add_special_tokens=False)}

    def scored(pairs):
        return [LogLikelihood(sum(-1.0 if token in likely else -3.0 for token in p.continuation), False) for p in pairs]

    monkeypatch.setattr(lm, "score", scored)
    requests = [Instance("loglikelihood", {}, (prompt, answer), i, ("t", 0, 1)) for i, answer in enumerate(answers)]
    answer_only = [likelihood for likelihood, _ in lm.loglikelihood(requests)]
    whole = [likelihood for likelihood, _ in lm.mean_loglikelihood(requests)]
    assert answer_only[0] > answer_only[1]
    assert whole[0] < whole[1]
