"""C3 in every protocol: both ways to join a dialogue, and two to four choices."""

from __future__ import annotations

import pytest

from support import mirrors

QUESTIONS = [
    {
        "id": 0,
        "context": ["男：书店几点关门？", "女：九点。 "],
        "question": "书店九点做什么？",
        "choice": ["开门", "关门", "搬家", "{{ 休息 }}"],
        "answer": "关门",
    },
    {"id": 1, "context": ["天亮了。"], "question": "现在是？", "choice": ["早上", "夜里"], "answer": "早上"},
    {"id": 2, "context": ["他七岁。"], "question": "他多大？", "choice": ["六岁", "八岁", "七岁"], "answer": "七岁"},
]
SPACED = [
    "文章：男：书店几点关门？ 女：九点。 \n问题：书店九点做什么？\n答案：",
    "文章：天亮了。\n问题：现在是？\n答案：",
    "文章：他七岁。\n问题：他多大？\n答案：",
]
ASKS = "\n请从“A”，“B”，“C”，“D”中进行选择。\n答："
JOINED = [
    "男：书店几点关门？女：九点。 \n问：书店九点做什么？\nA. 开门\nB. 关门\nC. 搬家\nD. {{ 休息 }}" + ASKS,
    "天亮了。\n问：现在是？\nA. 早上\nB. 夜里\nC. [NULL]\nD. [NULL]" + ASKS,
    "他七岁。\n问：他多大？\nA. 六岁\nB. 八岁\nC. 七岁\nD. [NULL]" + ASKS,
]
GOLD = [1, 0, 2]


@pytest.fixture
def build(tmp_path):
    mirrors.write(tmp_path, "clue/clue", "c3", validation=QUESTIONS)
    return lambda name: mirrors.task(name, tmp_path)


@pytest.mark.parametrize(("name", "kind"), [("c3", "loglikelihood"), ("c3_ppl", "mean_loglikelihood")])
def test_choices_follow_turns_joined_by_a_space(build, name, kind):
    built = build(name)
    expected = [(prompt, choice) for prompt, doc in zip(SPACED, QUESTIONS, strict=True) for choice in doc["choice"]]
    assert mirrors.requests(built) == expected
    assert mirrors.kinds(built) == {kind}
    assert [int(built.doc_to_target(doc)) for doc in built.eval_docs] == GOLD


def test_letters_follow_turns_joined_by_nothing(build):
    built = build("c3_letter")
    assert mirrors.requests(built) == [(prompt, letter) for prompt in JOINED for letter in "ABCD"]
    assert [int(built.doc_to_target(doc)) for doc in built.eval_docs] == GOLD


def test_a_generated_answer_has_the_same_prompt(build):
    built = build("c3_gen")
    assert [prompt for prompt, _ in mirrors.requests(built)] == JOINED
    assert [built.doc_to_target(doc) for doc in built.eval_docs] == ["B", "A", "C"]
