"""Conversations as text: published formats to the letter, chat templates, and which answers are learned."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checkpoints import templates
from harness.checkpoints.chatglm import dialogues as chatglm
from harness.data.rows import Notes
from harness.errors import HarnessError
from harness.training import examples
from harness.training.dialogues import Segment, UnrenderableError, Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Conversation, Passage
from support import chat_templates, mirrors, mirrors_of_law, training_rows
from support.training_rows import CHATML, MARKED

WORDS = training_rows.byte_level()
FORMATS = ("none", "tokenizer", "chatglm", "chatglm2", "chatglm3", "alpaca", "lawyer-llama", "lawgpt")


def conversation(*contents: str, system: str = "", **more: Any) -> Conversation:
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]
    return Conversation(tuple([{"role": "system", "content": system}, *turns] if system else turns), **more)


def segments(
    row: Any, form: Any, learn: Any = "answers", template: str | None = None, system: str = ""
) -> list[Segment]:
    WORDS.chat_template = template
    return Writer(form, learn, WORDS, system).segments(row)


def shown(row: Any, form: Any, learn: Any = "answers", template: str | None = None, system: str = "") -> str:
    """Return the text of a row, what is learned between « and »."""
    parts = segments(row, form, learn, template, system)
    return "".join(f"«{part.text}»" if part.is_learned else part.text for part in parts)


ONE, TWO = conversation("q", "a"), conversation("q", "a", "r", "b")
ASKED = conversation("q", "a", system="s")
LAW = conversation("q\n参考法条: x\ny", "a", articles=("x", "y"))
INPUT = conversation("do\nthis", "a", input="this")
TASK = "Below is an instruction that describes a task"
WRITE = "Write a response that appropriately completes the request."
GPT = (
    "你是中国顶尖智能法律顾问 LaWGPT，具备强大的中文法律基础语义理解能力，能够出色地理解和执行与法律问题和指令。"
    "你只能回答与中国法律领域相关的问题，其余领域的问题请礼貌地拒绝回答。接下来，请依据中国法律来回答下面这个问题。\n"
)
LAWYER = "你是人工智能法律助手“Lawyer LLaMA”，能够回答与中国法律相关的问题。"


@pytest.mark.parametrize(
    ("row", "form", "expected"),
    [
        (Passage("a text"), None, "«a text»"),
        (Passage("a text"), "alpaca", "«a text»"),
        (Completion("q ", "a", " "), None, "q  «a»"),
        (Completion("q", "a", " "), "chatglm", "q«a»"),  # a question alone is the prompt (ChatGLM-6B's chat)
        (ONE, "none", "q«a»"),
        (TWO, "none", "q\n«a»\nr«b»"),
        (conversation("q", "a", "r", "b", system="s"), "none", "s\nq\n«a»\nr«b»"),
        (ONE, "chatglm", "q«a»"),
        (TWO, "chatglm", "[Round 0]\n问：q\n答：«a»\n[Round 1]\n问：r\n答：«b»"),
        (ONE, "chatglm2", "[Round 1]\n\n问：q\n\n答：«a»"),
        (TWO, "chatglm2", "[Round 1]\n\n问：q\n\n答：«a»\n\n[Round 2]\n\n问：r\n\n答：«b»"),
        (ASKED, "chatglm3", "<|system|>\ns<|user|>\nq<|assistant|>\n«a»"),
        (TWO, "chatglm3", "<|user|>\nq<|assistant|>\n«a»<|user|>\nr<|assistant|>\n«b»"),
        (ONE, "alpaca", f"{TASK}. {WRITE}\n\n### Instruction:\nq\n\n### Response:«a»"),
        (
            INPUT,
            "alpaca",
            f"{TASK}, paired with an input that provides further context. {WRITE}\n\n### Instruction:\ndo\n\n"
            "### Input:\nthis\n\n### Response:«a»",
        ),
        (ASKED, "alpaca", "s\n\n### Instruction:\nq\n\n### Response:«a»"),
        (ONE, "lawyer-llama", f"{LAWYER}\n### Human: q\n### Assistant: «a»"),
        (TWO, "lawyer-llama", f"{LAWYER}\n### Human: q\n### Assistant: «a»\n### Human: r\n### Assistant: «b»"),
        (
            LAW,
            "lawyer-llama",
            f'{LAWYER}请参考给出的"参考法条"，回复用户的咨询问题。"参考法条"中可能存在与咨询无关的法条，请回复时不要引用这些无关的'
            "法条。\n### Human: q\n### 参考法条: x\ny\n### Assistant: «a»",
        ),
        (ASKED, "lawyer-llama", "s\n### Human: q\n### Assistant: «a»"),
        (ONE, "lawgpt", f"{GPT}### 问题:\nq\n### 回答:\n«a»"),
        (INPUT, "lawgpt", f"{GPT}### 问题:\ndo\nthis\n### 回答:\n«a»"),  # the input is not dropped
        (ASKED, "lawgpt", "s\n### 问题:\nq\n### 回答:\n«a»"),
    ],
)
def test_a_published_format_is_written_to_the_letter(row, form, expected):
    assert shown(row, form) == expected


def test_an_input_with_articles_is_written_once():
    row = conversation("do\nthis\n参考法条: x", "a", input="this", articles=("x",))
    text = shown(row, "alpaca")
    assert text.endswith("### Instruction:\ndo\n\n### Input:\nthis\n参考法条: x\n\n### Response:«a»")


@pytest.mark.parametrize("name", ["legal_consult", "legal_consult_multi_turn"])
def test_the_prompts_of_lawyer_llama_are_those_of_its_tasks(name, tmp_path):
    mirror = mirrors_of_law.write(tmp_path / "data")
    config = "legal_counsel_with_article_v2" if name == "legal_consult" else "legal_counsel_multi_turn_with_article_v2"
    file = mirror / mirrors_of_law.DATASET / config / "train-00000-of-00001.parquet"
    rows = [located.example for located in examples.read(file, Notes())]
    task = mirrors.task(name, mirror)
    for row, request, document in zip(rows, mirrors.requests(task), task.eval_docs, strict=True):
        *prompt, answer = segments(row, "lawyer-llama")
        assert "".join(part.text for part in prompt) == request[0]
        assert answer.text == task.doc_to_target(document)


@pytest.mark.parametrize("generation", [1, 2])
def test_the_rounds_of_chatglm_are_those_of_its_chat_template(generation):
    form = "chatglm" if generation == 1 else "chatglm2"
    for row in (ONE, TWO, conversation("q", "a", "r", "b", "s", "c")):
        *prompt, _ = segments(row, form, "last_answer")
        WORDS.chat_template = chatglm.template(generation)
        rendered = templates.render(WORDS, row.turns[:-1], add_generation_prompt=True)
        assert "".join(part.text for part in prompt) == rendered


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_learned_is_chosen_by_name(form):
    row = ONE if form == "lawgpt" else TWO
    text = "".join(part.text for part in segments(row, form, template=CHATML))
    answers = [answer for _, answer in row.exchanges]
    end = "<|im_end|>" if form == "tokenizer" else ""

    def learned(learn: str) -> list[str]:
        return [part.text for part in segments(row, form, learn, CHATML) if part.is_learned]

    assert learned("answers") == [answer + end for answer in answers]
    assert learned("last_answer") == [answers[-1] + end]
    assert learned("everything") == [text.rstrip("\n")]


def test_a_system_prompt_applies_to_conversations_and_pairs_that_have_none():
    assert shown(TWO, "chatglm3", system="t").startswith("<|system|>\nt<|user|>\nq")
    assert shown(ASKED, "chatglm3", system="t").startswith("<|system|>\ns<|user|>\nq")
    assert shown(Completion("q", "a"), "chatglm3", system="t") == "<|system|>\nt<|user|>\nq<|assistant|>\n«a»"
    assert shown(Completion("q", "a"), None, system="t") == "t\nq«a»"


@pytest.mark.parametrize(
    ("row", "form", "message"),
    [
        (ASKED, "chatglm", "has no system prompt"),
        (ASKED, "chatglm2", "has no system prompt"),
        (TWO, "lawgpt", "writes one question"),
        (Conversation((*ONE.turns, *ONE.turns[1:])), "alpaca", r"do not alternate \(user, assistant, assistant\)"),
        (Conversation(TWO.turns[1:]), "none", "do not alternate"),
    ],
)
def test_a_conversation_that_a_format_cannot_write_is_refused(row, form, message):
    with pytest.raises(UnrenderableError, match=message):
        segments(row, form)


def test_conversations_without_a_template_need_a_named_one():
    with pytest.raises(HarnessError, match=r"its rows are conversations.*set template: to one of none, chatglm"):
        segments(ONE, None)
    with pytest.raises(HarnessError, match=r"template: is tokenizer.*no chat template"):
        segments(Completion("q", "a"), "tokenizer")
    assert shown(Completion("q", "a"), None) == "q«a»"


# --- chat templates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [CHATML, MARKED])
def test_line_ends_behind_a_turn_are_not_learned_and_those_of_an_answer_are(template):
    row = conversation("q", "a\n", "r", "b\n\n")
    start = "<|im_start|>"
    assert shown(row, None, template=template) == (
        f"{start}user\nq<|im_end|>\n{start}assistant\n«a\n<|im_end|>»\n{start}user\nr<|im_end|>\n{start}assistant\n"
        "«b\n\n<|im_end|>»\n"
    )
    assert shown(row, None, "last_answer", template).count("«") == 1
    assert shown(row, None, "everything", template).endswith("b\n\n<|im_end|>»")


def test_an_answer_of_a_template_without_an_end_of_turn_keeps_its_line_ends():
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    assert shown(conversation("q", "a\n", "r", "b"), None, template=template) == (
        "user: q\n\nassistant: «a\n»\n\nuser: r\n\nassistant: «b»\n\n"
    )


@pytest.mark.parametrize("name", sorted(chat_templates.RIGHT))
def test_what_is_learned_begins_where_a_prompt_ends(name):
    """Templates of families of models either write answers as their prompts ask for them, or are refused."""
    template = chat_templates.RIGHT[name]
    for row in (ONE, TWO):
        for learn in ("answers", "last_answer"):
            changes_earlier = name in ("qwen3", "qwen3-thinking", "gpt-oss") and row is TWO and learn == "answers"
            if name in ("deepseek-r1", "glm", "command") or changes_earlier:
                with pytest.raises(UnrenderableError, match="in another way than the prompt") as error:
                    segments(row, None, learn, template)
                assert ("set learn: last_answer" in str(error.value)) == changes_earlier
                continue
            parts = segments(row, None, learn, template)
            last = max(place for place, part in enumerate(parts) if part.is_learned)
            prompt = "".join(part.text for part in parts[:last])
            assert prompt == templates.render(WORDS, row.turns[:-1], add_generation_prompt=True)
            assert row.turns[-1]["content"] in parts[last].text
            assert sum(part.is_learned for part in parts) == (1 if row is ONE or learn == "last_answer" else 2)


def test_marks_count_whatever_the_prompts_are():
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}A:{%- generation -%}<t></t>{{ m.content }}</e>"
        "{%- endgeneration -%}{% else %}U:{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A:<t>{% endif %}"
    )
    assert shown(TWO, None, template=template) == "U:qA:«<t></t>a</e>»U:rA:«<t></t>b</e>»"
    assert shown(TWO, None, "last_answer", template) == "U:qA:<t></t>a</e>U:rA:«<t></t>b</e>»"


def test_all_marked_parts_of_the_last_answer_are_learned():
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}<t></t>{% endgeneration %}|"
        "{% generation %}{{ m.content }}{% endgeneration %}{% else %}U:{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    assert shown(TWO, None, "last_answer", template) == "U:qA:<t></t>|aU:rA:«<t></t>»|«b»"
    assert shown(TWO, None, template=template) == "U:qA:«<t></t>»|«a»U:rA:«<t></t>»|«b»"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{# {% generation %} #}{% for m in messages %}{{ m.content }}{% endfor %}", "marks none of its answers"),
        (
            "{% for m in messages %}{% if m.role == 'tool' %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}{{ m.content }}{% endif %}{% endfor %}",
            "marks none of its answers",
        ),
        ("{% for m in messages %}{{ m.content }}{% generation %}{% endgeneration %}{% endfor %}", "marks none"),
        (
            "{% for m in messages %}{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}"
            "{{ m.content }}{% endif %}{% endfor %}",
            "marks other text as generated than 1 of the 2 answers: set learn: last_answer",
        ),
        (  # the marks of a macro are counted from the beginning of what precedes it
            "{% macro f(m) %}<|im_start|>{{ m.role }}\n{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{{ f(m) }}{% endif %}"
            "{% endfor %}",
            "marks other text as generated",
        ),
    ],
)
def test_a_template_that_marks_nothing_or_something_else_is_an_error(template, message):
    row = conversation("the first question", "first answer", "the second question", "second answer")
    with pytest.raises(UnrenderableError, match=message):
        segments(row, None, template=template)


def test_a_template_that_fails_is_an_error():
    with pytest.raises(UnrenderableError, match="cannot be rendered: no system role"):
        segments(ASKED, None, template=chat_templates.GEMMA)
    with pytest.raises(UnrenderableError, match="cannot be rendered"):
        segments(ONE, None, template="{% generation %}{{ raise_exception('x') }}{% endgeneration %}")


FIRST_OF_TURNS = "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}" + chat_templates.PLAIN
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != loop.first %}{{ raise_exception('no') }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [FIRST_OF_TURNS, ALTERNATING])
def test_a_conversation_in_an_order_that_a_template_does_not_take_is_an_error(template):
    problem = r"do not alternate \(assistant, user, assistant\), and the chat template takes no .*: correct or remove"
    with pytest.raises(UnrenderableError, match=problem):
        segments(Conversation(TWO.turns[1:]), None, template=template)


def test_a_conversation_in_another_order_is_left_to_a_template_that_takes_it():
    row = Conversation(TWO.turns[1:])
    learned = [part.text for part in segments(row, None, template=CHATML) if part.is_learned]
    assert learned == ["a<|im_end|>", "b<|im_end|>"]
    assert segments(row, None, "last_answer", template=FIRST_OF_TURNS)[-2].text == "b<|im_end|>"


def test_answers_that_end_with_a_token_that_ends_no_answer_are_counted():
    for ends, ending in (([], "<|im_end|><|endoftext|>"), ([WORDS.convert_tokens_to_ids("<|im_end|>")], "<|im_end|>")):
        for template in (CHATML, MARKED):
            encoder = ExampleEncoder(WORDS, ends)
            [encoded] = encoder.encode([segments(TWO, None, template=template)])
            texts = [WORDS.decode(encoded.ids[start:end]) for start, end in encoded.spans]
            assert texts == ["a<|im_end|>", f"b{ending}"]
            assert encoder.unended == (not ends)


def test_spans_of_marks_are_those_that_transformers_finds():
    WORDS.chat_template = MARKED
    turns = [*TWO.turns, {"role": "user", "content": "👍🏽"}, {"role": "assistant", "content": "龘 👍🏽"}]
    rendered = templates.render_marked(WORDS, turns)
    outputs = WORDS.apply_chat_template(
        turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=False
    )
    assert rendered.text == WORDS.apply_chat_template(turns, tokenize=False)
    marked = [i for i, flag in zip(outputs["input_ids"], outputs["assistant_masks"], strict=True) if flag]
    assert "".join(rendered.text[start:end] for start, end in rendered.spans) == WORDS.decode(marked)
    assert [rendered.text[start:end] for start, end in rendered.spans] == [
        f"{text}<|im_end|>\n" for text in ("a", "b", "龘 👍🏽")
    ]


@pytest.mark.parametrize(
    ("template", "marks"),
    [
        ("{% generation %}", True),
        ("{%- generation -%}", True),
        ("{%+ generation +%}", True),
        ("{%generation%}", True),
        ("{% if generation %}", False),
        ("{{ generation }}", False),
        (CHATML, False),
    ],
)
def test_marks_are_recognised_however_they_are_written(template, marks):
    WORDS.chat_template = template
    assert templates.marks_answers(WORDS) == marks


WITHOUT_SYSTEM = CHATML.replace("for m in messages", "for m in messages if m.role != 'system'")


@pytest.mark.parametrize("where", ["row", "corpus"])
def test_a_template_that_leaves_out_the_system_prompt_is_refused(where: str) -> None:
    assert WITHOUT_SYSTEM != CHATML
    with_system = conversation("q", "a", system="Answer briefly.")
    row, system = (with_system, "") if where == "row" else (ONE, "Answer briefly.")
    with pytest.raises(UnrenderableError, match="does not write the system prompt"):
        segments(row, "tokenizer", template=WITHOUT_SYSTEM, system=system)
    assert "«" in shown(ONE, "tokenizer", template=WITHOUT_SYSTEM)
    assert "«" in shown(row, "tokenizer", template=CHATML, system=system)


def test_a_template_that_marks_questions_as_generated_is_refused() -> None:
    everything = (
        "{% for m in messages %}{% generation %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endgeneration %}{% endfor %}"
    )
    for row in (ONE, TWO):
        with pytest.raises(UnrenderableError, match="marks text before the first answer as generated"):
            segments(row, "tokenizer", template=everything)
