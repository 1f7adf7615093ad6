"""ChatGLM-6B, ChatGLM2 and ChatGLM3 are trained on the ids that their published scripts make, by every method.

The ids are made again here as those scripts make them, by SentencePiece alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.checkpoints.chatglm.layout import PREFIX
from harness.checkpoints.chatglm.tokenizer import ChatGLMTokenizer
from harness.checkpoints.loading import Loader, locate
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from harness.tasks.own_files.layouts import Turn
from harness.training import recipe, stages, store
from harness.training.dialogues import Format, Learned, Writer
from harness.training.encoding import ExampleEncoder
from harness.training.examples import Completion, Conversation, Example, Located, Passage
from support import chatglm, chatglm_tokenizers

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


@pytest.mark.parametrize("form", [None, "chatglm3"])
def test_chatglm3_learns_the_line_end_before_an_answer(tmp_path, form):
    # The published model keeps line ends, too.
    content = chatglm_tokenizers.model(normalization_rule_name="identity", remove_extra_whitespaces=False)
    tokenizer = chatglm_tokenizers.load(chatglm_tokenizers.folder(tmp_path, 3, content))
    line_end = tokenizer.vocabulary.model.encode("\n")
    turns = [("user", "一\n二"), ("assistant", "\n三\n"), ("user", "四"), ("assistant", "五")]
    example = Conversation(tuple(Turn(role=role, content=content) for role, content in turns))
    ids, labels = labelled(tokenizer, example, form)
    assert (ids, labels) == published_3(tokenizer, turns)
    assert len(line_end) > 0
    assert labels[next(i for i, label in enumerate(labels) if label != -100) :][: len(line_end)] == line_end


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


# --- stages

PAIRS = ((QUESTION, ANSWER), ("你是谁？", "我是一个助手。"), ("选择", "B"), ("今天的天气？", "今天的天气很好。"))
HEAD = """
seed: 1
threads: 1
corpora: {talk: talk.jsonl}
defaults: {per_device_train_batch_size: 2, learning_rate: 1.0e-2, max_steps: 1, max_length: 64, corpora: [talk]}
stages:
"""
STAGES = """
  full: {from: b%d, learning_rate: 1.0e-3}
  lora: {from: b%d, method: lora, r: 2, target_modules: [query_key_value]}
  prefix: {from: START, method: prefix, num_virtual_tokens: 4, prefix_projection: true}
  more: {from: prefix, method: prefix}
"""
QUANTISED = """
  own: {from: "b1,quantize=chatglm-int4", method: prefix, num_virtual_tokens: 4, gradient_checkpointing: true}
  other: {from: "b2,quantize=int4", method: lora, r: 2}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    chatglm.save_6b(folder / "b1")
    chatglm.save(folder / "b2")
    chatglm_tokenizers.folder(chatglm.save(folder / "b3"), 3)
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in PAIRS]
    (folder / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def trained(place: Path, text: str, output: str, **options) -> dict[str, Path]:
    (place / f"{output}.yaml").write_text(HEAD + text, encoding="utf-8")
    plan = recipe.load(place / f"{output}.yaml")
    return {stage.name: stage.folder for stage in stages.train(plan, place / output, **options)}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_method_makes_a_checkpoint(place, number):
    text = STAGES.replace("%d", str(number)).replace("START", "full" if number == 3 else f"b{number}")
    folders = trained(place, text, f"all{number}")
    loader = Loader()
    kinds = {}
    for name, folder in folders.items():
        loaded = loader.load(locate(parse(str(folder))))  # loading proves that an adapter has an effect
        kinds[name] = loaded.located.kind
        assert loaded.tokenizer.vocabulary.generation == number
        assert loaded.root.next_position == 0
    assert kinds == {"full": "base", "lora": "lora", "prefix": "prefix_tuning", "more": "prefix_tuning"}
    # The prefix as ptuning/main.py reads it, in the sizes of the published code.
    heads, inner = (chatglm.HEADS if number == 1 else chatglm.GROUPS), chatglm.HIDDEN
    width = 2 * chatglm.LAYERS * heads * chatglm.SIZE
    embedded = inner if number == 1 else width
    tensors = torch.load(folders["prefix"] / "pytorch_model.bin", weights_only=True)
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()} == {
        f"{PREFIX}embedding.weight": ((4, embedded), torch.float32),
        f"{PREFIX}trans.0.weight": ((inner, embedded), torch.float32),
        f"{PREFIX}trans.0.bias": ((inner,), torch.float32),
        f"{PREFIX}trans.2.weight": ((width, inner), torch.float32),
        f"{PREFIX}trans.2.bias": ((width,), torch.float32),
    }
    stated = json.loads((folders["prefix"] / "config.json").read_text())
    if number == 3:  # a base that was trained here states its sizes as the published one does
        base = {k: v for k, v in json.loads((place / "b3" / "config.json").read_text()).items() if k in stated}
        own = {"_name_or_path": str(folders["full"])}
        assert {"num_layers", "ffn_hidden_size", "multi_query_group_num", "add_qkv_bias"} <= set(base)
    else:
        base = json.loads((place / f"b{number}" / "config.json").read_text())
        own = {"_name_or_path": str(place / f"b{number}")}
    assert stated == stated | base | own | {"pre_seq_len": 4, "prefix_projection": True}
    assert number == 3 or len(stated) == len(base) + 3


def test_quantised_bases_are_trained_on(place):
    folders = trained(place, QUANTISED, "quantised")
    for name, quantised in (("own", "chatglm-int4"), ("other", "int4")):
        loaded = Loader().load(locate(parse(f"{folders[name]},quantize={quantised}")))
        assert not any("trained on weights" in note for note in loaded.notes)
    assert json.loads((folders["own"] / "config.json").read_text())["quantization_bit"] == 4


def test_an_interrupted_prefix_ends_as_one_that_was_not_interrupted(place):
    text = "  p: {from: b1, method: prefix, num_virtual_tokens: 4, max_steps: 2, save_steps: 1, logging_steps: 1}"
    whole = trained(place, text, "whole")["p"]

    def stop(line: str) -> None:
        if line.startswith("step 2"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(place, text, "resumed", events=stages.Events(line=stop))
    resumed = trained(place, text, "resumed")["p"]
    assert json.loads((resumed / stages.DONE).read_text())["resumed_at"] == 1
    assert (resumed / "pytorch_model.bin").read_bytes() == (whole / "pytorch_model.bin").read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("from: b1, packing: true", "reads contexts in both directions, so examples cannot share a row"),
        ("from: b1, method: prompt, num_virtual_tokens: 4", "is trained with method: full, lora or prefix"),
        ("from: b2, method: prefix", "set num_virtual_tokens"),
        ('from: "b2,quantize=chatglm-int4"', "has chatglm-int4 weights, which cannot learn"),
        ('from: "b2,quantize=chatglm-int4", method: lora, use_dora: true', "DoRA needs the base's own weights"),
        ("from: b2, method: lora, target_modules: [query_key_value, q_proj]", "target_modules has q_proj beside names"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(place, settings, message):
    with pytest.raises(HarnessError, match=message):
        trained(place, f"  s: {{{settings}}}", "refused")
