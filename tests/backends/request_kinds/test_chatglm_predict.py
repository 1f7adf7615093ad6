"""ChatGLM's prediction script: how prompts and references are cut, how many tokens may follow, and seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness.backends.encoding import Encoder
from harness.backends.journal import Journal
from harness.backends.local import HarnessLM
from harness.backends.request_kinds import chatglm_predict
from harness.checkpoints import loading
from harness.checkpoints.reference import CheckpointReference
from harness.engine.requests import Generation
from harness.tasks.protocols.chatglm_predict import Chunk
from support import tiny

LENGTHS = {"source": 64, "target": 62, "total": 129}
SAMPLED = {"until": [], "do_sample": True, "temperature": 0.95, "top_k": 50, "top_p": 0.7, "max_gen_toks": 128}
LONG = "春天的花开了，" * 30
FIRST_TURN = ("第一个问题" * 9, "第一个回答" * 9)
CONVERSATIONS = {
    "ChatGLM-6B": "[Round 0]\n问：{}\n答：{}\n[Round 1]\n问：这是最后的问题\n答：".format(*FIRST_TURN),
    "ChatGLM2-6B": "[Round 1]\n\n问：{}\n\n答：{}\n\n[Round 2]\n\n问：这是最后的问题\n\n答：".format(*FIRST_TURN),
}


def tokenizer(template: str = "$A <s> </s>") -> Any:
    """Return the tiny tokenizer with special tokens where ChatGLM-6B has [gMASK] and <sop>: after the text."""
    from tokenizers.processors import TemplateProcessing

    words = tiny.tokenizer()
    ids = [(token, words.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    words.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=ids)
    return words


@pytest.mark.parametrize("template", ["$A <s> </s>", "<s> </s> $A", "<s> $A </s>", "$A"])
def test_a_prompt_is_cut_on_the_right_and_keeps_its_special_tokens(template: str) -> None:
    words = tokenizer(template)
    texts = ["", "花", LONG, LONG + "完"]
    ids = chatglm_predict.cut_texts(Encoder(words), texts, 64)
    words.truncation_side = "right"
    for text in texts:
        assert ids[text] == words(text, truncation=True, max_length=64)["input_ids"]
        assert len(ids[text]) <= 64
    assert len(ids[LONG]) == 64


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_long_conversation_loses_its_last_question(conversation: str) -> None:
    words = tokenizer()
    text = words.decode(chatglm_predict.cut_texts(Encoder(words), [conversation], 64)[conversation])
    assert text.startswith(conversation[:12])
    assert text.endswith("<s></s>")
    assert "最后" not in text


def test_a_prompt_is_padded_to_the_longest_of_its_chunk() -> None:
    encoder = Encoder(tokenizer())
    prompts = ["花", "春天的花", LONG]
    lengths = [len(encoder.encode([text])[text]) for text in prompts]
    short, long = Chunk(tuple(prompts[:2])), Chunk(tuple(prompts))

    def arguments(text: str, chunk: Chunk) -> chatglm_predict.PredictionArguments:
        return chatglm_predict.PredictionArguments.parse(text, {"lengths": LENGTHS, "labels": "", "chunk": chunk})

    cut = chatglm_predict.cut_prompts(
        encoder, [arguments("花", long), arguments("花", short), arguments("春天的花", short)]
    )
    assert [prompt.max_new_tokens for prompt in cut] == [129 - 64, 129 - lengths[1], 129 - lengths[1]]
    assert [len(prompt.ids) for prompt in cut] == [lengths[0], lengths[0], lengths[1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("model"), tokenizer(), initializer_range=0.1)


def load_lm(folder: Path, journal: Path | None = None, **options: Any) -> HarnessLM:
    checkpoint = loading.load(loading.locate(CheckpointReference(str(folder))))
    return HarnessLM(checkpoint, Journal(journal) if journal else None, **options)


PROMPTS = ["类型#裙", "颜色#红", "颜色#红*类型#裙", "类型#裙"]


def requests(prompts: list[str] = PROMPTS, labels: str = LONG, **changes: Any) -> list[Instance]:
    chunk = Chunk((*PROMPTS, LONG))
    arguments = {**SAMPLED, "lengths": LENGTHS, "labels": labels, "chunk": chunk, **changes}
    return [Instance("chatglm_predict", {}, (text, arguments), 0, ("t", i, 1)) for i, text in enumerate(prompts)]


def test_an_answer_is_upstreams_line_with_the_reference_cut_to_62_tokens(folder: Path) -> None:
    lm = load_lm(folder)
    for labels in (LONG, " 短的\n"):
        for line in lm.chatglm_predict(requests(labels=labels)):
            record = json.loads(line)
            assert list(record) == ["labels", "predict"]
            assert line == json.dumps(record, ensure_ascii=False)
            ids = lm.tokenizer(labels, add_special_tokens=False)["input_ids"][:62]
            assert record["labels"] == lm.tokenizer.decode(ids).strip()
            assert record["predict"] == record["predict"].strip()
    assert len(lm.tokenizer(LONG, add_special_tokens=False)["input_ids"]) > 62


def test_as_many_tokens_follow_as_upstream_leaves_room_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load_lm(folder)
    generated: list[Any] = []
    monkeypatch.setattr(
        lm, "generate", lambda prompts: [generated.append(p) or Generation("好", is_cut=False) for p in prompts]
    )
    lm.chatglm_predict(requests([LONG, "类型#裙"]))
    assert (len(generated[0].ids), generated[0].settings.max_tokens) == (64, 65)
    assert generated[1].settings == generated[0].settings
    settings = generated[0].settings
    assert (settings.temperature, settings.top_p, settings.top_k) == (0.95, 0.7, 50)
    lm.chatglm_predict(requests(["类型#裙"], max_gen_toks=8))  # --max-gen-toks
    assert generated[2].settings.max_tokens == 8
    repeated = requests([LONG, "类型#裙"])
    for request in repeated:
        request.repeats = 3
    cost = lm.cost(repeated)
    assert (cost.requests, cost.generated_at_most) == (6, 6 * 65)


def test_samples_differ_and_are_reproduced_in_any_batch_and_order(folder: Path, tmp_path: Path) -> None:
    repeated = [request for request in requests() for _ in range(3)]  # as lm-eval repeats a request
    answers = load_lm(folder, tmp_path / "journal.sqlite").chatglm_predict(repeated)
    for i in range(0, len(answers), 3):
        assert len(set(answers[i : i + 3])) == 3
    assert answers[:3] == answers[9:]  # the same prompt
    backwards = [request for request in reversed(requests()) for _ in range(3)]
    in_small_batches = load_lm(folder, batch_tokens=1).chatglm_predict(backwards)
    assert [in_small_batches[i : i + 3] for i in range(9, -1, -3)] == [answers[i : i + 3] for i in range(0, 12, 3)]
    resumed = load_lm(folder, tmp_path / "journal.sqlite")
    assert resumed.chatglm_predict(repeated) == answers
    assert (resumed.work.tokens_fed, resumed.work.answered_from_journal) == (0, 12)
    assert load_lm(folder, seed=1).chatglm_predict(repeated) != answers
