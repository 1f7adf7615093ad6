"""ChatGLM-6B's class answers as the published code does: alone, in batches, and where a pass continues a context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig

import tolerances
from harness.checkpoints.chatglm import positions
from harness.checkpoints.chatglm.model import ChatGLMConfig, ChatGLMForConditionalGeneration
from harness.checkpoints.root_cache import EMPTY, RootCache
from support import published_chatglm as chatglm

KINDS = tuple(chatglm.PREFIXES)
SOP, GMASK, MASK = 89, 86, 85


@pytest.fixture(scope="module")
def rows(data: Path) -> dict[str, Any]:
    return chatglm.golden(data, "chatglm-tiny.golden")


@pytest.fixture(scope="module")
def model(data: Path) -> ChatGLMForConditionalGeneration:
    return chatglm.first_generation(data)


def logits(model: Any, root: RootCache, *rows: list[int]) -> torch.Tensor:
    """Return the logits (B, T, V) of `rows`, padded on the right with zeros and without a mask, as in scoring."""
    longest = max(map(len, rows))
    with torch.inference_mode():
        output: torch.Tensor = root.forward(
            model, torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        ).logits
    return output


def check(row: dict[str, Any], result: torch.Tensor) -> None:
    """Check the logits (T, V) of a golden `row`."""
    ids = torch.tensor(row["input_ids"])
    close = {"rtol": 0, "atol": tolerances.GOLDEN_LOGITS}
    torch.testing.assert_close(result[-1], torch.tensor(row["logits_last"]), **close)
    torch.testing.assert_close(result.logsumexp(-1), torch.tensor(row["logsumexp"]), **close)
    logprobs = result.log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]
    torch.testing.assert_close(logprobs, torch.tensor(row["next_logprob"]), **close)
    assert result.argmax(-1).tolist() == row["argmax"]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_the_published_ones(kind: str, attention: str, rows: dict[str, Any], data: Path) -> None:
    model, root = chatglm.first_generation(data, attention), chatglm.prefix(data, "chatglm-tiny", kind)
    for row in rows[kind]:
        check(row, logits(model, root, row["input_ids"])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_right_changes_no_answer(kind: str, rows: dict[str, Any], model: Any, data: Path) -> None:
    together = logits(model, chatglm.prefix(data, "chatglm-tiny", kind), *(row["input_ids"] for row in rows[kind]))
    for row, result in zip(rows[kind], together, strict=True):
        check(row, result[: len(row["input_ids"])])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [False, True])
def test_generate_gives_the_published_tokens(
    kind: str, together: bool, rows: dict[str, Any], model: Any, data: Path
) -> None:
    root = chatglm.prefix(data, "chatglm-tiny", kind)
    for batch in [rows[kind]] if together else [[row] for row in rows[kind]]:
        assert generated(model, root, [row["input_ids"] for row in batch]) == [row["greedy"] for row in batch]


def generated(model: Any, root: RootCache, prompts: list[list[int]], **changes: Any) -> list[list[int]]:
    """Return twelve greedy tokens for each of the `prompts`, padded on the left with a mask, as in decoding."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    config = GenerationConfig(max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0, use_cache=True)
    with torch.inference_mode():
        output = model.generate(**{**root.prompts(ids, mask), **changes}, generation_config=config)
    return output[:, longest + root.length :].tolist()


def test_generate_takes_depths_from_its_caller(rows: dict[str, Any], model: Any, data: Path) -> None:
    root, batch = chatglm.prefix(data, "chatglm-tiny", "ptuning"), rows["ptuning"][:3]
    prompts = [row["input_ids"] for row in batch]
    longest = max(map(len, prompts))
    padding = [root.length + longest - len(prompt) for prompt in prompts]
    depths = torch.tensor([[0] * p + list(range(len(i))) for p, i in zip(padding, prompts, strict=True)])
    assert generated(model, root, prompts, position_ids=depths) == [row["greedy"] for row in batch]


