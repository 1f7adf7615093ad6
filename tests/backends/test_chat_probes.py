"""What probes find wrong with chat templates, and what a run notes about its prompts."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from harness.backends import chat_probes
from harness.backends.chat import ChatTemplate
from harness.backends.chat_probes import Findings
from harness.backends.conversations import Conversations
from harness.backends.encoding import Encoder
from harness.engine.decoding import families
from harness.errors import HarnessError
from support import chat_templates, tiny

HEAD = "<|im_start|>{{ m.role }}\n"
END = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
LOOP = "{% for m in messages %}" + HEAD
TURNS = [
    {"role": "system", "content": "规则"},
    {"role": "user", "content": "例 "},
    {"role": "assistant", "content": " 甲\n\n"},
    {"role": "user", "content": "问"},
]


def template(text: str, **variables: Any) -> ChatTemplate:
    words = tiny.tokenizer()
    words.chat_template = text
    return ChatTemplate("base", words, variables, families.learn(words).marks)


def notes(chat: ChatTemplate, *conversations: list[dict[str, str]], instruction: str | None = None) -> list[str]:
    rendered = Conversations(chat)
    for turns in conversations or (TURNS,):
        rendered.prompt(turns)
    return rendered.notes(Encoder(chat.tokenizer), [chat.tokenizer.eos_token_id], instruction)


@pytest.mark.parametrize("name", chat_templates.RIGHT)
def test_nothing_is_wrong_with_usual_templates(name: str) -> None:
    expected = Findings(own_system=chat_templates.OWN_SYSTEM.get(name, ""))
    assert chat_probes.probe(template(chat_templates.RIGHT[name])) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LOOP + "{{ m.content[:2000] }}" + END, "shortens or changes a question"),
        (LOOP + "{{ m.content | replace('\n', ' ') }}" + END, "shortens or changes a question"),
        (LOOP + "{{ m.content | upper }}" + END, "shortens or changes a question"),
        ("{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}", "leaves out a question"),
        (LOOP + "{{ m.content }}{{ m.content }}" + END, "repeats a question"),
    ],
)
def test_a_template_that_spoils_questions_is_found(text: str, problem: str) -> None:
    assert chat_probes.probe(template(text)).question == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<user>{{ messages[-1].content }}<assistant>", "leaves out a question"),
        (LOOP + "{% if m.role == 'user' %}{{ m.content }}{% endif %}" + END, "leaves out an earlier answer"),
        ("{% for m in messages | reverse %}" + HEAD + "{{ m.content }}" + END, "changes the order of turns"),
        (
            "{% for m in messages[-5:] %}" + HEAD + "{{ m.content }}" + END,
            "leaves out a question of a long conversation",
        ),
        ("<user>{% for m in messages %}{{ m.content }}\n{% endfor %}<assistant>", "without '<assistant>'"),
        ("{% for m in messages %}<user>{{ m.content }}{% endfor %}<assistant>", "as if it were a question"),
        (
            "{% for m in messages %}{{ raise_exception('one turn') if loop.index > 1 }}{{ m.content }}{% endfor %}",
            "one turn",
        ),
        (
            "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}<think>\n{% endif %}{{ m.content }}"
            "{% endfor %}{% if add_generation_prompt %}<assistant><think>\n{% endif %}",
            "into a thought that it leaves open",
        ),
    ],
)
def test_a_template_that_spoils_earlier_turns_is_found(text: str, problem: str) -> None:
    findings = chat_probes.probe(template(text))
    assert problem in findings.history
    assert not findings.question


def test_characters_that_a_template_escapes_are_noted() -> None:
    [note] = notes(template(LOOP + "{{ m.content | e }}" + END))[:1]
    assert "writes '<' as '&lt;', '>' as '&gt;'" in note
    [note] = notes(template(LOOP + "{{ m.content | replace('\t', '') | replace('  ', ' ') }}" + END))[:1]
    assert note == "the chat template writes '  ' as ' ', '\\t' as ''"


@pytest.mark.parametrize(
    ("text", "lead"),
    [
        ("{% for m in messages %}" + HEAD + "{{ m.content }}<|im_end|>\n{% endfor %}", "<|im_start|>assistant"),
        ("{% for m in messages %}### {{ m.role }}: {{ m.content }}\n{% endfor %}", "### assistant:"),
        (chat_templates.MISTRAL, ""),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", ""),
        ("{% for m in messages %}" + HEAD + "{{ m.content }}\n{% endfor %}<|im_start|>assistant\n", ""),
    ],
)
def test_a_template_that_ignores_add_generation_prompt_is_noted(text: str, lead: str) -> None:
    chat = template(text)
    assert chat_probes.probe(chat).missing_lead == lead
    assert any("ignores add_generation_prompt" in note for note in notes(chat)) == bool(lead)


@pytest.mark.parametrize("name", chat_templates.RIGHT)
def test_usual_templates_are_noted_only_where_they_drop_text(name: str) -> None:
    result = notes(template(chat_templates.RIGHT[name]))
    expected = {
        "gemma": ["no system role", "<end_of_turn>"],
        "plain": ["writes '<|im_end|>"],
    }
    endings = {"deepseek-r1", "deepseek-v3", "mistral", "magistral"}  # they write the EOS of the tokenizer
    words = expected.get(name, [] if name in endings else ["which holds no token"])
    assert len(result) == len(words)
    assert all(word in note for word, note in zip(words, result, strict=True))


def test_an_ignored_system_turn_is_noted_by_name() -> None:
    ignoring = template(
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    )
    assert "the system instruction '规则' are in no prompt" in notes(ignoring, instruction="规则")[0]
    assert "task descriptions are in no prompt" in notes(ignoring)[0]
    sometimes = template(
        "{% for m in messages if m.role != 'system' or messages | length == 2 %}<{{ m.role }}>{{ m.content }}"
        "{% endfor %}"
    )
    assert "missing in 1 of 2 prompts" in notes(sometimes, TURNS, [TURNS[0], TURNS[3]])[0]


OWN_SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\n你是助手甲。<|im_end|>\n{% endif %}" + LOOP


@pytest.mark.parametrize(
    "text",
    [
        OWN_SYSTEM + "{{ m.content }}" + END,
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% else %} 你是助手甲。{% endif %}"
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
        "{% set s = messages[0].content if messages[0].role == 'system' else '你是助手甲。' %}{% for m in messages "
        "if m.role != 'system' %}[INST] {% if loop.first %}<<SYS>>\n{{ s }}\n<</SYS>>\n\n{% endif %}{{ m.content }} "
        "[/INST]{% endfor %}",
    ],
)
def test_a_system_prompt_of_a_templates_own_is_noted_where_it_stands(text: str) -> None:
    question, chat = [TURNS[3]], template(text)
    assert chat_probes.probe(chat).own_system == "你是助手甲。"
    result = "\n".join(notes(chat, question, question, [TURNS[0], TURNS[3]]))
    assert "puts a system prompt of its own, '你是助手甲。', into 2 prompts" in result
    assert "system prompt" not in "\n".join(notes(chat, [TURNS[0], TURNS[3]]))


@pytest.mark.parametrize(
    "text",
    [
        "今天是周一。{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
    ],
)
def test_text_that_no_system_turn_replaces_is_no_system_prompt(text: str) -> None:
    assert not chat_probes.probe(template(text)).own_system


def test_prompts_that_lack_words_are_counted() -> None:
    chat = template("{% for m in messages %}{{ m.content.split('禁')[0] }}\n{% endfor %}")
    result = notes(chat, TURNS, [{"role": "user", "content": "一禁二"}], [{"role": "user", "content": "三禁四"}])
    assert any(note.startswith("2 prompts lack words") for note in result)


def test_a_thought_that_a_template_drops_from_an_earlier_answer_is_no_loss() -> None:
    turns = [TURNS[1], {"role": "assistant", "content": "<think>\n想\n</think>\n\n甲"}, TURNS[3]]
    assert not notes(template(chat_templates.DEEPSEEK_R1), turns)


def test_two_bos_tokens_are_noted() -> None:
    chat = template("\n{{ bos_token }}" + chat_templates.PLAIN)
    chat.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    assert any("two BOS" in note for note in notes(chat))
    once = template("{{ bos_token }}" + chat_templates.PLAIN)
    once.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    assert not any("two BOS" in note for note in notes(once))


def test_a_date_and_an_unused_variable_are_noted() -> None:
    chat = template("{{ strftime_now('%d %b %Y') }}\n" + chat_templates.PLAIN, enable_thinking=False)
    result = "\n".join(notes(chat))
    assert "writes the date into prompts" in result
    assert "does not use the variable enable_thinking" in result


def test_a_template_that_renders_nothing_is_an_error() -> None:
    with pytest.raises(HarnessError, match="cannot be rendered"):
        chat_probes.probe(template("{{ nothing.at.all }}"))
