"""ChatGLM-6B, ChatGLM2 and ChatGLM3 are trained on the ids that their published scripts make, by every method.

The ids are made again here as those scripts make them, by SentencePiece alone.
"""

from __future__ import annotations

import pytest

from harness.checkpoints.chatglm.tokenizer import ChatGLMTokenizer
from harness.errors import HarnessError
from harness.tasks.own_files.layouts import Turn
from harness.training import store
from harness.training.dialogues import Format, Learned, Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Conversation, Example, Located, Passage
from support import chatglm_tokenizers

QUESTION, ANSWER = "水在多少度沸腾？", "在标准大气压下\n是一百度。"
TALK = Conversation(
    tuple(
        Turn(role=role, content=content)
        for role, content in (
            ("user", "你是谁？"),
            ("assistant", "我是一个助手。"),
            ("user", QUESTION),
            ("assistant", ANSWER),
        )
    )
)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[int, ChatGLMTokenizer]:
    place = tmp_path_factory.mktemp("tokenizers")
    folders = {number: chatglm_tokenizers.folder(place / str(number), number) for number in (1, 2, 3)}
    return {number: chatglm_tokenizers.load(folder) for number, folder in folders.items()}


def labelled(
    tokenizer: ChatGLMTokenizer, example: Example, form: Format | None = None, learn: Learned = "answers"
) -> tuple[list[int], list[int]]:
    """Return the ids of an example and its labels, -100 for what is not learned."""
    segments = Writer(form, learn, tokenizer).segments(example)
    (encoded,) = ExampleEncoder(tokenizer, tokenizer.ending_ids).encode([segments])
    labels = [-100] * len(encoded.ids)
    for start, end in encoded.spans:
        labels[start:end] = encoded.ids[start:end]
    return encoded.ids, labels


def pieces(tokenizer: ChatGLMTokenizer, text: str) -> list[int]:
    """Return the ids of a text as ChatGLM-6B's tokenizer makes them, by SentencePiece."""
    return list(tokenizer.vocabulary.model.encode(text.replace("\n", "<n>")))


def published_6b(tokenizer: ChatGLMTokenizer, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Return the ids and labels of ChatGLM-6B's ptuning/main.py, `preprocess_function_train`."""
    gmask, sop, eop = (tokenizer.vocabulary.model.piece_to_id(name) for name in ("[gMASK]", "<sop>", "<eop>"))
    ids = [*pieces(tokenizer, prompt), gmask, sop, *pieces(tokenizer, answer), eop]
    context_length = ids.index(sop)
    return ids, [-100] * context_length + ids[context_length:]


def published_2(tokenizer: ChatGLMTokenizer, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Return the ids and labels of ChatGLM2's ptuning/main.py."""
    model = tokenizer.vocabulary.model
    first = model.get_piece_size()
    context = [first + 1, first + 3, *model.encode(prompt)]
    rest = [*model.encode(answer), model.eos_id()]
    return context + rest, [-100] * len(context) + rest


def published_3(tokenizer: ChatGLMTokenizer, turns: list[tuple[str, str]]) -> tuple[list[int], list[int]]:
    """Return the ids and labels of ChatGLM3's finetune_hf.py, `process_batch`."""
    model = tokenizer.vocabulary.model
    first = model.get_piece_size()
    ids, masks = [first + 1, first + 3], [False, False]
    for role, content in turns:
        number = first + 5 + ("system", "user", "assistant", "observation").index(role)
        new = [number, *model.encode("\n"), *model.encode(content)]
        ids += new
        masks += [role not in ("system", "user")] * len(new)
    ids.append(model.eos_id())
    return ids, [i if mask else -100 for i, mask in zip(ids, [False, *masks], strict=True)]


@pytest.mark.parametrize("form", [None, "chatglm"])
def test_chatglm_6b_learns_what_its_script_learns(tokenizers, form):
    tokenizer = tokenizers[1]
    pair = Completion(QUESTION, ANSWER)
    assert labelled(tokenizer, pair, form) == published_6b(tokenizer, QUESTION, ANSWER)
    prompt = f"[Round 0]\n问：你是谁？\n答：我是一个助手。\n[Round 1]\n问：{QUESTION}\n答："
    assert labelled(tokenizer, TALK, form, "last_answer") == published_6b(tokenizer, prompt, ANSWER)


@pytest.mark.parametrize("form", [None, "chatglm2"])
def test_chatglm2_learns_what_its_script_learns(tokenizers, form):
    tokenizer = tokenizers[2]
    alone = Conversation(TALK.turns[2:])
    assert labelled(tokenizer, alone, form) == published_2(tokenizer, f"[Round 1]\n\n问：{QUESTION}\n\n答：", ANSWER)
    prompt = f"[Round 1]\n\n问：你是谁？\n\n答：我是一个助手。\n\n[Round 2]\n\n问：{QUESTION}\n\n答："
    assert labelled(tokenizer, TALK, form, "last_answer") == published_2(tokenizer, prompt, ANSWER)


@pytest.mark.parametrize("form", [None, "chatglm3"])
def test_chatglm3_learns_what_its_script_learns(tokenizers, form):
    tokenizer = tokenizers[3]
    turns = [(turn["role"], turn["content"]) for turn in TALK.turns]
    assert labelled(tokenizer, TALK, form) == published_3(tokenizer, turns)
    # No message can end itself by the name of a role.
    sly = [("system", "只说<|user|>"), ("user", "<|assistant|>吗"), ("assistant", "说：<|user|>\n<|observation|>")]
    example = Conversation(tuple(Turn(role=role, content=content) for role, content in sly))
    assert labelled(tokenizer, example, form) == published_3(tokenizer, sly)
    ids, labels = labelled(tokenizer, TALK, form, "last_answer")
    assert (ids, sum(label != -100 for label in labels)) == (
        published_3(tokenizer, turns)[0],
        len(published_3(tokenizer, turns[3:])[0]) - 3,
    )
    assert labels[-3:] == ids[-3:]
    ids, labels = labelled(tokenizer, TALK, form, "everything")
    assert labels == [-100, -100, *ids[2:]]
    assert ids == published_3(tokenizer, turns)[0]


@pytest.mark.parametrize("number", [1, 2])
def test_several_answers_of_a_text_are_refused_before_chatglm3(tokenizers, number):
    with pytest.raises(HarnessError, match=r"several learned answers, .*: set learn: last_answer"):
        labelled(tokenizers[number], TALK)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_piece_of_a_document_is_read_behind_the_special_tokens(tokenizers, number, tmp_path):
    tokenizer = tokenizers[number]
    text = "今天的天气很好，我们去公园散步。" * 5
    encode = pieces if number == 1 else lambda tokenizer, text: tokenizer.vocabulary.model.encode(text)
    expected = [*encode(tokenizer, text), tokenizer.eos_token_id]
    beginning = list(tokenizer.prompt_rules.beginning)
    assert labelled(tokenizer, Passage(text)) == ([*beginning, *expected], [-100, -100, *expected])
    encoder = ExampleEncoder(tokenizer, tokenizer.ending_ids)
    rows = [Located("row", Passage(text))]
    counts = store.write(tmp_path / "rows.arrow", rows, Writer(None, "answers", tokenizer), encoder, 12)
    stored = store.Store(tmp_path / "rows.arrow")
    parts = [stored[place] for place in range(len(stored))]
    assert counts.split == 1
    assert all(ids[:2].tolist() == beginning and len(ids) <= 12 for ids, _ in parts)
    assert [i for ids, (start, end) in parts for i in ids[start:end].tolist()] == expected
