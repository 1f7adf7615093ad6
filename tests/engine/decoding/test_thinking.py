"""Thoughts: where they end, that stop strings do not count inside them, and how many never end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.models.utils import postprocess_generated_text

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding import plain, thinking
from harness.engine.decoding.settings import Settings
from harness.engine.decoding.thinking import CLOSE, KNOWN, OPEN, Parts
from harness.engine.requests import Generation, Prompt
from support import tiny

WORDS = tiny.tokenizer()
SOME_TEXT = st.lists(st.sampled_from([OPEN, CLOSE, "\n", " ", "答", "A", "Question:"]), max_size=12).map("".join)
ALL_MARKS = [text for family in KNOWN for text in family.texts] + ["<|channel|>", "final", "<|message|>"]


@pytest.mark.parametrize(
    ("text", "opened", "parts"),
    [
        ("<think>\n2+2\n</think>\n\n4", False, Parts("<think>\n2+2\n</think>\n\n", "4", True)),
        ("2+2</think>4", True, Parts("2+2</think>", "4", True)),
        ("2+2</think>4", False, Parts("2+2</think>", "4", True)),
        ("<think></think>", False, Parts("<think></think>", "", True)),
        ("<think>a</think>b</think>c", False, Parts("<think>a</think>b</think>", "c", True)),
        ("  <think>2+2 is", False, Parts("  <think>2+2 is", "", False)),
        ("2+2 is", True, Parts("2+2 is", "", False)),
        ("4", False, Parts("", "4", True)),
        ("say </reason> aloud", False, Parts("", "say </reason> aloud", True)),
        ("Sure. <think>7", False, Parts("Sure. <think>7", "", False)),
        ("Sure. <think>89</think>7", False, Parts("Sure. <think>89</think>", "7", True)),
        ("<think>89</think><think>7", False, Parts("<think>89</think><think>7", "", False)),
        ("<think>89</think>\n[THINK]7", False, Parts("<think>89</think>\n[THINK]7", "", False)),
        ("89</think>7 <think>8", True, Parts("89</think>7 <think>8", "", False)),
        ("<think>8</think>\n<think>9</think>7", False, Parts("<think>8</think>\n<think>9</think>", "7", True)),
        ("<think><think>8</think>7", False, Parts("<think><think>8</think>", "7", True)),
        ("[THINK]8[/THINK]9</think>7", False, Parts("[THINK]8[/THINK]9</think>", "7", True)),
        ("<THINK>8</THINK>7", False, Parts("<THINK>8</THINK>", "7", True)),
        ("<Think>8</think>7", False, Parts("<Think>8</think>", "7", True)),
        ("8</THINK>7", True, Parts("8</THINK>", "7", True)),
        ("<Reasoning>8</REASONING>7", False, Parts("<Reasoning>8</REASONING>", "7", True)),
        ("<Thought>8</Thought>7", False, Parts("<Thought>8</Thought>", "7", True)),
        ("[think]8[/think]7", False, Parts("", "[think]8[/think]7", True)),
        ("", True, Parts("", "", False)),
        ("", False, Parts("", "", True)),
    ],
)
def test_a_text_is_split_into_thought_and_answer(text: str, opened: bool, parts: Parts) -> None:
    assert thinking.split(text, opened) == parts


@given(SOME_TEXT)
def test_a_finished_thought_is_stripped_as_lm_eval_strips_it(text: str) -> None:
    if CLOSE in text and OPEN not in text.rpartition(CLOSE)[2]:
        assert thinking.split(text).answer == postprocess_generated_text(text, None, CLOSE)


@given(SOME_TEXT, st.booleans())
def test_no_text_is_lost_and_no_answer_contains_an_end_mark(text: str, opened: bool) -> None:
    parts = thinking.split(text, opened)
    assert parts.thought + parts.answer == text
    assert CLOSE not in parts.answer
    assert parts.finished or not parts.answer


@given(st.lists(st.sampled_from([*ALL_MARKS, " ", "\n", "7", "甲"]), max_size=9).map("".join), st.booleans())
def test_an_answer_has_no_thought(text: str, opened: bool) -> None:
    answer = thinking.split(text, opened).answer
    assert thinking.split(answer) == Parts("", answer, finished=True)


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [("…<think>\n", True), ("<think>\n\n</think>\n\n", False), ("问", False)],
)
def test_a_prompt_that_ends_with_a_mark_leaves_a_thought_open(prompt: str, opened: bool) -> None:
    assert thinking.leaves_open(prompt) == opened


# --- decoding: a scripted model


class ScriptedModel:
    """A "model" that generates one fixed text for each row, whatever the prompt is."""

    def __init__(self, words: Any, texts: list[str]) -> None:
        self.texts = [words.encode(text, add_special_tokens=False) for text in texts]
        self.weight = torch.zeros(1)
        self.steps = 0

    def parameters(self) -> Any:
        return iter([self.weight])

    def generate(self, input_ids: torch.Tensor, stopping_criteria: Any, generation_config: Any, **_: Any) -> Any:
        ids = input_ids
        for step in range(generation_config.max_new_tokens):
            column = [row[step] if step < len(row) else 0 for row in self.texts]
            ids = torch.cat([ids, torch.tensor(column)[:, None]], 1)
            self.steps += 1
            if bool(stopping_criteria(ids, None).all()):
                break
        return ids


def decode(texts: list[str], *, until: tuple[str, ...], opened: bool = False, words: Any = None) -> list[str]:
    """Return what is decoded from a model that would generate `texts`."""
    words = words or tiny.tokenizer()
    decoding = Settings(until=until, max_tokens=120)
    batch = [Prompt([5, 6, 7], decoding, thinking=opened) for _ in texts]
    model = ScriptedModel(words, texts)
    return [continuation.text for continuation in plain.decode(model, words, batch, [2], 512, 0)]


def tokenizer_with_special_marks() -> Any:
    words = tiny.tokenizer()
    words.add_special_tokens({"additional_special_tokens": [OPEN, CLOSE]})
    return words


@pytest.mark.parametrize("words", [tiny.tokenizer, tokenizer_with_special_marks], ids=["plain marks", "special marks"])
def test_stop_strings_count_after_a_thought_and_not_inside_it(words: Any) -> None:
    thought = "<think>\nQuestion: 2+2?\n\nFour.\n</think>\n\n"
    texts = [
        f"{thought}The answer is 4.\n\nQuestion: next",
        "The answer is 4.\n\nQuestion: next",
        thought + "5 Question: x",
    ]
    assert decode(texts, until=("\n\n", "Question:"), words=words()) == [
        f"{thought}The answer is 4.",
        "The answer is 4.",
        thought + "5 ",
    ]


def test_stop_strings_do_not_count_in_a_thought_that_the_prompt_opened() -> None:
    assert decode(["so\n\nand so</think>\n\n4\n\n5"], until=("\n\n",), opened=True) == ["so\n\nand so</think>\n\n4"]
    assert decode(["so\n\nand so"], until=("\n\n",), opened=True)[0].startswith("so\n\nand so")


def test_a_row_stops_as_soon_as_its_answer_does() -> None:
    words = tiny.tokenizer()
    text = "<think>a\n\nb</think>\n\nyes\n\n" + "and more " * 30
    model = ScriptedModel(words, [text])
    prompt = Prompt([5], Settings(until=("\n\n",), max_tokens=200))
    [continuation] = plain.decode(model, words, [prompt], [2], 512, 0)
    needed = len(words.encode("<think>a\n\nb</think>\n\nyes\n\n", add_special_tokens=False))
    assert continuation.text == "<think>a\n\nb</think>\n\nyes"
    assert needed <= model.steps <= needed + 1


def test_an_end_of_text_token_ends_a_thought_too() -> None:
    assert decode(["<think>never done</s> more"], until=("\n",)) == ["<think>never done"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "\n", "b c", "\n\n", "答", "Q:"]), max_size=10).map("".join), SOME_TEXT)
def test_the_answer_equals_what_lm_eval_would_keep_of_the_whole_text(answer: str, thought: str) -> None:
    text = f"<think>{thought.replace(OPEN, '').replace(CLOSE, '')}</think>\n{answer}"
    [result] = decode([text + "</s>"], until=("\n\n", "Q:"), words=WORDS)
    whole = postprocess_generated_text(text, ["\n\n", "Q:"], CLOSE)
    assert thinking.split(result).answer == whole


# --- the model: templates, counts


@pytest.fixture
def lm(tmp_path: Path) -> HarnessLM:
    folder = tiny.llama(tmp_path / "model")
    return HarnessLM(loading.load(loading.locate(CheckpointReference(str(folder)))))


def generate(lm: HarnessLM, prompt: str, text: str, monkeypatch: Any) -> str:
    """Return the answer to `prompt` if the checkpoint generates `text`."""
    monkeypatch.setattr(lm, "generate", lambda prompts: [Generation(text, is_cut=False) for _ in prompts])
    [answer] = lm.generate_until([SimpleNamespace(args=(prompt, {"until": ["\n"]}))])
    return answer


def test_thoughts_are_stripped_and_counted(lm: HarnessLM, monkeypatch: Any) -> None:
    assert generate(lm, "问", "<think>…</think>\n\n答", monkeypatch) == "答"
    assert generate(lm, "问", "<think>…", monkeypatch) == ""
    assert generate(lm, "问<think>\n", "…", monkeypatch) == ""
    assert generate(lm, "问", "答", monkeypatch) == "答"
    assert (lm.work.generations, lm.work.thoughts, lm.work.unfinished_thoughts) == (4, 3, 2)


def test_an_empty_text_after_an_opened_thought_counts_as_unfinished(lm: HarnessLM, monkeypatch: Any) -> None:
    generate(lm, "<think>", "", monkeypatch)
    assert lm.work.unfinished_thoughts == 1


def test_the_chat_template_receives_its_arguments(lm: HarnessLM) -> None:
    lm.tokenizer.chat_template = "{{ messages[0].content }}{% if enable_thinking is false %}<think></think>{% endif %}"
    assert lm.apply_chat_template([{"role": "user", "content": "问"}]) == "问"
    lm.conversations.template.arguments = {"enable_thinking": False}
    assert lm.apply_chat_template([{"role": "user", "content": "问"}]) == "问<think></think>"


def test_a_template_that_writes_bos_yields_one_bos(lm: HarnessLM) -> None:
    from tokenizers.processors import TemplateProcessing

    lm.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    lm.tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    prompt = lm.apply_chat_template([{"role": "user", "content": "问 A"}])
    assert lm.tok_encode(prompt).count(1) == 1
    assert lm.tok_encode("问 A").count(1) == 1
    [pair] = lm.encoder.pairs([(prompt, " A")])
    assert [*pair.context, *pair.continuation].count(1) == 1
