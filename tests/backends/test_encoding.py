"""Encoding against lm-eval's HFLM, whose splits of context and continuation it must reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.backends.encoding import Encoder
from harness.errors import HarnessError
from support import tiny

pieces = st.sampled_from(
    ["答案：", "A", " A", "B. ", "\n", "  ", "Question", "</s>", "<s>", "é", "一", "12", "\u3000", "."]
)
texts = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=12)


@pytest.fixture(scope="module")
def hflm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(tiny.llama(tmp_path_factory.mktemp("model"))), device="cpu", dtype="float32")


@given(text=texts)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_text_is_encoded_as_lm_eval_does(hflm: Any, text: str) -> None:
    encoder = Encoder(hflm.tokenizer)
    assert encoder.encode([text])[text] == hflm.tok_encode(text)
    assert encoder.encode([text], special=False)[text] == hflm.tok_encode(text, add_special_tokens=False)


@given(context=texts, continuation=texts)
@settings(
    deadline=None,
    max_examples=settings.default.max_examples * 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_pair_is_split_where_lm_eval_splits_it(hflm: Any, context: str, continuation: str) -> None:
    if not context.strip() or not continuation:
        return  # covered by other tests
    expected = hflm._encode_pair(context, continuation)
    pair = Encoder(hflm.tokenizer).pairs([(context, continuation)])[0]
    if expected[1]:  # lm-eval cannot score a continuation that was merged into the context's last token
        assert (pair.context, pair.continuation) == expected


def test_an_existing_bos_is_not_doubled(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    words._tokenizer.post_processor = _bos_first(words)
    encoder = Encoder(words)
    ids = encoder.encode(["hello", "<s>hello"])
    assert ids["hello"] == ids["<s>hello"]
    assert ids["hello"].count(words.bos_token_id) == 1


def test_an_empty_context_becomes_the_prefix_token() -> None:
    words = tiny.tokenizer()
    (pair,) = Encoder(words).pairs([("", "A")])
    assert pair.context == [words.bos_token_id]
    assert pair.continuation == words.encode("A", add_special_tokens=False)


def test_spaces_at_the_end_of_a_context_belong_to_the_continuation() -> None:
    words = tiny.tokenizer()
    (moved,), (plain,) = (Encoder(words).pairs([pair]) for pair in (("Answer: ", "A"), ("Answer:", " A")))
    assert moved == plain


def test_each_distinct_text_is_encoded_once() -> None:
    words = _RecordingTokenizer(tiny.tokenizer())
    Encoder(words).pairs([("a question", letter) for letter in "ABCD" * 3])
    assert sorted(words.texts) == sorted(["a question", *(f"a question{letter}" for letter in "ABCD")])


@pytest.mark.parametrize(("context", "continuation"), [("context", ""), ("", "")])
def test_an_empty_continuation_is_an_error(context: str, continuation: str) -> None:
    with pytest.raises(HarnessError, match="empty continuation"):
        Encoder(tiny.tokenizer()).pairs([(context, continuation)])


def test_an_empty_context_without_bos_and_eos_is_an_error() -> None:
    words = tiny.tokenizer()
    words.bos_token = words.eos_token = None
    with pytest.raises(HarnessError, match="neither a BOS nor an EOS"):
        Encoder(words).pairs([("", "A")])


def test_the_last_token_is_scored_if_the_continuation_is_merged_into_the_context() -> None:
    class Merging:
        bos_token_id, eos_token_id = 0, 1

        def decode(self, token: int) -> str:
            return "<s>"

        def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
            # "ab" is one token, and so is "abc": the continuation adds no token.
            return {"input_ids": [[7, 8] if text.startswith("xab") else [9] for text in texts]}

    (pair,) = Encoder(Merging()).pairs([("xab", "c")])
    assert (pair.context, pair.continuation) == ([7], [8])


def _bos_first(words: Any) -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(single="<s> $A", special_tokens=[("<s>", words.bos_token_id)])


class _RecordingTokenizer:
    """A tokenizer that records the texts it encodes."""

    def __init__(self, words: Any) -> None:
        self._words, self.texts = words, []

    def __call__(self, texts: list[str], **options: Any) -> Any:
        self.texts += texts
        return self._words(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._words, name)
