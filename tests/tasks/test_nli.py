"""CMNLI and OCNLI in every protocol: prompts byte for byte, and labels by their meaning."""

from __future__ import annotations

import pytest

from support import mirrors

# The documents contain text that a prompt must not change: template braces, spaces at the ends, a question mark.
PAIRS = [
    {"sentence1": "小王买了三本书。", "sentence2": "小王买了书", "label": 1, "idx": 0},
    {"sentence1": " 店里 {{ 没有 }} 人 ", "sentence2": "店里有人吗？", "label": 2, "idx": 1},
    {"sentence1": "昨天下雨", "sentence2": "今天晴", "label": 0, "idx": 2},
    {"sentence1": "无人同意", "sentence2": "标注", "label": -1, "idx": 3},
]
MEANING = ["entailment", "contradiction", "neutral"]
QUESTIONS = [
    "语句一：“小王买了三本书。”\n语句二：“小王买了书”\n请问这两句话是什么关系？",
    "语句一：“ 店里 {{ 没有 }} 人 ”\n语句二：“店里有人吗？”\n请问这两句话是什么关系？",
    "语句一：“昨天下雨”\n语句二：“今天晴”\n请问这两句话是什么关系？",
]
LETTERS = "\nA. 蕴含\nB. 矛盾\nC. 无关\n请从“A”，“B”，“C”中进行选择。\n答："
STATEMENTS = {
    "contradiction": "阅读文章：昨天下雨\n根据上文，回答如下问题： 今天晴？\n答：错",
    "entailment": "阅读文章：昨天下雨\n根据上文，回答如下问题： 今天晴？\n答：对",
    "neutral": "如果昨天下雨为真，那么今天晴也为真吗?可能",
}
SAYS = {"矛盾": "contradiction", "蕴含": "entailment", "无关": "neutral"}
LETTER_SAYS = {"A": "entailment", "B": "contradiction", "C": "neutral"}

pytestmark = pytest.mark.parametrize("name", ["cmnli", "ocnli"])


@pytest.fixture
def build(name, tmp_path):
    mirrors.write(tmp_path, "clue/clue", name, validation=PAIRS)
    return lambda protocol: mirrors.task(f"{name}{protocol}", tmp_path)


def meanings(built, says) -> list[str]:
    """Return the meaning of each document's gold answer."""
    return [says[built.doc_to_choice(doc)[int(built.doc_to_target(doc))]] for doc in built.eval_docs]


@pytest.mark.parametrize(("protocol", "kind"), [("", "loglikelihood"), ("_ppl", "mean_loglikelihood")])
def test_words_follow_the_question_on_a_new_line(build, protocol, kind):
    built = build(protocol)
    assert mirrors.requests(built) == [(question, f"\n{word}") for question in QUESTIONS for word in SAYS]
    assert mirrors.kinds(built) == {kind}
    assert meanings(built, SAYS) == MEANING


def test_the_neutral_label_has_a_different_prompt_as_in_opencompass(build):
    built = build("_ppl_98dd6e")
    assert mirrors.requests(built)[-3:] == [("", text) for text in STATEMENTS.values()]
    assert mirrors.kinds(built) == {"mean_loglikelihood"}
    third = built.eval_docs[2]
    assert list(STATEMENTS)[int(built.doc_to_target(third))] == "neutral"


def test_letters_follow_the_prompt_without_a_delimiter(build):
    built = build("_letter")
    assert mirrors.requests(built) == [(question + LETTERS, letter) for question in QUESTIONS for letter in "ABC"]
    assert meanings(built, LETTER_SAYS) == MEANING


@pytest.mark.parametrize("protocol", ["_gen", "_gen_51e956"])
def test_the_first_capital_of_an_answer_counts(build, protocol):
    built = build(protocol)
    [first, *_] = mirrors.requests(built)
    other = "阅读文章：小王买了三本书。\n根据上文，回答如下问题：小王买了书\nA. 对\nB. 错\nC. 可能\n"
    other += "请从“A”，“B”，“C”中进行选择。\n答："
    assert first[0] == (QUESTIONS[0] + LETTERS if protocol == "_gen" else other)
    assert [LETTER_SAYS[built.doc_to_target(doc)] for doc in built.eval_docs] == MEANING
    for instance, response in zip(built.instances, ["我选 B，不是 A", "b", ""], strict=True):
        instance.resps = [response]
    built.apply_filters()
    assert [instance.filtered_resps["first-capital"] for instance in built.instances] == ["B", "", ""]


def test_documents_without_a_label_are_left_out(build):
    assert len(build("").eval_docs) == 3
