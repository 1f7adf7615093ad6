"""Which marks of thoughts are learned from a tokenizer, a chat template or a reference."""

from __future__ import annotations

from typing import Any

import pytest

from harness.engine.decoding import families, thinking
from harness.engine.decoding.families import learn
from harness.engine.decoding.spelling import Speller
from harness.engine.decoding.thinking import KNOWN, Marks
from support import chat_templates, tiny

FINAL = "<|channel|>final"


def words(template: str | None = None, *tokens: str) -> Any:
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(list(tokens))
    tokenizer.chat_template = template
    return tokenizer


def answer(tokenizer: Any, text: str, think: str | None = None, *, opened: bool = False) -> str:
    return thinking.split(text, opened, learn(tokenizer, think).marks).answer


@pytest.mark.parametrize("name", chat_templates.RIGHT)
def test_the_marks_of_every_usual_template_are_handled(name: str) -> None:
    assert not learn(words(chat_templates.RIGHT[name])).unhandled


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (chat_templates.QWEN3, "<think>\n甲\n</think>\n\n乙"),
        (chat_templates.DEEPSEEK_R1, "甲</think>乙"),
        (chat_templates.MAGISTRAL, "[THINK]甲[/THINK]乙"),
        (chat_templates.GPT_OSS, f"<|channel|>analysis<|message|>甲<|end|><|start|>assistant{FINAL}<|message|>乙"),
        (chat_templates.GPT_OSS, f"<|channel|>commentary<|message|>甲<|end|>{FINAL} <|constrain|>json<|message|>乙"),
        (chat_templates.GPT_OSS, "<|channel|>final<|message|>乙"),
        (chat_templates.COMMAND, "<|START_THINKING|>甲<|END_THINKING|><|START_RESPONSE|>乙<|END_RESPONSE|>"),
        ("<reasoning></reasoning><answer></answer>", "<reasoning>甲</reasoning>\n<answer>\n乙\n</answer>"),
        (
            "{{ '<|begin_of_thought|>' }}",
            "<|begin_of_thought|>甲<|end_of_thought|>\n\n<|begin_of_solution|>乙<|end_of_solution|>",
        ),
        ("{{ '<seed:think>' }}", "<seed:think>甲</seed:think>乙"),
        ("◁think▷", "◁think▷甲◁/think▷乙"),
        ("{% if x %}<|channel>thought{% endif %}<|think|>", "<|channel>thought\n甲<channel|>乙"),
        ("Here is my thought process:", "Here is my thought process: 甲\n\nHere is my response: 乙"),
        ("<deep_thinking>", "<deep_thinking>甲</deep_thinking>乙"),
        ("[REASONING][/REASONING]", "[REASONING]甲[/REASONING]乙"),
        ("<|thought_start|><|thought_end|>", "<|thought_start|>甲<|thought_end|>乙"),
        ("<|begin_of_reasoning|><|end_of_reasoning|>", "<|begin_of_reasoning|>甲<|end_of_reasoning|>乙"),
        ("<思考>", "<思考>甲</思考>乙"),
        ("【思考】{{ x }}【思考结束】", "【思考】甲【思考结束】乙"),
        ("【开始思考】{{ x }}【结束思考】", "【开始思考】甲【结束思考】乙"),
        ("<deep_thinking>{{ x }}<deep_thinking_done>", "<deep_thinking>甲<deep_thinking_done>乙"),
        ("<my_think>{{ x }}</my_think><my_think_end>", "<my_think>甲</my_think>乙"),
        ("m.content.split('</my_thought>')", "<my_thought>甲</my_thought>乙"),
    ],
)
def test_the_answer_of_each_family_is_found_by_its_template(template: str, text: str) -> None:
    assert answer(words(template), text) == "乙"
    assert not learn(words(template)).unhandled


def test_marks_are_learned_from_added_tokens_too() -> None:
    assert (
        answer(words(None, "<|thinking_start|>", "<|thinking_end|>"), "<|thinking_start|>甲<|thinking_end|>乙") == "乙"
    )
    assert answer(words(None, "[THINK]", "[/THINK]"), "甲[/THINK]乙") == "乙"


def test_a_model_without_marks_is_read_by_all_known_families() -> None:
    assert learn(words(chat_templates.PLAIN)).marks == KNOWN
    assert answer(words(), "<think>甲</think>乙") == "乙"
    assert answer(words(), "甲</think>乙") == "乙"
    assert answer(words(), "Use [/THINK] to end.") == "Use [/THINK] to end."


