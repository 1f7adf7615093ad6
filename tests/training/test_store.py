"""Encoded corpora: what is shortened, split, dropped and counted, and files that are read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.training import store
from harness.training.dialogues import Segment, Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Conversation, Example, Invalid, Located, Passage
from harness.training.store import Counts, Store
from support import chat_templates, training_rows

WORDS = training_rows.byte_level()


def write(
    file: Path, rows: Any, max_length: int = 99, form: Any = None, learn: Any = "answers", **options: Any
) -> Counts:
    located = (Located(f"corpus.jsonl, line {number}", row) for number, row in enumerate(rows, 1))
    writer = Writer(form, learn, WORDS)
    return store.write(file, located, writer, ExampleEncoder(WORDS, ()), max_length, **options)


def conversation(*contents: str, system: str = "") -> Conversation:
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]
    return Conversation(tuple([{"role": "system", "content": system}, *turns] if system else turns))


def texts(encoded: Store) -> list[str]:
    return [WORDS.decode(encoded[number][0]) for number in range(len(encoded))]


def learned(encoded: Store, number: int) -> list[str]:
    ids, spans = encoded[number]
    return [WORDS.decode(ids[start:end]) for start, end in spans.reshape(-1, 2)]


EXAMPLES = st.one_of(
    st.builds(Passage, st.text("ab 能", max_size=30)),
    st.builds(Completion, st.text("ab 能", max_size=20), st.text("ab 能", min_size=1, max_size=20)),
    st.builds(
        lambda texts, system: conversation(*texts[: len(texts) // 2 * 2], system=system),
        st.lists(st.text("ab能", min_size=1, max_size=6), min_size=2, max_size=9),
        st.sampled_from(["", "s"]),
    ),
)


@settings(deadline=None, max_examples=20)
@given(rows=st.lists(EXAMPLES, max_size=12), max_length=st.integers(2, 30))
def test_counts_add_up_and_examples_are_read_as_they_were_written(tmp_path_factory, rows: list[Example], max_length):
    file = tmp_path_factory.mktemp("store") / "rows.arrow"
    counts = write(file, rows, max_length, "none")
    encoded = Store(file)
    sources = [encoded.row(number) for number in range(len(encoded))]
    assert counts.rows == len(rows) == len({*sources}) + counts.duplicates + counts.unlearnable
    assert (counts.kept, counts.tokens) == (len(encoded), int(encoded.lengths.sum()))
    assert sources == sorted(sources)
    assert counts.longest == max(encoded.lengths, default=0) <= max_length
    assert sum(counts.forms.values()) == counts.rows
    total = 0
    for number, source in enumerate(sources):
        ids, spans = encoded[number]
        places = [place for start, end in spans.reshape(-1, 2) for place in range(start, end)]
        assert places == sorted({*places})
        assert {*places} <= {*range(len(ids))}
        assert {*places} - {0}  # something is learned
        total += len({*places} - {0})
        segments = Writer("none", "answers", WORDS).segments(rows[source - 1])
        [whole] = ExampleEncoder(WORDS, ()).encode([segments])
        if len(whole.ids) <= max_length:
            assert (ids.tolist(), spans.tolist()) == (whole.ids, [place for span in whole.spans for place in span])
    assert counts.learned == total
    assert store.counts_of(file) == counts


def test_a_conversation_that_is_too_long_loses_its_oldest_exchanges(tmp_path):
    row = conversation("q one", "a one", "q two", "a two", "q three", "a three", system="be brief")
    rest = conversation("q two", "a two", "q three", "a three", system="be brief")
    for form in ("none", "chatglm3", "alpaca"):
        [whole] = ExampleEncoder(WORDS, ()).encode([Writer(form, "answers", WORDS).segments(rest)])
        counts = write(tmp_path / "rows.arrow", [row, conversation("q", "a", system="be brief")], len(whole.ids), form)
        encoded = Store(tmp_path / "rows.arrow")
        assert (counts.shortened, counts.exchanges, counts.cut, counts.kept) == (1, 1, 0, 2)
        assert (
            encoded[0][0].tolist() == whole.ids
        )  # the system prompt stays, and numbers of rounds are those of the rest
        assert [text.strip() for text in learned(encoded, 0)] == ["a two", "a three<|endoftext|>"]


def test_rounds_are_counted_anew_without_the_oldest(tmp_path):
    row = conversation("q one", "a one", "q two", "a two", "q three", "a three")
    rest = Writer("chatglm2", "answers", WORDS).segments(conversation("q two", "a two", "q three", "a three"))
    [whole] = ExampleEncoder(WORDS, ()).encode([rest])
    write(tmp_path / "rows.arrow", [row], len(whole.ids), "chatglm2")
    assert texts(Store(tmp_path / "rows.arrow"))[0].startswith("[Round 1]\n\n问：q two")


def test_several_answers_to_a_question_go_with_it(tmp_path):
    def turns(*roles: str) -> Conversation:
        return Conversation(tuple({"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)))

    WORDS.chat_template = training_rows.CHATML
    rows = [turns("user", "assistant", "assistant", "user", "assistant")]
    counts = write(tmp_path / "rows.arrow", rows, 40)
    assert (counts.shortened, counts.exchanges) == (1, 1)
    assert texts(Store(tmp_path / "rows.arrow"))[0].startswith("<|im_start|>user\nuser 3")


def test_a_conversation_of_which_nothing_is_left_is_only_dropped(tmp_path):
    row = conversation("q", "a", "a very long question of many words that fills the whole length", "b")
    counts = write(tmp_path / "rows.arrow", [row], 10, "chatglm2")
    assert (counts.unlearnable, counts.kept) == (1, 0)
    assert (counts.shortened, counts.exchanges, counts.cut) == (0, 0, 0)


def test_what_is_still_too_long_is_cut_and_counted(tmp_path):
    rows = [Completion("who is it ", "me and you and everyone"), Completion("a very long question of many words ", "a")]
    counts = write(tmp_path / "rows.arrow", rows, 12)
    assert (counts.rows, counts.kept, counts.cut, counts.unlearnable) == (2, 1, 1, 1)
    encoded = Store(tmp_path / "rows.arrow")
    assert len(encoded[0][0]) == 12
    assert WORDS.eos_token_id not in encoded[0][0]
    assert "me and you and everyone".startswith(learned(encoded, 0)[0].strip())


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 40))
def test_each_token_of_a_document_is_learned_once(tmp_path_factory, max_length):
    text = "老王住在河边。hello yes who me\n\n  Wang 书店"
    file = tmp_path_factory.mktemp("store") / "rows.arrow"
    counts = write(file, [Passage(text)], max_length)
    encoded = Store(file)
    [whole] = ExampleEncoder(WORDS, ()).encode([[Segment(text, True)]])
    pieces = [encoded[number][0].tolist() for number in range(len(encoded))]
    assert pieces[0] + [token for piece in pieces[1:] for token in piece[1:]] == whole.ids
    assert counts.learned == len(whole.ids) - 1
    assert counts.split == (len(whole.ids) > max_length)
    assert counts.unlearnable == counts.cut == 0


def test_repeated_and_invalid_rows_are_dropped_and_counted(tmp_path):
    rows = [
        Completion("a ", "b"),
        Completion("a ", "b"),
        Completion("a", " b"),  # the same text, of which more is learned
        Invalid("corpus.jsonl, line 4: 'completion' is missing: correct or remove it"),
        conversation("a", "b", "c", "d"),
        Passage(""),
    ]
    with pytest.raises(HarnessError, match="line 4: 'completion' is missing"):
        write(tmp_path / "rows.arrow", rows, 400, "lawgpt")
    assert not (tmp_path / "rows.arrow").exists()
    with pytest.raises(HarnessError, match=r"corpus.jsonl, line 1: LaWGPT's template writes one question"):
        write(tmp_path / "rows.arrow", rows[4:], 400, "lawgpt")
    counts = write(tmp_path / "rows.arrow", rows, 400, "lawgpt", refuses_invalid=False, notes=lambda: ["a note"])
    assert counts.joined == 0
    assert (counts.rows, counts.kept, counts.duplicates, counts.invalid, counts.unlearnable) == (6, 2, 1, 2, 1)
    assert counts.notes == ["a note", "the first invalid row is corpus.jsonl, line 4: 'completion' is missing"]
    encoded = Store(tmp_path / "rows.arrow")
    assert [encoded.row(number) for number in range(2)] == [1, 3]


def test_texts_without_a_visible_character_are_dropped_and_counted(tmp_path):
    rows = [Passage(""), Passage("a"), Passage(" \n\t"), Passage(""), Passage("\u3000")]
    counts = write(tmp_path / "rows.arrow", rows)
    assert (counts.rows, counts.kept, counts.unlearnable, counts.duplicates) == (5, 1, 4, 0)


def test_a_template_that_strips_thoughts_is_usable_for_the_last_answer(tmp_path):
    WORDS.chat_template = chat_templates.QWEN3
    row = conversation("q", "<think>\nthought\n</think>\n\na", "r", "b")
    with pytest.raises(HarnessError, match=r"line 1: the chat template writes an answer.*set learn: last_answer"):
        write(tmp_path / "rows.arrow", [row])
    write(tmp_path / "rows.arrow", [row], learn="last_answer")
    encoded = Store(tmp_path / "rows.arrow")
    assert learned(encoded, 0) == ["<think>\n\n</think>\n\nb<|im_end|><|endoftext|>"]
    assert "thought" not in texts(encoded)[0]


def test_a_file_is_reused_only_if_it_was_written_completely(tmp_path):
    file = tmp_path / "rows.arrow"

    def rows(fails: bool) -> Any:
        yield Completion("a ", "b")
        if fails:
            raise KeyboardInterrupt

    assert store.counts_of(file) is None
    with pytest.raises(KeyboardInterrupt):
        write(file, rows(fails=True))
    assert store.counts_of(file) is None
    assert list(tmp_path.iterdir()) == []
    counts = write(file, rows(fails=False))
    assert store.counts_of(file) == counts
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    assert store.counts_of(file) is None
    file.write_bytes(content)
    assert store.counts_of(file) == counts
    (tmp_path / "rows.arrow.json").write_text("{")
    assert store.counts_of(file) is None
    file.unlink()
    assert store.counts_of(file) is None


def test_no_more_than_a_batch_of_rows_is_in_memory(tmp_path):
    alive = peak = 0

    class Counted(Completion):
        def __init__(self, number: int) -> None:
            nonlocal alive, peak
            super().__init__(f"question {number} ", "yes")
            alive += 1
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    counts = write(tmp_path / "rows.arrow", (Counted(number) for number in range(2000)))
    assert counts.kept == 2000
    assert peak <= 2 * store.BATCH + 2


def test_learned_tokens_of_an_example_are_counted_in_the_file_as_they_were_encoded(tmp_path):
    file = tmp_path / "rows.arrow"
    rows = [Passage("one two three"), Completion("one ", "two"), Passage("two")]
    counts = write(file, rows, 400)
    encoded = Store(file)
    spans = [encoded[number][1].reshape(-1, 2) for number in range(len(encoded))]
    assert encoded.learned.tolist() == [sum(int(end) - max(int(start), 1) for start, end in pairs) for pairs in spans]
    assert int(encoded.learned.sum()) == counts.learned


def test_a_first_token_of_both_prompt_and_answer_is_not_said_to_be_learned(tmp_path):
    counts = write(tmp_path / "rows.arrow", [Completion("hel", "lo you"), Completion("who hel", "lo")])
    encoded = Store(tmp_path / "rows.arrow")
    assert [learned(encoded, 0), learned(encoded, 1)] == [["hello you<|endoftext|>"], [" hello<|endoftext|>"]]
    assert (counts.merged_first, counts.merged) == (1, 1)
    assert encoded.learned.tolist() == [len(encoded[0][0]) - 1, 2]


def test_inputs_for_which_the_format_has_no_place_are_counted(tmp_path):
    turns = ({"role": "user", "content": "do\nthis"}, {"role": "assistant", "content": "a"})
    rows = [Conversation(turns, input="this"), conversation("q", "b")]
    assert write(tmp_path / "rows.arrow", rows, 400, "lawgpt").joined == 1
    assert write(tmp_path / "other.arrow", rows, 400, "alpaca").joined == 0