@pytest.mark.parametrize("kind", ["base", "ptuning"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_codes_continue_a_context(kind: str, pieces: int, rows: dict[str, Any], model: Any, data: Path) -> None:
    root = chatglm.prefix(data, "chatglm-tiny", kind)
    ids = [*rows[kind][1]["input_ids"], *rows[kind][1]["greedy"]]
    context = positions.context(ids, model.config.special_ids)
    codes = [depth + (context.shift if depth >= context.length else 0) for depth in range(len(ids))]
    cache = root.start(1).get("past_key_values") or DynamicCache(config=model.config)
    parts, start = [], 0
    for end in [context.length + 1, *range(context.length + 1 + pieces, len(ids), pieces), len(ids)]:
        part = {"input_ids": ids[start:end], "position_ids": codes[start:end]}
        with torch.inference_mode():
            tensors = {name: torch.tensor([values]) for name, values in part.items()}
            parts.append(model(**tensors, past_key_values=cache, use_cache=True).logits[0])
        start = end
    whole = logits(model, root, ids)[0]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=tolerances.FP32_LOGLIKELIHOOD)


def test_a_mask_of_the_engine_and_codes_hold_two_texts_in_one_row(rows: dict[str, Any], model: Any) -> None:
    texts = [row["input_ids"] for row in rows["base"][:2]]
    contexts = [positions.context(ids, model.config.special_ids) for ids in texts]
    codes, visible = list[int](), torch.zeros(*[sum(map(len, texts))] * 2, dtype=torch.bool)
    for ids, context in zip(texts, contexts, strict=True):
        start = len(codes)
        codes += [depth + (context.shift if depth >= context.length else 0) for depth in range(len(ids))]
        own = torch.ones(len(ids), len(ids)).tril().bool()
        own[:, : context.length] = True
        visible[start : start + len(ids), start : start + len(ids)] = own
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[None, None]
    with torch.inference_mode():
        result = model(torch.tensor([[*texts[0], *texts[1]]]), mask, torch.tensor([codes])).logits[0]
    check(rows["base"][0], result[: len(texts[0])])
    check(rows["base"][1], result[len(texts[0]) :])


def test_only_the_context_sees_what_follows(rows: dict[str, Any], model: Any) -> None:
    ids = rows["base"][0]["input_ids"]
    before, sop = logits(model, EMPTY, ids)[0], ids.index(SOP)
    changed = logits(model, EMPTY, [*ids[:5], ids[5] + 1, *ids[6:]])[0]
    assert float((changed - before).abs().amax(-1).min()) > 0.01  # in every column, from the first on
    last = logits(model, EMPTY, [*ids[:-1], ids[-1] + 1])[0]
    assert torch.equal(last[:-1], before[:-1])
    assert sop == len(ids) - 3


def expected_positions(ids: list[int]) -> tuple[list[int], list[int]]:
    """Return both positions of each token, as `get_position_ids` of the published code defines them."""
    length = ids.index(SOP)
    mark = ids.index(GMASK) if GMASK in ids else ids.index(MASK)
    tail = len(ids) - length
    return [*range(length), *[mark] * tail], [*[0] * length, *range(1, tail + 1)]


@pytest.mark.parametrize(
    "ids",
    [
        [5, 6, GMASK, SOP, 7, 8],
        [5, MASK, 6, 9, SOP, 7, 8],
        [MASK, 5, GMASK, 6, SOP, 7],  # [gMASK] has precedence
        [GMASK, 5, GMASK, SOP, 7],  # the first of two
        [5, GMASK, SOP, 7, SOP, 8, 9],  # an answer may contain <sop>
        [GMASK, SOP],
    ],
)
def test_positions(ids: list[int]) -> None:
    special = positions.SpecialIds(SOP, GMASK, MASK)
    tensor = torch.tensor([[0, 0, *ids], [*ids, 0, 0]])
    attended = torch.tensor([[0, 0, *[1] * len(ids)], [*[1] * len(ids), 0, 0]])
    depths = (attended.cumsum(1) - 1).clamp(min=0)
    codes = positions.encode(tensor, depths, attended, special)
    for row in (codes[0, 2:], codes[1, :-2]):
        assert tuple(part.tolist() for part in positions.decode(row)) == expected_positions(ids)
    context = positions.context(ids, special)
    assert context == (ids.index(SOP), expected_positions(ids)[0][-1])
    shifted = [depth + (context.shift if depth >= context.length else 0) for depth in range(len(ids))]
    assert shifted == codes[0, 2:].tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [([5, 6, GMASK, 7], r"without <sop> \(89\)"), ([5, SOP, 6, GMASK], r"without \[gMASK\] \(86\) or \[MASK\] \(85\)")],
)
def test_ids_without_the_end_of_a_context_are_refused(ids: list[int], message: str, model: Any) -> None:
    with pytest.raises(ValueError, match=message):
        logits(model, EMPTY, [5, GMASK, SOP, 6], ids)
    with pytest.raises(ValueError, match=message):
        positions.context(ids, model.config.special_ids)


