"""Ids and texts of ChatGLM's vocabularies against SentencePiece itself, under the published code's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from harness.errors import HarnessError
from support import chatglm_tokenizers as tokenizers

PIECES = (
    "今天的天气",
    "答案：",
    "A",
    " ",
    "  ",
    " " * 5,
    " " * 81,
    "\n",
    "\t",
    "B. ",
    "é",
    "🙂",
    ",",
    "[Round 0]",
    "<n>",
    "<",
)
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, SentencePieceProcessor]:
    place = tokenizers.folder(tmp_path_factory.mktemp("6b"), 1)
    return tokenizers.load(place), tokenizers.processor(place)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, SentencePieceProcessor]:
    place = tokenizers.folder(tmp_path_factory.mktemp("2"), 2)
    return tokenizers.load(place), tokenizers.processor(place)


def published_6b(text: str) -> str:
    """Return the text that chatglm-6b gives to SentencePiece: `_preprocess` of its tokenization_chatglm.py."""
    text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
    for length in range(80, 1, -1):
        text = text.replace(" " * length, f"<|blank_{length}|>")
    return text


@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_chatglm_6b_writes_white_space_as_tokens_and_its_special_tokens_last(first: Any, text: str) -> None:
    tokenizer, peer = first
    ids = peer.encode(published_6b(text))
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    assert tokenizer(text)["input_ids"] == [*ids, peer.piece_to_id("[gMASK]"), peer.piece_to_id("<sop>")]


@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_chatglm2_puts_its_special_tokens_first(second: Any, text: str) -> None:
    tokenizer, peer = second
    size, ids = peer.get_piece_size(), peer.encode(text)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    assert tokenizer(text)["input_ids"] == [size + 1, size + 3, *ids]
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == peer.decode(ids)


def test_chatglm_6b_decodes_white_space(first: Any) -> None:
    tokenizer, _ = first
    text = "答案：A\n\t今天     天气" + " " * 80 + "B"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text.replace("：", ":")


def test_chatglm_6b_drops_the_tokens_that_transformers_calls_special(first: Any) -> None:
    tokenizer, peer = first
    ids = [*peer.encode("天气"), *map(peer.piece_to_id, ("<pad>", "<eop>"))]
    assert tokenizer.decode(ids) == "天气<eop>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "天气"
    assert tokenizer.decode([]) == ""


def test_chatglm_6b_reads_special_tokens_in_a_text(first: Any) -> None:
    tokenizer, peer = first
    left, sop, right = peer.encode("天气"), peer.piece_to_id("<sop>"), peer.encode("很好")
    assert tokenizer.encode("天气 <sop>  很好", add_special_tokens=False) == [*left, sop, *right]


@pytest.mark.parametrize("text", ["[gMASK]", "sop", "a [MASK] b", "<|user|>", "</s>", "<|assistant|>\n天气"])
@pytest.mark.parametrize("generation", [2, 3])
def test_no_text_spells_special_tokens_of_chatglm2_and_3(tmp_path: Path, generation: int, text: str) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", generation)
    assert tokenizers.load(place).encode(text, add_special_tokens=False) == tokenizers.processor(place).encode(text)


def test_chatglm2_never_writes_special_tokens_and_chatglm3_does(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2)
    peer = tokenizers.processor(place)
    first = peer.get_piece_size()
    ids = [first + 1, first + 3, *peer.encode("天气很好"), 2]
    assert tokenizers.load(place).decode(ids) == "天气很好"
    third = tokenizers.load(place, 3)
    ids.append(first + 6)
    assert third.decode(ids) == "[gMASK]sop 天气很好<|user|>"
    assert third.decode(ids, skip_special_tokens=True) == "天气很好"


def test_special_tokens_have_the_published_order_behind_the_vocabulary(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 3)
    first, tokenizer = tokenizers.processor(place).get_piece_size(), tokenizers.load(place)
    names = [*tokenizers.SPECIAL, *tokenizers.ROLES]
    assert [tokenizer.convert_tokens_to_ids(name) for name in names] == list(range(first, first + 9))
    assert len(tokenizer) == first + 9
    assert tokenizer.ending_ids == (2, first + 6, first + 8)


def test_the_first_published_vocabulary_is_completed(tmp_path: Path) -> None:
    """The first code added special tokens, white space and bytes to the file's vocabulary, behind 20,000 images."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizers.model("<n>"))
    pieces = [piece for piece in proto.pieces if piece.type != 6]
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    proto.trainer_spec.byte_fallback = False
    place = tokenizers.folder(tmp_path / "old", 1, proto.SerializeToString(), num_image_tokens=None)
    tokenizer, count = tokenizers.load(place), len(pieces)
    assert tokenizer.convert_tokens_to_ids("[gMASK]") == 20_000 + count + 1
    assert tokenizer.ending_ids == (20_000 + count + 5,)
    assert tokenizer.convert_tokens_to_ids("<|blank_2|>") == 20_000 + count + 9
    ids = tokenizer.encode("天气  🙂\n")
    assert ids[-2:] == [20_000 + count + 1, 20_000 + count + 4]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "天气  🙂\n"
    assert len(tokenizer) == 20_000 + count + 8 + 80 + 256
    tokenizer.save_pretrained(tmp_path / "saved")
    assert tokenizers.load(tmp_path / "saved").encode("天气  🙂\n") == ids


def test_a_vocabulary_of_another_model_is_one_sentence(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 1, tokenizers.model())
    with pytest.raises(HarnessError, match="damaged, or not of a ChatGLM-6B: it has no <sop>"):
        tokenizers.load(place)


SOUND = tokenizers.model()
NO_TEXT = SOUND.replace("。".encode(), b"\xe3\x28\x82", 1)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x0a\xff\xff\xff\xff\x0f", SOUND[:-500], NO_TEXT])
def test_a_damaged_vocabulary_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2, b"-")
    (place / "tokenizer.model").write_bytes(content)
    with pytest.raises(HarnessError, match=r"tokenizer\.model is damaged .*: fetch it again"):
        tokenizers.load(place)
