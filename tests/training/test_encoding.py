"""Masks: the tokens that are learned are those of the answers and of the end of the text, and no others.

The oracle spells tokens by their names in the vocabulary, and knows nothing of offsets.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.chat import ChatTemplate
from harness.backends.encoding import Encoder
from harness.data.rows import Notes
from harness.tasks.own_files import question_files
from harness.training import examples
from harness.training.dialogues import Segment, UnrenderableError, Writer
from harness.training.encoding import Encoded, ExampleEncoder
from harness.training.examples import Completion, Conversation, Invalid, Passage
from support import tiny, training_rows
from support.training_rows import CHATML, LAYOUTS, MARKED, spelled

tokenizer = cache(lambda name: training_rows.TOKENIZERS[name]())
NAMES = ("byte-level", "metaspace", "word-level")
FORMATS = (None, "none", "tokenizer", "marked", "chatglm", "chatglm2", "chatglm3", "alpaca", "lawyer-llama", "lawgpt")


def ends(words: Any) -> list[int]:
    return [words.eos_token_id, words.convert_tokens_to_ids("<|im_end|>")]


def learned(words: Any, encoded: Encoded) -> list[bytes]:
    """Return the text of each learned span."""
    texts = spelled(words, encoded.ids)
    return [b"".join(texts[start:end]) for start, end in encoded.spans]


def require_answers(words: Any, encoded: Encoded, answers: Sequence[str], ending: str) -> None:
    """Assert that what is learned are `answers`, each followed by `ending`, or the last by the end of the text.

    Tokens at both ends may hold white space of the prompts, or other characters of them if `merged` says so.
    """
    spans = learned(words, encoded)
    assert len(spans) == len(answers), spans
    for place, (span, answer) in enumerate(zip(spans, answers, strict=True)):
        is_last = place == len(answers) - 1
        expected = answer + (words.eos_token if is_last and not ending else ending)
        before, found, after = span.decode().rpartition(expected)
        assert found, (span.decode(), expected)
        assert not (after if is_last else after.strip()), (after, expected)
        assert not before.strip() or encoded.merged, (before, expected)
        assert len(before.strip()) <= 3  # of a token that holds both


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_are_the_answers_in_every_layout(name, form, tmp_path):
    words = tokenizer(name)
    words.chat_template = MARKED if form == "marked" else CHATML
    chosen = "tokenizer" if form == "marked" else form
    refused = []
    for title, layout in LAYOUTS.items():
        writer = Writer(chosen, "answers", words)
        rows = [located.example for located in examples.read(layout.written(tmp_path), Notes())]
        assert len(rows) == len(layout.rows)
        for row, answers in zip(rows, layout.answers, strict=True):
            try:
                segments = writer.segments(row)
            except UnrenderableError:
                refused.append(title)
                continue
            encoder = ExampleEncoder(words, ends(words))
            [encoded] = encoder.encode([segments])
            is_chat = writer.form(row) == "tokenizer"
            require_answers(words, encoded, answers, "<|im_end|>" if is_chat else "")
            assert words.convert_tokens_to_ids("<s>") not in encoded.ids[1:] or name != "metaspace"
            assert (encoded.ids[0] == words.bos_token_id) == (name == "metaspace")
            assert encoder.unended == 0
            require_ids_of_a_run(words, segments, encoded, answers)
    with_history = {"alpaca with system and history", "sharegpt", "openai", "history column", "laws in a dialogue"}
    with_system = {"alpaca with system and history", "openai"}
    expected = {"chatglm": with_system, "chatglm2": with_system, "lawgpt": with_history}
    assert {*refused} == expected.get(str(form), set())


def require_ids_of_a_run(words: Any, segments: list[Segment], encoded: Encoded, answers: Sequence[str]) -> None:
    """Assert that the ids are those with which a run scores the last answer after its prompt."""
    text = "".join(segment.text for segment in segments)
    prompt = text[: text.rindex(answers[-1])] if len(segments) > 1 else ""
    answer = text[len(prompt) :].removesuffix("\n") if text.endswith("<|im_end|>\n") else text[len(prompt) :]
    encoder = Encoder(words)
    [whole] = encoder.wholes([(prompt, answer)])
    end = [] if encoded.ids == whole else [words.eos_token_id]
    assert encoded.ids == [*whole, *end]
    if prompt and not encoded.merged:
        [pair] = encoder.pairs([(prompt, answer)])
        [start, stop] = encoded.spans[-1]
        own = encoded.ids[start : stop - len(end)]
        assert pair.continuation[-len(own) :] == own
        assert not b"".join(spelled(words, pair.continuation[: -len(own)])).strip()  # the prompt's last white space


@pytest.mark.parametrize("title", [title for title in LAYOUTS if title != "texts"])
def test_prompts_are_those_of_a_test_set_in_the_same_file(title, tmp_path):
    words = tokenizer("byte-level")
    words.chat_template = CHATML
    file = LAYOUTS[title].written(tmp_path)
    content = question_files.read(file, ("contains",))
    rows = [located.example for located in examples.read(file, Notes())]
    for row, document in zip(rows, content.documents, strict=True):
        plain = Writer("none", "last_answer", words).segments(row)
        assert plain[-1].is_learned
        prompt = "".join(segment.text for segment in plain[:-1])
        assert prompt == document["prompt"] + (row.delimiter if isinstance(row, Completion) else "")
        chat = Writer("tokenizer", "last_answer", words).segments(row)
        turns = document.get("turns") or [{"role": "user", "content": document["prompt"]}]
        rendered = ChatTemplate("base", words).render(turns)
        assert [(segment.text, segment.is_learned) for segment in chat] == [
            (rendered, False),
            (LAYOUTS[title].answers[rows.index(row)][-1] + "<|im_end|>", True),
            ("\n", False),
        ]


PIECES = st.text(st.sampled_from("ab h\n e？能吗 过👍🏽龘ß"), max_size=7)


@settings(deadline=None)
@given(st.sampled_from([*training_rows.TOKENIZERS]), st.lists(PIECES, min_size=1, max_size=6), st.booleans())
def test_a_token_is_learned_if_it_holds_a_learned_character(name, texts, begins_learned):
    words = tokenizer(name)
    segments = [Segment(text, (place % 2 == 0) == begins_learned) for place, text in enumerate(texts)]
    [encoded] = ExampleEncoder(words, ()).encode([segments])
    text = "".join(texts).encode()
    if not any(segment.text for segment in segments if segment.is_learned):
        assert not encoded.spans
        return
    byte_is_learned = [segment.is_learned for segment in segments for _ in segment.text.encode()]
    [whole] = Encoder(words).wholes([("", "".join(texts))])
    own = whole[1:] if words.bos_token_id == whole[0] else whole
    tokens = spelled(words, own)
    lead = len(b"".join(tokens)) - len(text)  # a space that is put before the text
    assert b"".join(tokens)[lead:] == text
    places = [0, *itertools.accumulate(len(token) for token in tokens)]
    expected = [
        any(byte_is_learned[max(start - lead, 0) : max(end - lead, 1)]) for start, end in itertools.pairwise(places)
    ]
    count = len(expected) - expected[::-1].index(True)
    offset = len(whole) - len(own)
    flags = [any(start <= place < end for start, end in encoded.spans) for place in range(len(encoded.ids))]
    assert encoded.ids == [*whole[: offset + count], words.eos_token_id]
    assert flags == [*[False] * offset, *expected[:count], True]
    partly = [
        {byte_is_learned[i - lead] for i in range(max(start, lead), end) if not text[i - lead : i - lead + 1].isspace()}
        for start, end in itertools.pairwise(places[: count + 1])
    ]
    assert encoded.merged == any(kinds == {True, False} for kinds in partly)


def test_a_prompt_that_ends_in_a_space_keeps_the_answers_first_token():
    words = tokenizer("byte-level")
    [encoded] = ExampleEncoder(words, ()).encode([[Segment("who? ", False), Segment("yes", True)]])
    assert learned(words, encoded) == [b" yes<|endoftext|>"]
    assert not encoded.merged


def test_a_token_of_both_prompt_and_answer_is_learned_and_counted():
    words = tokenizer("word-level")
    [encoded] = ExampleEncoder(words, ()).encode([[Segment("问能", False), Segment("过河", True)]])
    assert learned(words, encoded) == ["能过河<eos>".encode()]
    assert encoded.merged


def test_a_text_that_begins_with_bos_gets_no_second_one():
    words = tokenizer("metaspace")
    [own, given] = ExampleEncoder(words, ()).encode(
        [[Segment("hello", False), Segment(" yes", True)], [Segment("<s>hello", False), Segment(" yes", True)]]
    )
    assert own.ids.count(words.bos_token_id) == given.ids.count(words.bos_token_id) == 1
    assert given.ids == [*Encoder(words).wholes([("<s>hello", " yes")])[0], words.eos_token_id]


def test_the_end_of_a_turn_ends_the_answer_if_a_run_stops_there():
    words = tokenizer("byte-level")
    segments = [Segment("<|im_start|>who\n", False), Segment("me", True), Segment("<|im_end|>\n", False)]
    within = [*segments[:1], Segment("me<|im_end|>", True)]
    end = words.convert_tokens_to_ids("<|im_end|>")
    for example in (segments, within):
        encoder = ExampleEncoder(words, [end])
        [encoded] = encoder.encode([example])
        assert learned(words, encoded) == [b"me<|im_end|>"]
        assert encoder.unended == 0
    encoder = ExampleEncoder(words, [])
    [encoded] = encoder.encode([within])
    assert learned(words, encoded) == [b"me<|im_end|><|endoftext|>"]
    assert encoder.unended == 1


def test_the_stop_token_is_learned_where_it_is_also_the_padding():
    words = tokenizer("byte-level")
    words.pad_token = words.eos_token
    [encoded] = ExampleEncoder(words, ()).encode([[Segment("who? ", False), Segment("yes", True)]])
    assert encoded.ids[-1] == words.pad_token_id
    assert encoded.spans[-1][1] == len(encoded.ids)


def test_the_callers_tokenizer_is_unchanged():
    words = training_rows.byte_level()
    before = words.backend_tokenizer.to_str()
    ExampleEncoder(words, ())
    assert words.backend_tokenizer.to_str() == before


def test_a_text_of_nothing_is_not_learned():
    for name in NAMES:
        [encoded] = ExampleEncoder(tokenizer(name), ()).encode([[Segment("", True)]])
        assert not encoded.learned


# --- real rows --------------------------------------------------------------------------------------------------------

REAL = (
    "shibing624/AdvertiseGen/data/train-00000-of-00001.parquet",
    "AndrewZhe/lawyer-llama/legal_advice",
    "AndrewZhe/lawyer-llama/fakao_gpt4",
    "AndrewZhe/lawyer-llama/legal_counsel_with_article_v2",
    "AndrewZhe/lawyer-llama/legal_counsel_multi_turn_with_article_v2",
    "local/multiturn_zh/sharegpt_zh_1k",
    "local/multiturn_zh/moss_sft_sample_history",
    "local/instruct_general/alpaca_zh_demo",
    "local/instruct_general/oaast_sft_zh",
)


@pytest.mark.sampled(3)
@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_answers_of_real_rows_are_learned_to_the_letter(data, name):
    words = tiny.bench_tokenizer(data)
    words.chat_template = CHATML
    path = data / name
    [file] = [path] if path.is_file() else path.glob("*.parquet")
    read = (located.example for located in examples.read(file, Notes(), refuses_invalid=False))
    rows = list(itertools.islice((row for row in read if not isinstance(row, Invalid)), 200))
    assert len(rows) == 200
    for form, some in ((None, rows[:20]), ("lawyer-llama", rows)):
        writer, encoder = Writer(form, "answers", words), ExampleEncoder(words, ())
        texts = [writer.segments(row) for row in some]
        for row, segments, encoded in zip(some, texts, encoder.encode(texts), strict=True):
            assert not isinstance(row, Passage)
            answers = (
                [turn["content"] for turn in row.turns if turn["role"] == "assistant"]
                if isinstance(row, Conversation)
                else [row.text]
            )
            spans = [words.decode(encoded.ids[start:end]) for start, end in encoded.spans]
            ending = "<|im_end|>" if writer.form(row) == "tokenizer" else ""
            for place, (span, answer) in enumerate(zip(spans, answers, strict=True)):
                end = ending + ("</s>" if place == len(answers) - 1 else "")
                assert span.lstrip() == f"{answer}{end}".lstrip() or encoded.merged
                assert span.endswith(answer + end)
            text = "".join(segment.text for segment in segments)
            assert encoded.ids[:-1] == words(text.removesuffix("\n") if ending else text)["input_ids"]