def test_a_pass_that_needs_codes_is_refused_without(model: Any) -> None:
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.tensor([[5, GMASK, SOP]]), past_key_values=cache)
        with pytest.raises(ValueError, match="without <sop>"):
            model(torch.tensor([[7]]), position_ids=torch.tensor([[3]]), past_key_values=cache)
        with pytest.raises(ValueError, match="needs codes"):
            model(torch.tensor([[5, GMASK, SOP]]), torch.zeros(1, 1, 3, 3), torch.arange(3)[None])
        with pytest.raises(ValueError, match="needs token ids"):
            model(inputs_embeds=torch.zeros(1, 3, 64))


def test_published_names_need_no_renaming(data: Path, tmp_path: Path, model: Any) -> None:
    published = chatglm.weights(data / "chatglm-golden" / "chatglm-tiny")
    names = {name for name in published if "inv_freq" not in name}
    assert set(model.state_dict()) == names
    model.save_pretrained(tmp_path)
    again, report = ChatGLMForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(torch.equal(tensor, published[name]) for name, tensor in again.state_dict().items())
    assert again.lm_head.weight is not again.transformer.word_embeddings.weight


def test_settings_have_both_names(data: Path) -> None:
    config = ChatGLMConfig(**chatglm.settings(data, "chatglm-tiny"))
    assert (config.num_hidden_layers, config.num_layers) == (3, 3)
    assert (config.max_position_embeddings, config.intermediate_size) == (256, 256)
    assert (config.head_dim, config.num_key_value_heads) == (16, 4)
    assert config.special_ids == (SOP, GMASK, MASK)
    assert config.eos_token_id == 90
    saved = config.to_dict()
    assert (saved["num_layers"], saved["inner_hidden_size"], saved["max_sequence_length"]) == (3, 256, 256)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({}, (130004, 130001, 130000)),
        ({"vocab_size": 150528, "bos_token_id": 150004, "eos_token_id": 150005}, (150004, 150001, 150000)),
        ({"vocab_size": 150528}, (150004, 150001, 150000)),
        ({"mask_token_id": 1, "gmask_token_id": 2, "bos_token_id": 3}, (3, 2, 1)),
    ],
)
def test_special_ids_of_both_vocabularies(stated: dict[str, int], expected: tuple[int, int, int]) -> None:
    config = ChatGLMConfig(**stated)
    assert config.special_ids == expected
    assert config.eos_token_id == expected[0] + 1


def test_the_real_size() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(ChatGLMConfig())
    parameters = sum(weight.numel() for weight in model.parameters())
    assert parameters - model.lm_head.weight.numel() == 6_173_286_400
    assert not list(model.buffers())


def test_one_position_for_each_token_is_refused() -> None:
    with pytest.raises(ValueError, match="position_encoding_2d"):
        ChatGLMForConditionalGeneration(ChatGLMConfig(position_encoding_2d=False, num_layers=1, vocab_size=8))