def test_the_marks_of_another_family_are_text_in_an_answer() -> None:
    assert answer(words(chat_templates.MAGISTRAL), "[THINK]甲[/THINK]Write </think>.") == "Write </think>."
    assert answer(words(chat_templates.MAGISTRAL), "Write </think> here.") == "Write </think> here."


def test_a_thought_that_the_prompt_opened_ends_by_the_marks_of_its_own_model() -> None:
    assert (
        answer(words(chat_templates.DEEPSEEK_R1), "甲</think>Write </reasoning>.", opened=True) == "Write </reasoning>."
    )
    assert answer(words(), "甲[/THINK]乙", opened=True) == "乙"


@pytest.mark.parametrize(
    "template",
    [
        *("<|think|>{{ x }}", "<|deep_thought|>", "<|im_start|>assistant/think\n", "<|end_reasoning|>"),
        # either could close the other
        *("【思考】{{ x }}【思考后】", "<deep_think>{{ x }}<after_think>", "[REASONING]{{ x }}[REASONED]"),
        *("<think>{{ x }}<think_over>", "<thinking>{{ x }}<thinking_done>", "<思考>{{ x }}【思考结束】…<思考者>"),
    ],
)
def test_a_mark_without_a_counterpart_is_unhandled(template: str) -> None:
    assert learn(words(template)).unhandled
    assert not learn(words(template), "<a>,<b>").unhandled
    assert not learn(words(template), "none").unhandled


def test_a_token_that_could_close_a_mark_of_the_template_leaves_it_unhandled() -> None:
    assert learn(words("【思考】{{ x }}", "【思考后】")).unhandled == ("【思考】",)
    assert not learn(words("【思考】{{ x }}", "【思考结束】")).unhandled


@pytest.mark.parametrize(
    ("template", "tokens", "think", "description"),
    [
        (chat_templates.PLAIN, (), None, ""),
        (chat_templates.QWEN3, ("<think>",), None, "<think> … </think> (from the chat template)"),
        (None, ("[THINK]",), None, "[THINK] … [/THINK] (from the tokenizer's tokens)"),
        (chat_templates.QWEN3, (), "《,》", "《 … 》 (by think=)"),
        (chat_templates.QWEN3, (), "none", "none (by think=none)"),
        (
            "<|deep_thought|>",
            (),
            None,
            "'<|deep_thought|>', whose counterpart is unknown: name both with think=START,END",
        ),
    ],
)
def test_marks_are_described(template: str | None, tokens: Any, think: str | None, description: str) -> None:
    assert families.describe(words(template, *tokens), think) == description


def test_ordinary_code_of_a_template_has_no_marks() -> None:
    template = (
        "{%- if message['reasoning_content'] is defined and a < b %}{{ message.reasoning_content }}{%- endif %}"
        "{% if enable_thinking %}/no_think{% endif %}{{ x[reasoning] }}{{ messages['thinking'] }}"
    )
    assert learn(words(template)) == families.Learned(KNOWN)


@pytest.mark.parametrize("tokens", [("<THINK>", "</THINK>"), ()])
def test_a_template_may_spell_known_marks_in_capitals(tokens: tuple[str, ...]) -> None:
    tokenizer = words("<THINK></THINK>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    assert answer(tokenizer, "<THINK>甲</THINK>乙") == "乙"
    assert families.describe(tokenizer) == "<THINK> … </THINK> (from the chat template)"
    assert Speller(tokenizer, learn(tokenizer).marks).text(tokenizer.encode("<THINK>a</THINK>b")).count("THINK") == 2


def test_marks_are_exact_where_they_are_named() -> None:
    assert answer(words(), "<Plan>甲</Plan>乙", "<plan>,</plan>") == "<Plan>甲</Plan>乙"
    assert families.shows(words("<plan>"), "<plan>,</plan>")
    assert families.shows(words(None, "</plan>"), "<plan>,</plan>")
    assert not families.shows(words("<Plan>"), "<plan>,</plan>")


def test_named_marks_are_the_only_ones() -> None:
    assert learn(words(chat_templates.QWEN3), "《,》").marks == (Marks("《", "》"),)
    assert answer(words(chat_templates.QWEN3), "《甲》乙 </think>丙", "《,》") == "乙 </think>丙"
    assert answer(words(chat_templates.QWEN3), "<think>甲</think>乙", "none") == "<think>甲</think>乙"
