"""Prompts of ChatGLM's tokenizers in token ids: where special tokens stand, and which answers are encoded apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.backends import letters, windows
from harness.backends.chat import ChatTemplate
from harness.backends.conversations import Conversations
from harness.backends.encoding import Encoder
from harness.backends.request_kinds.chatglm_predict import cut_texts
from harness.backends.request_kinds.likelihoods import MeanLikelihood
from harness.backends.request_kinds.whole_texts import RollingLikelihood
from harness.checkpoints import templates
from harness.checkpoints.chatglm import dialogues
from harness.errors import HarnessError
from support import chatglm_tokenizers as tokenizers

ROUND = "[Round 1]\n\n问：水\n\n答："


class Subject:
    """An encoder, the peer that encodes a text by itself, and the special tokens in their usual order."""

    def __init__(self, place: Path, generation: int) -> None:
        tokenizer = tokenizers.load(tokenizers.folder(place, generation))
        self.encoder = Encoder(tokenizer)
        self.lead = tokenizer.convert_tokens_to_ids(["[gMASK]", "<sop>" if generation == 1 else "sop"])
        self.tokenizer = tokenizer

    def plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        (pair,) = self.encoder.pairs([(context, continuation)])
        return pair.context, pair.continuation


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Subject]:
    return {number: Subject(tmp_path_factory.mktemp(f"chatglm{number}"), number) for number in (1, 2, 3)}


def requests(*arguments: tuple[Any, ...]) -> list[Any]:
    return [SimpleNamespace(args=argument) for argument in arguments]


def test_an_answer_after_a_published_dialogue_is_encoded_by_itself(subjects: dict[int, Subject]) -> None:
    second = subjects[2]
    expected = [*second.lead, *second.plain(ROUND)]
    for context, answer in ((ROUND, "A"), (ROUND, " A"), (ROUND + " ", "A")):
        assert second.pair(context, answer) == (expected, second.plain("A"))
    third = subjects[3]
    text = templates.render(third.tokenizer, [{"role": "user", "content": "水"}], add_generation_prompt=True)
    assert third.pair(text, "A") == (third.tokenizer.encode(text), third.plain("A"))
    first = subjects[1]
    dialogue = "[Round 0]\n问：水\n答："
    assert first.pair(dialogue, "A") == ([*first.plain(dialogue), *first.lead], first.plain("A"))


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_an_answer_after_another_prompt_is_joined_to_it(subjects: dict[int, Subject], generation: int) -> None:
    subject = subjects[generation]
    context, joined = subject.plain("水\n答："), subject.plain("水\n答：A")
    rest = joined[len(context) :]
    assert rest != subject.plain("A")
    expected = [*context, *subject.lead] if generation == 1 else [*subject.lead, *context]
    assert subject.pair("水\n答：", "A") == (expected, rest)


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_special_tokens_are_the_context_of_a_text_without_one(subjects: dict[int, Subject], generation: int) -> None:
    subject = subjects[generation]
    assert subject.pair("", "A") == (subject.lead, subject.plain("A"))
    assert subject.encoder.beginning() == subject.lead


def test_a_bare_question_is_a_dialogue_only_where_the_template_wrote_it(tmp_path: Path) -> None:
    first = Subject(tmp_path, 1)
    joined = first.plain("答：A")[len(first.plain("答：")) :]
    assert first.pair("答：", "A")[1] == joined != first.plain("A")
    first.encoder.note_rendered("答：")
    assert first.pair("答：", "A") == ([*first.plain("答："), *first.lead], first.plain("A"))


@pytest.mark.parametrize("token", ["<sop>", "[gMASK]", "[MASK]"])
def test_a_prompt_of_chatglm_6b_must_not_spell_the_end_of_its_context(subjects: dict[int, Subject], token: str) -> None:
    encoder = subjects[1].encoder
    for ask in (lambda text: encoder.encode([text]), lambda text: encoder.pairs([(text, "A")])):
        with pytest.raises(HarnessError, match=r"change that document \(its prompt begins '第三题") as error:
            ask(f"第三题：什么是{token}？")
        assert repr(token) in str(error.value)
    subjects[2].encoder.pairs([(f"第三题：什么是{token}？", "A")])


@pytest.mark.parametrize("generation", [2, 3])
def test_a_question_that_spells_roles_lacks_no_words(subjects: dict[int, Subject], generation: int) -> None:
    subject = subjects[generation]
    conversations = Conversations(ChatTemplate("chatglm", subject.tokenizer))
    conversations.prompt([{"role": "user", "content": "what ends <|user|> and <|assistant|>?"}])
    assert not [note for note in conversations.notes(subject.encoder, (), None) if "lack words" in note]
    conversations.template.tokenizer.chat_template = "{{ messages[0]['content'][:4] }}"
    try:
        conversations.prompt([{"role": "user", "content": "what is it?"}])
    finally:
        subject.tokenizer.chat_template = dialogues.template(generation)
    assert [note for note in conversations.notes(subject.encoder, (), None) if note.startswith("1 prompts lack words")]


def test_letters_are_those_of_the_published_script(subjects: dict[int, Subject]) -> None:
    second = subjects[2]
    forms = letters.after(second.encoder, ROUND)
    assert forms.ids == tuple(tuple(second.plain(letter)) for letter in "ABCD")


def test_prompts_are_cut_as_by_the_published_scripts(subjects: dict[int, Subject]) -> None:
    text = "今天的天气很好，我们去公园散步。"
    first, second = subjects[1], subjects[2]
    assert cut_texts(first.encoder, [text], 6)[text] == [*first.plain(text)[:4], *first.lead]
    assert cut_texts(second.encoder, [text], 6)[text] == [*second.lead, *second.plain(text)[:4]]
    for subject in (first, second):  # transformers' own truncation
        ids = subject.tokenizer(text, max_length=6, truncation=True)["input_ids"]
        assert cut_texts(subject.encoder, [text], 6)[text] == ids


@pytest.mark.parametrize("generation", [1, 2])
def test_whole_texts_are_read_behind_the_special_tokens(subjects: dict[int, Subject], generation: int) -> None:
    subject, text = subjects[generation], "今天的天气很好"
    backend: Any = SimpleNamespace(encoder=subject.encoder, max_length=100)
    owned = RollingLikelihood().owned_pairs(requests((text,)), backend)
    assert [pair[:2] for pair in owned.pairs] == [(subject.lead, subject.plain(text))]


def test_every_window_of_chatglm_6b_begins_with_its_special_tokens(subjects: dict[int, Subject]) -> None:
    first, text = subjects[1], "今天的天气很好，我们去公园散步。" * 3
    ids, length = first.plain(text), 10
    backend: Any = SimpleNamespace(encoder=first.encoder, max_length=length)
    pairs = RollingLikelihood().owned_pairs(requests((text,)), backend).pairs
    assert len(pairs) > 2
    assert all(pair.context[:2] == first.lead for pair in pairs)
    assert all(len(pair.context) + len(pair.continuation) - 1 <= length for pair in pairs)
    assert [token for pair in pairs for token in pair.continuation] == ids
    overlapping = windows.cut([ids], first.lead, length, [3], repeats_beginning=True).pairs
    assert all(len(pair.continuation) <= 3 for pair in overlapping[1:])
    place = len(overlapping[0].continuation)
    for pair in overlapping[1:]:
        assert pair.context[2:] == ids[place - len(pair.context) + 2 : place]
        place += len(pair.continuation)
    assert place == len(ids)


def test_a_prompt_and_its_answer_as_one_text(subjects: dict[int, Subject]) -> None:
    first, second = subjects[1], subjects[2]
    backends: list[Any] = [SimpleNamespace(encoder=subject.encoder, max_length=50) for subject in (first, second)]
    pairs = [MeanLikelihood().owned_pairs(requests(("水\n答：", "A")), backend).pairs[0] for backend in backends]
    assert pairs[0][:2] == (first.lead, first.plain("水\n答：A"))
    assert pairs[1][:2] == (second.lead[:1], [second.lead[1], *second.plain("水\n答：A")])
    (dialogue,) = MeanLikelihood().owned_pairs(requests((ROUND, "A")), backends[1]).pairs
    assert dialogue.continuation == [second.lead[1], *second.plain(ROUND), *second.plain("A")]
    short: Any = SimpleNamespace(encoder=first.encoder, max_length=6)
    owned = MeanLikelihood().owned_pairs(requests(("今天的天气很好，", "我们去公园散步。")), short)
    assert owned.truncated == 1
    assert len(owned.pairs[0].context + owned.pairs[0].continuation) == 6
