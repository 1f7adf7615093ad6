"""Chat templates: where prompts end, and where choices are scored if a template opens a thought."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.chat import ChatTemplate
from harness.backends.conversations import Conversations
from harness.backends.encoding import Encoder
from harness.engine.decoding import families, thinking
from support import chat_templates, tiny

QUESTION = [{"role": "user", "content": "问"}]
SHOT = [{"role": "user", "content": "例"}, {"role": "assistant", "content": "甲"}]


def template(text: str, **variables: Any) -> ChatTemplate:
    words = tiny.tokenizer()
    words.chat_template = text
    return ChatTemplate("base", words, variables, families.learn(words).marks)


@pytest.mark.parametrize(
    ("name", "variables", "end"),
    [
        ("plain", {}, "<|im_start|>assistant\n"),
        ("qwen3", {}, "<|im_start|>assistant\n"),
        ("qwen3", {"enable_thinking": False}, "assistant\n<think>\n\n</think>\n\n"),
        ("qwen3-thinking", {}, "assistant\n<think>\n\n</think>\n\n"),
        ("deepseek-r1", {}, "<|Assistant|><think>\n\n</think>"),
        ("deepseek-v3", {}, "<|Assistant|></think>"),
        ("deepseek-v3", {"thinking": True}, "问<|Assistant|></think>"),
        ("glm", {}, "<|assistant|></think>"),
        ("glm", {"enable_thinking": False}, "<|assistant|></think>"),
        ("gpt-oss", {}, "<|start|>assistant<|channel|>final<|message|>"),
        ("magistral", {}, "[INST]问[/INST]"),
        ("command", {}, "<|START_THINKING|><|END_THINKING|>"),
        ("mistral", {}, "[/INST]"),
        ("gemma", {}, "<start_of_turn>model\n"),
    ],
)
def test_choices_are_scored_after_the_empty_thought_of_the_family(name: str, variables: Any, end: str) -> None:
    chat = template(chat_templates.RIGHT[name], **variables)
    for turns in (QUESTION, [*SHOT, *QUESTION]):
        prompt = chat.render(turns)
        closed = chat.closed(prompt)
        assert closed.endswith(end)
        assert closed.count("问") == 1
        assert not thinking.leaves_open(closed, chat.marks)
        assert chat.closed(closed) == closed


@pytest.mark.parametrize("name", ["qwen3-thinking", "deepseek-r1", "glm", "command"])
def test_a_template_that_opens_a_thought_leaves_it_open_for_generated_answers(name: str) -> None:
    chat = template(chat_templates.RIGHT[name])
    conversations = Conversations(chat)
    prompt = conversations.prompt(QUESTION)
    assert chat.leaves_open(prompt)
    assert not conversations.notes(Encoder(chat.tokenizer), [], None)
    conversations.scores_continuations = True
    assert conversations.prompt(QUESTION) == chat.closed(prompt) != prompt
    [note] = conversations.notes(Encoder(chat.tokenizer), [], None)
    assert "choices are scored after" in note


def test_a_template_without_marks_when_it_does_not_think_gets_none() -> None:
    text = "{{ messages[-1].content }}<a>{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}"
    chat = template(text)
    assert chat.closed(chat.render(QUESTION)) == "问<a>"
    assert not chat.leaves_open("问<a>")


def test_words_behind_the_mark_of_a_template_belong_to_the_thought() -> None:
    chat = template("{{ messages[-1].content }}\n<think>\nOkay, step by step.\n")
    assert chat.leaves_open(chat.render(QUESTION))
    assert not chat.leaves_open("问<think></think>")
    assert chat.closed(chat.render(QUESTION)) == "问\n<think>\nOkay, step by step.</think>"


def test_a_question_about_a_mark_opens_no_thought() -> None:
    chat = template(chat_templates.PLAIN)
    assert not chat.leaves_open(chat.render([{"role": "user", "content": "What does <think> mean?"}]))


def test_an_answer_that_the_task_begins_is_not_in_a_thought() -> None:
    chat = template(chat_templates.QWEN3_THINKING)
    begun = [*QUESTION, {"role": "assistant", "content": "答案是"}]
    prompt = chat.render(begun, generation=False)
    assert prompt.endswith("<think>\n\n</think>\n\n答案是")
    assert chat.closed(prompt) == prompt
    assert not chat.leaves_open(prompt)


def test_a_template_that_may_think_is_noted_where_choices_are_scored() -> None:
    chat = template(chat_templates.QWEN3)
    conversations = Conversations(chat)
    conversations.scores_continuations = True
    assert conversations.prompt(QUESTION).endswith("assistant\n")
    [note] = conversations.notes(Encoder(chat.tokenizer), [], None)
    assert "may begin a thought" in note


# --- templates that open a thought for some questions only

HARD = "{% set hard = '难' in messages[-1].content %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TURNS_OF = {text: [{"role": "user", "content": text}] for text in ("难题", "易题", "难", "问")}


def scored(chat: ChatTemplate, *questions: str) -> tuple[list[str], list[str]]:
    """Return the prompts after which choices of `questions` are scored, and the notes on thoughts."""
    conversations = Conversations(chat)
    conversations.scores_continuations = True
    prompts = [conversations.prompt(TURNS_OF[text]) for text in (*questions, *questions)]
    notes = conversations.notes(Encoder(chat.tokenizer), [], None)
    return prompts[: len(questions)], [note for note in notes if "thought" in note or "answer begins" in note]


@pytest.mark.parametrize(
    ("end", "closing"),
    [
        ("<assistant>{% if hard %}<think>\n{% endif %}", "<assistant><think>\n\n</think>"),
        ("<assistant>{% if hard %}<think>\nOkay,{% endif %}", "<assistant><think>\nOkay,</think>"),
        (
            "<assistant>{% if hard %}<think>{{ '无</think>' if enable_thinking is defined }}{% endif %}",
            "<assistant><think>无</think>",
        ),
    ],
)
def test_a_thought_that_is_opened_for_some_questions_is_closed_there_and_counted(end: str, closing: str) -> None:
    chat = template(HARD + end)
    prompts, notes = scored(chat, "难题", "易题", "问")
    assert [prompt.rpartition("题")[2] for prompt in prompts[:2]] == [closing, "<assistant>"]
    assert len(notes) == 1
    assert notes[0].startswith("the chat template ends 1 of 3 prompts within a thought ('<assistant><think>")
    assert f"choices are scored after {closing.strip()!r} instead" in notes[0]
    assert chat.leaves_open(chat.render(TURNS_OF["难题"]))
    assert not chat.leaves_open(chat.render(TURNS_OF["易题"]))


def test_where_no_question_opens_a_thought_nothing_is_noted() -> None:
    chat = template(HARD + "<assistant>{% if hard %}<think>\n{% endif %}")
    assert scored(chat, "易题", "问")[1] == []
    opening = template(HARD + "<assistant>{% if messages[-1].content == 'Q7f3a' %}<think>\n{% endif %}")
    assert scored(opening, "难题", "易题") == (["<user>难题<assistant>", "<user>易题<assistant>"], [])


def test_where_every_question_opens_a_thought_that_is_said_of_prompts() -> None:
    chat = template(HARD + "<assistant>{% if hard %}<think>\n{% endif %}")
    [note] = scored(chat, "难题", "难")[1]
    assert note.startswith("the chat template ends prompts within a thought ('<assistant><think>')")


def test_a_question_that_switches_thoughts_off_is_not_counted_among_those_that_may_think() -> None:
    text = HARD + "<assistant>{% if hard or no_thoughts %}<think>\n\n</think>\n\n{% endif %}"
    history = text.replace("{{ m.content }}", "{{ '<think>\n\n</think>\n\n' if m.role == 'assistant' }}{{ m.content }}")
    [note] = scored(template(history), "难题", "易题", "问")[1]
    assert "may begin a thought in 2 of 3 prompts: its chat template puts an empty thought" in note
    assert scored(template(history), "难题", "难")[1] == []


@pytest.mark.parametrize("text", ["t", "<", "think", "a", "<think>"])
def test_a_question_that_occurs_in_the_template_s_own_words_is_not_mistaken(text: str) -> None:
    turns = [{"role": "user", "content": text}]
    condition = "{% if messages[-1].content != 'Q7f3a' %}<think>{% endif %}"
    for end in ("<think>", condition):
        chat = template("{{ messages[-1].content }}<assistant>" + end)
        assert chat.closed(chat.render(turns), turns) == f"{text}<assistant><think></think>"
