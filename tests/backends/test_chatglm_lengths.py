"""ChatGLM's prediction mode: what is cut of prompts and references, how much may follow, and seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness.backends import chatglm_lengths
from harness.backends.encoding import Encoder
from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.tasks.protocols import dialogues
from harness.tasks.protocols.chatglm_predict import Chunk
from support import tiny

LENGTHS = {"source": 64, "target": 62, "total": 129}
SAMPLED = {"until": [], "do_sample": True, "temperature": 0.95, "top_k": 50, "top_p": 0.7, "max_gen_toks": 128}
LONG = "春天的花开了，" * 30


def words(template: str = "$A <s> </s>") -> Any:
    """Return the tiny tokenizer with special tokens where ChatGLM-6B has [gMASK] and <sop>: behind the text."""
    from tokenizers.processors import TemplateProcessing

    made = tiny.tokenizer()
    ids = [(token, made.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    made.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=ids)
    return made


@pytest.mark.parametrize("template", ["$A <s> </s>", "<s> </s> $A", "<s> $A </s>", "$A"])
def test_a_prompt_is_cut_on_the_right_and_keeps_its_special_tokens(template: str) -> None:
    tokenizer = words(template)
    texts = ["", "花", LONG, LONG + "完"]
    found = chatglm_lengths.shortened(Encoder(tokenizer), texts, 64)
    tokenizer.truncation_side = "right"
    for text in texts:
        assert found[text] == tokenizer(text, truncation=True, max_length=64)["input_ids"]
        assert len(found[text]) <= 64
    assert len(found[LONG]) == 64


def test_of_a_conversation_the_question_that_is_asked_is_lost() -> None:
    tokenizer = words()
    for made in (dialogues.chatglm, dialogues.chatglm2):
        text = made("这是最后的问题", [("第一个问题" * 9, "第一个回答" * 9)])
        kept = tokenizer.decode(chatglm_lengths.shortened(Encoder(tokenizer), [text], 64)[text])
        assert kept.startswith(text[:12])
        assert kept.endswith("<s></s>")
        assert "最后" not in kept


def test_a_prompt_is_padded_to_the_longest_of_its_chunk() -> None:
    encoder = Encoder(words())
    prompts = ["花", "春天的花", LONG]
    lengths = [len(encoder.encode([text])[text]) for text in prompts]
    short, long = Chunk(tuple(prompts[:2])), Chunk(tuple(prompts))

    def asked(text: str, chunk: Chunk) -> chatglm_lengths.Asked:
        return chatglm_lengths.Asked.of(text, {"lengths": LENGTHS, "labels": "", "chunk": chunk})

    rooms = chatglm_lengths.rooms(encoder, [asked("花", long), asked("花", short), asked("春天的花", short)])
    assert [room.new_tokens for room in rooms] == [129 - 64, 129 - lengths[1], 129 - lengths[1]]
    assert [len(room.ids) for room in rooms] == [lengths[0], lengths[0], lengths[1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("model"), words(), initializer_range=0.1)


def opened(folder: Path, journal: Path | None = None, **how: Any) -> HarnessLM:
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder))))
    return HarnessLM(checkpoint, Journal(journal) if journal else None, **how)


PROMPTS = ["类型#裙", "颜色#红", "颜色#红*类型#裙", "类型#裙"]


def requests(prompts: list[str] = PROMPTS, labels: str = LONG, **changes: Any) -> list[Instance]:
    chunk = Chunk((*PROMPTS, LONG))
    how = {**SAMPLED, "lengths": LENGTHS, "labels": labels, "chunk": chunk, **changes}
    return [Instance("chatglm_predict", {}, (text, how), 0, ("t", i, 1)) for i, text in enumerate(prompts)]


def test_an_answer_is_upstreams_line_with_the_reference_cut_to_62_tokens(folder: Path) -> None:
    lm = opened(folder)
    for labels in (LONG, " 短的\n"):
        found = lm.chatglm_predict(requests(labels=labels))
        for line in found:
            record = json.loads(line)
            assert list(record) == ["labels", "predict"]
            assert line == json.dumps(record, ensure_ascii=False)
            ids = lm.tokenizer(labels, add_special_tokens=False)["input_ids"][:62]
            assert record["labels"] == lm.tokenizer.decode(ids).strip()
            assert record["predict"] == record["predict"].strip()
    assert len(lm.tokenizer(LONG, add_special_tokens=False)["input_ids"]) > 62


def test_as_many_tokens_follow_as_upstream_leaves_room_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = opened(folder)
    seen: list[Any] = []
    monkeypatch.setattr(lm, "_decode", lambda prompts: [seen.append(p) or "好" for p in prompts])
    lm.chatglm_predict(requests([LONG, "类型#裙"]))
    assert (len(seen[0].ids), seen[0].settings.max_tokens) == (64, 65)
    assert seen[1].settings == seen[0].settings
    assert (seen[0].settings.temperature, seen[0].settings.top_p, seen[0].settings.top_k) == (0.95, 0.7, 50)
    lm.chatglm_predict(requests(["类型#裙"], max_gen_toks=8))  # --max-gen-toks
    assert seen[2].settings.max_tokens == 8
    three = requests([LONG, "类型#裙"])
    for one in three:
        one.repeats = 3
    cost = lm.cost(three)
    assert (cost.requests, cost.generated_at_most) == (6, 6 * 65)


def test_seeds_differ_and_come_again_whatever_the_batch_and_the_order(folder: Path, tmp_path: Path) -> None:
    asked = [one for one in requests() for _ in range(3)]  # as lm-eval repeats a request
    found = opened(folder, tmp_path / "journal.sqlite").chatglm_predict(asked)
    for i in range(0, len(found), 3):
        assert len(set(found[i : i + 3])) == 3
    assert found[:3] == found[9:]  # the same prompt
    backwards = [one for one in reversed(requests()) for _ in range(3)]
    alone = opened(folder, batch_tokens=1).chatglm_predict(backwards)
    assert [alone[i : i + 3] for i in range(9, -1, -3)] == [found[i : i + 3] for i in range(0, 12, 3)]
    again = opened(folder, tmp_path / "journal.sqlite")
    assert again.chatglm_predict(asked) == found
    assert (again.work.tokens_fed, again.work.answered_from_journal) == (0, 12)
    assert opened(folder, seed=1).chatglm_predict(asked) != found
