"""Which of ChatGLM's tokenizers a folder holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.checkpoints.chatglm import recognition
from harness.errors import HarnessError
from support import chatglm_tokenizers as tokenizers

CONTENT = tokenizers.model()
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|> \n {{ m['content'] }}{% endfor %}<|user|>"


def generation(place: Path) -> int | None:
    source = recognition.recognize(place)
    assert source is not None
    return source.generation


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("evidence", ["name", "config", "saved"])
def test_names_and_saved_settings_distinguish_2_and_3(tmp_path: Path, number: int, evidence: str) -> None:
    name = f"models/ChatGLM{number}-6B-32k"
    stated = {"name": {"name_or_path": name}, "saved": {"chatglm_generation": number}}.get(evidence, {})
    place = tokenizers.folder(tmp_path / "tokenizer", 2, CONTENT, **({"name_or_path": None} | stated))
    if evidence == "config":
        (place / "config.json").write_text(json.dumps({"model_type": "chatglm", "_name_or_path": name}))
    assert generation(place) == number


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokenization_chatglm.py", 'special_tokens = ["sop", "eop", "<|user|>"]\nraise SystemExit'),
        ("added_tokens.json", '{"<|user|>": 64795}'),
        ("special_tokens_map.json", '{"additional_special_tokens": ["<|user|>"]}'),
        ("chat_template.jinja", TEMPLATE),
    ],
)
def test_the_role_token_in_any_file_is_chatglm3s(tmp_path: Path, file: str, text: str) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2, CONTENT, name_or_path=None)
    (place / file).write_text(text)
    assert generation(place) == 3


def test_code_without_the_role_token_is_chatglm2s(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2, CONTENT, name_or_path="chatglm3-my-finetune-of-2")
    (place / "tokenization_chatglm.py").write_text('special_tokens = ["sop", "eop"]')
    assert generation(place) == 2


def test_a_template_or_an_added_token_in_the_settings_is_chatglm3s(tmp_path: Path) -> None:
    added = {"64795": {"content": "<|user|>", "special": True}}
    assert generation(tokenizers.folder(tmp_path / "a", 2, CONTENT, added_tokens_decoder=added)) == 3
    assert generation(tokenizers.folder(tmp_path / "b", 2, CONTENT, chat_template=TEMPLATE)) == 3


def test_nothing_distinguishes_a_folder_without_names(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2, CONTENT, name_or_path=None)
    assert generation(place) is None
    assert tokenizers.load(place).vocabulary.generation == 2
    assert tokenizers.load(place, 3).vocabulary.generation == 3


def test_other_tokenizers_are_not_recognized(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 2, CONTENT)
    for kind in ("ChatGLM4Tokenizer", "LlamaTokenizer"):
        (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
        assert recognition.recognize(place) is None
    (place / "tokenizer_config.json").unlink()
    assert recognition.recognize(place) is None
    (place / "config.json").write_text('{"model_type": "chatglm"}')
    assert recognition.recognize(place) is not None


def test_a_tokenizer_of_another_version_than_the_model_is_refused(tmp_path: Path) -> None:
    place = tokenizers.folder(tmp_path / "tokenizer", 1)
    sop = tokenizers.processor(place).piece_to_id("<sop>")
    (place / "config.json").write_text(json.dumps({"model_type": "chatglm", "bos_token_id": sop}))
    assert tokenizers.load(place).bos_token_id == sop
    tokenizers.folder(place, 1, num_image_tokens=None)
    assert tokenizers.load(place).bos_token_id == sop
    tokenizers.folder(place, 1, num_image_tokens=20_000)
    with pytest.raises(HarnessError, match="different versions"):
        tokenizers.load(place)
    tokenizers.folder(place, 1, num_image_tokens="many")
    with pytest.raises(HarnessError, match="num_image_tokens"):
        tokenizers.load(place)
