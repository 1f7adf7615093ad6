"""Folders with small ChatGLM tokenizers, trained here, in the layouts in which these checkpoints were published."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from harness.checkpoints.chatglm import recognition, tokenizer
from harness.checkpoints.chatglm.tokenizer import ChatGLMTokenizer

SPECIAL_6B = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
WHITE_6B = ("<|tab|>", *(f"<|blank_{length}|>" for length in range(2, 81)))
SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
_SENTENCES = (
    "今天的天气很好，我们去公园散步。",
    "问：水在多少度沸腾？答：在标准大气压下是一百度。",
    "以下是单项选择题，请选出正确答案。A. 甲 B. 乙 C. 丙 D. 丁 答案：A",
    "The answer is B, and a line follows.",
    "[Round 1] 问：你是谁？ 答：我是一个助手。",
    "def add(a, b): return a + b",
)


def model(*symbols: str, **settings: Any) -> bytes:
    """Return a trained SentencePiece model with the user's `symbols` in front; `settings` are the trainer's."""
    file = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES * 20),
        model_writer=file,
        vocab_size=480,
        model_type="unigram",
        character_coverage=1.0,
        byte_fallback=True,
        hard_vocab_limit=False,
        user_defined_symbols=list(symbols),
        pad_id=3 if symbols else -1,
        minloglevel=2,
        **settings,
    )
    return file.getvalue()


def processor(folder: Path) -> SentencePieceProcessor:
    """Return the SentencePiece model of `folder`, as a peer."""
    (file,) = folder.glob("*.model")
    return SentencePieceProcessor(model_file=str(file))


def folder(place: Path, generation: int, content: bytes | None = None, **settings: Any) -> Path:
    """Write a folder with a tokenizer of the `generation` to `place`; `settings` go to tokenizer_config.json."""
    place.mkdir(parents=True, exist_ok=True)
    names = {1: "chatglm-6b", 2: "chatglm2-6b", 3: "chatglm3-6b"}
    content = content or (model("<n>", *WHITE_6B, *SPECIAL_6B) if generation == 1 else model())
    (place / ("ice_text.model" if generation == 1 else "tokenizer.model")).write_bytes(content)
    stated = {"tokenizer_class": "ChatGLMTokenizer", "name_or_path": f"THUDM/{names[generation]}"}
    if generation == 1:
        stated |= {"num_image_tokens": 0, "bos_token": "<sop>", "eos_token": "<eop>"}
    stated = {key: value for key, value in (stated | settings).items() if value is not None}
    (place / "tokenizer_config.json").write_text(json.dumps(stated))
    return place


def load(place: Path, generation: int | None = None) -> ChatGLMTokenizer:
    """Return the tokenizer in the folder `place`."""
    source = recognition.recognize(place)
    assert source is not None
    return tokenizer.load(source, generation)
