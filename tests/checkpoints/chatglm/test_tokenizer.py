"""ChatGLM's tokenizers against the golden answers of the published ones, and as transformers' tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import loading, templates, tokenizer_files
from harness.engine.decoding.stopping import Stopper
from harness.errors import HarnessError
from support import chatglm_tokenizers as tokenizers


@pytest.fixture(scope="module", params=["chatglm-tiny", "chatglm2-tiny"])
def published(request: pytest.FixtureRequest, data: Path) -> tuple[Any, dict[str, Any]]:
    """A published tokenizer's layout as this project loads it, and the published code's answers."""
    folder = data / "chatglm-golden" / request.param
    golden = json.loads(folder.with_name(f"{request.param}.golden.json").read_text())["tokenizer"]
    return tokenizer_files.load(tokenizer_files.checked(folder, is_trusted=False), is_trusted=False), golden


@pytest.mark.data
def test_ids_and_texts_equal_the_published_tokenizers(published: Any) -> None:
    tokenizer, golden = published
    texts = golden["texts"]
    assert tokenizer(texts)["input_ids"] == golden["encode"]
    assert tokenizer(texts, add_special_tokens=False)["input_ids"] == golden["encode_no_special"]
    assert tokenizer.batch_decode(golden["encode_no_special"]) == golden["decode"]
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in golden["special"]} == golden["special"]
    assert {letter: tokenizer.encode(letter, add_special_tokens=False) for letter in "ABCD"} == golden["letters"]
    assert tokenizer.vocab_size == len(tokenizer) == golden["vocab_size"]


@pytest.mark.data
def test_rendered_dialogues_equal_the_published_prompts(published: Any) -> None:
    tokenizer, golden = published
    prompts = golden.get("prompts") or golden["build_prompt"]
    ids = golden.get("prompt_ids") or golden["build_prompt_ids"]
    history = [
        {"role": role, "content": text}
        for exchange in golden["history"]
        for role, text in zip(("user", "assistant"), exchange, strict=True)
    ]
    conversations = [[{"role": "user", "content": text}] for text in golden["texts"]]
    conversations.append([*history, *conversations[0]])
    rendered = [templates.render(tokenizer, turns, add_generation_prompt=True) for turns in conversations]
    assert rendered == prompts
    assert tokenizer(rendered)["input_ids"] == ids


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_saved_tokenizer_is_loaded_again(tmp_path: Path, generation: int) -> None:
    tokenizer = tokenizers.load(tokenizers.folder(tmp_path / "tokenizer", generation))
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = tokenizer_files.load(tokenizer_files.checked(tmp_path / "saved", is_trusted=False), is_trusted=False)
    text = "今天  天气\n很好"
    assert saved.encode(text) == tokenizer.encode(text)
    assert saved.chat_template == tokenizer.chat_template
    assert saved.ending_ids == tokenizer.ending_ids
    assert saved.get_vocab() == tokenizer.get_vocab()


def test_a_folders_own_template_is_used_unless_it_writes_chatglm3s_roles(tmp_path: Path) -> None:
    own = "{{ messages[0]['content'] }}！"
    assert tokenizers.load(tokenizers.folder(tmp_path / "2", 2, chat_template=own)).chat_template == own
    third = tokenizers.folder(tmp_path / "3", 3, chat_template="<|user|> \n {{ messages[0]['content'] }}")
    assert "[gMASK]sop" in tokenizers.load(third).chat_template


def test_roles_end_chatglm3s_answers(tmp_path: Path) -> None:
    tokenizer = tokenizers.load(tokenizers.folder(tmp_path / "tokenizer", 3))
    ids = loading._eos_ids((2,), tokenizer)
    assert ids == tuple(tokenizer.convert_tokens_to_ids(["</s>", "<|user|>", "<|observation|>"]))
    stopper = Stopper(tokenizer, [], ids)
    tokens = [*tokenizer.encode("天气很好", add_special_tokens=False), ids[1]]
    stopper.watch(0, thinking=False)
    assert stopper.ended([0], [tokens]) == [True]
    assert stopper.finish(tokens, thinking=False, ended=True).text == "天气很好"


@pytest.mark.parametrize(("generation", "ids"), [(1, ["[gMASK]", "<sop>"]), (2, ["[gMASK]", "sop"])])
def test_prompts_and_answers_are_joined_as_for_training(tmp_path: Path, generation: int, ids: list[str]) -> None:
    tokenizer = tokenizers.load(tokenizers.folder(tmp_path / "tokenizer", generation))
    special = tokenizer.convert_tokens_to_ids(ids)
    question, answer = (tokenizer.encode(text, add_special_tokens=False) for text in ("天气", "很好"))
    context = [*question, *special] if generation == 1 else [*special, *question]
    assert tokenizer("天气", "很好")["input_ids"] == [*context, *answer, tokenizer.eos_token_id]


def test_truncation_keeps_special_tokens(tmp_path: Path) -> None:
    tokenizer = tokenizers.load(tokenizers.folder(tmp_path / "tokenizer", 1))
    ids = tokenizer("今天的天气很好，我们去公园散步。", max_length=5, truncation=True)["input_ids"]
    assert len(ids) == 5
    assert ids[3:] == tokenizer.convert_tokens_to_ids(["[gMASK]", "<sop>"])


def test_a_vocabulary_out_of_all_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_files, "VOCABULARY_BYTES", 100)
    with pytest.raises(HarnessError, match=r"tokenizer\.model has"):
        tokenizer_files.checked(tokenizers.folder(tmp_path / "tokenizer", 2), is_trusted=False)
