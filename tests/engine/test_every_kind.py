"""Every kind of checkpoint answers as PEFT and transformers do with one prompt at a time.

All kinds are tested on eight architectures, and one kind of each family on architectures with other layers or walks.
Batches of one row, of about eight and of all rows must agree with the libraries: log-likelihoods within the project's
tolerance, greedy flags and greedy texts exactly.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.backends.local import HarnessLM
from harness.checkpoints import loading
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.reference import parse
from harness.engine import scoring
from harness.engine.decoding import plain
from harness.engine.decoding.settings import Settings
from harness.engine.requests import LogLikelihood, Pair, Prompt
from harness.errors import HarnessError
from support import architectures
from support.architectures import ARCHITECTURES, OTHERS, Oracle
from tolerances import BF16_LOGLIKELIHOOD, FP32_LOGLIKELIHOOD

NEW_TOKENS = 6
PROBED = ("walk_choice", "skippable", "padding")
BATCHES = {"one row": 1, "about eight": 8 * 34, "all": 10_000}
EVERY = [("base", None), *((method, None) for method in architectures.ADAPTERS)]
ON_QUANTIZED = [
    *(("base", quantize) for quantize in ("int8", "int4", "fp4")),
    *((method, "int8") for method in ("lora", "modules_to_save", "prefix")),
    *((method, "int4") for method in ("lora", "dora", "prefix", "prompt", "ptuning")),
]
GRID = [(name, *kind) for name in ARCHITECTURES for kind in (*EVERY, *ON_QUANTIZED)]
# Every kind once, and every architecture with two or three kinds; `make oracle` runs the rest.
SAMPLE = GRID[::8]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, Path | None]]:
    """Return the folders (base, adapter) of an architecture and kind, each created once."""
    root, created = tmp_path_factory.mktemp("architectures"), {}

    def folder(name: str, kind: str) -> tuple[Path, Path | None]:
        if (name, "base") not in created:
            created[name, "base"] = architectures.base(root / name, name)
        base = created[name, "base"]
        if (name, kind) not in created:
            created[name, kind] = architectures.adapter(root / f"{name}-{kind}", base, name, kind)
        return base, None if kind == "base" else created[name, kind]

    return folder


def pairs_of_all_lengths() -> list[Pair]:
    """Return pairs of very different lengths, some with a common context, some longer than sliding windows."""
    chance = random.Random(0)
    draw: Callable[[int], list[int]] = lambda n: chance.choices(range(3, 380), k=n)  # noqa: E731
    shared = draw(21)
    return [
        *(Pair(shared, [letter]) for letter in (40, 41, 42, 43)),
        *(Pair(draw(n), draw(m)) for n, m in ((1, 1), (2, 7), (9, 3), (30, 1), (33, 6), (16, 2))),
        Pair(shared, draw(5)),
    ]


def prompts() -> list[list[int]]:
    chance = random.Random(1)
    return [chance.choices(range(3, 380), k=n) for n in (1, 4, 13, 26, 31)]


def check(folders: Any, name: str, kind: str, quantize: str | None) -> None:
    """Assert that answers equal the libraries' in all `BATCHES`."""
    base, adapter = folders(name, kind)
    reference = f"{base}" + (f",adapter={adapter}" if adapter else "") + (f",quantize={quantize}" if quantize else "")
    checkpoint = loading.load(loading.locate(parse(reference)))
    oracle = Oracle(base, adapter, quantize)
    pairs = pairs_of_all_lengths()
    expected = [oracle.logprob(*pair[:2]) for pair in pairs]
    greedy = Settings(max_tokens=NEW_TOKENS)
    texts = [
        checkpoint.tokenizer.decode(oracle.greedy(ids, NEW_TOKENS, checkpoint.eos_ids), skip_special_tokens=True)
        for ids in prompts()
    ]
    probed: dict[str, Any] = {}
    for batch, tokens in BATCHES.items():
        lm = HarnessLM(checkpoint, batch_tokens=tokens)
        lm.engine.__dict__ |= probed  # what a checkpoint supports does not depend on the size of batches
        for pair, (logprob, is_greedy), score in zip(pairs, expected, lm.score(pairs), strict=True):
            assert abs(score.logprob - logprob) <= FP32_LOGLIKELIHOOD, (batch, len(pair.context))
            assert score.greedy == is_greedy, (batch, len(pair.context))
        generations = lm.generate([Prompt(ids, greedy) for ids in prompts()])
        assert [generation.text for generation in generations] == texts, batch
        probed = {name: value for name, value in vars(lm.engine).items() if name in PROBED}


@pytest.mark.sampled(7)
@pytest.mark.parametrize(("name", "kind", "quantize"), SAMPLE)
def test_it_answers_as_the_libraries_do(folders: Any, name: str, kind: str, quantize: str | None) -> None:
    check(folders, name, kind, quantize)


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "kind", "quantize"), GRID)
def test_all_answer_as_the_libraries_do(folders: Any, name: str, kind: str, quantize: str | None) -> None:
    check(folders, name, kind, quantize)


# Not possible: learned tokens need equal keys and values in all layers, and the libraries themselves do not support
# these two architectures in 8 bits, or Mamba in 4.
NO_KEYS = ("qwen3_next", "qwen3_5", "mamba")
LEFT_OUT = {
    *(("prefix", None, name) for name in (*NO_KEYS, "deepseek_v3")),
    *(("ptuning", None, name) for name in NO_KEYS),
    *(("lora", "int8", name) for name in ("deepseek_v3", "mamba")),
    ("base", "int4", "mamba"),
}
KINDS = (("lora", None), ("ptuning", None), ("prefix", None), ("lora", "int8"), ("base", "int4"))
SUPPORTED = [(name, *kind) for name in OTHERS for kind in KINDS if (*kind, name) not in LEFT_OUT]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "kind", "quantize"), SUPPORTED[::3])
def test_on_any_walk_it_answers_as_the_libraries_do(folders: Any, name: str, kind: str, quantize: str | None) -> None:
    check(folders, name, kind, quantize)


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "kind", "quantize"), [case for i, case in enumerate(SUPPORTED) if i % 3])
def test_on_any_walk_all_others_answer_as_the_libraries_do(
    folders: Any, name: str, kind: str, quantize: str | None
) -> None:
    check(folders, name, kind, quantize)


@pytest.mark.parametrize("kind", ["ptuning", "prefix"])
@pytest.mark.parametrize("name", ["qwen3_next", "qwen3_5"])
def test_learned_tokens_before_recurrent_layers_are_an_error(folders: Any, name: str, kind: str) -> None:
    base, adapter = folders(name, kind)
    with pytest.raises(HarnessError, match="is not supported; try a LoRA"):
        loading.load(loading.locate(parse(f"{base},adapter={adapter}")))


def test_learned_tokens_before_a_model_without_keys_are_an_error(folders: Any, tmp_path: Path) -> None:
    """PEFT does not create such an adapter for Mamba, so this one is written by hand."""
    base, _ = folders("mamba", "base")
    config = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 5, "token_dim": 64}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))
    save_file({"prompt_embeddings": torch.ones(5, 64)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(HarnessError, match=r"prompt learning on a mamba, .* is not supported; try a LoRA"):
        loading.load(loading.locate(parse(f"{base},adapter={tmp_path}")))


def test_the_samples_contain_every_kind_and_architecture() -> None:
    assert {name for name, *_ in SUPPORTED[::3]} == set(OTHERS)
    assert {tuple(kind) for _, *kind in SUPPORTED[::3]} == set(KINDS)
    assert {name for name, *_ in SAMPLE} == set(ARCHITECTURES)
    assert Counter(tuple(kind) for _, *kind in SAMPLE) == dict.fromkeys((*EVERY, *ON_QUANTIZED), 1)


# --- int8 in batches


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a LLaMA with channels whose activations are far beyond the library's threshold of 6."""
    folder = architectures.base(tmp_path_factory.mktemp("outliers") / "base", "llama")
    file = folder / "model.safetensors"
    weights = {key: value.clone() for key, value in load_file(file).items()}
    for key, weight in weights.items():
        if "layernorm" in key:
            weight[[5, 17]] = 40.0
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def effect_of_a_batch(checkpoint: Checkpoint) -> float:
    """Return by how much a request's log-likelihood changes if other requests share its batch."""
    pairs = pairs_of_all_lengths()
    alone = [score.logprob for pair in pairs for score in score_in_one_batch(checkpoint, [pair])]
    together = score_in_one_batch(checkpoint, pairs)
    return max(abs(a - b.logprob) for a, b in zip(alone, together, strict=True))


def score_in_one_batch(checkpoint: Checkpoint, pairs: list[Pair]) -> list[LogLikelihood]:
    """Return the scores of `pairs` from one batch, as the engine computes them if rows may share a batch."""
    scores: dict[int, LogLikelihood] = {}
    for batch in scoring.plan(pairs, checkpoint.max_length, 10_000):
        scores.update(scoring.score(checkpoint.model, batch, pairs, checkpoint.device, checkpoint.root))
    return [scores[i] for i in range(len(pairs))]


def test_int8_does_not_pick_outliers_over_the_batch_as_the_library_does(outliers: Path) -> None:
    checkpoint = loading.load(loading.locate(parse(f"{outliers},quantize=int8")))
    with_our_threshold = effect_of_a_batch(checkpoint)
    for module in checkpoint.model.modules():
        if hasattr(module, "state") and hasattr(module.state, "threshold"):
            module.state.threshold = 6.0
    with_their_threshold = effect_of_a_batch(checkpoint)
    assert with_our_threshold <= FP32_LOGLIKELIHOOD
    assert with_their_threshold > 10 * FP32_LOGLIKELIHOOD


@pytest.mark.parametrize("tokens", BATCHES.values(), ids=BATCHES)
def test_int8_with_outliers_does_not_depend_on_batch_or_order(outliers: Path, tokens: int) -> None:
    lm = HarnessLM(loading.load(loading.locate(parse(f"{outliers},quantize=int8"))), batch_tokens=tokens)
    pairs = pairs_of_all_lengths()
    alone = [answer for pair in pairs for answer in lm.score([pair])]
    assert lm.score(pairs) == alone
    assert lm.score(pairs[::-1])[::-1] == alone


@pytest.mark.parametrize("kind", ["base", "prefix", "lora"])
def test_int8_in_a_batch_of_rows_of_one_length_answers_as_alone(folders: Any, kind: str) -> None:
    """Equal within a fraction of one rounding step (4e-4 of a log-likelihood), so no rounding has changed."""
    base, adapter = folders("llama", kind)
    option = f",adapter={adapter}" if adapter else ""
    checkpoint = loading.load(loading.locate(parse(f"{base}{option},quantize=int8")))
    chance = random.Random(2)
    pairs = [Pair(chance.choices(range(3, 380), k=19), chance.choices(range(3, 380), k=3)) for _ in range(40)]
    lm = HarnessLM(checkpoint, batch_tokens=20 * 21)
    for pair, score in zip(pairs, lm.score(pairs), strict=True):
        (alone,) = lm.score([pair])
        assert abs(score.logprob - alone.logprob) <= FP32_LOGLIKELIHOOD / 10
        assert score.greedy == alone.greedy
    requests = [Prompt(pair.context, Settings(max_tokens=NEW_TOKENS)) for pair in pairs[:12]]
    assert lm.generate(requests) == [text for prompt in requests for text in lm.generate([prompt])]


@pytest.mark.parametrize("kind", ["prompt", "ptuning"])
def test_learned_embeddings_on_int8_do_not_depend_on_the_batch_and_are_close_to_peft(folders: Any, kind: str) -> None:
    """int8 rounds activations, so a difference in the last bit, caused by virtual tokens, may change a rounding."""
    base, adapter = folders("llama", kind)
    checkpoint = loading.load(loading.locate(parse(f"{base},adapter={adapter},quantize=int8")))
    oracle, pairs = Oracle(base, adapter, "int8"), pairs_of_all_lengths()
    alone = [answer for pair in pairs for answer in HarnessLM(checkpoint).score([pair])]
    assert HarnessLM(checkpoint, batch_tokens=10_000).score(pairs) == alone
    for score, pair in zip(alone, pairs, strict=True):
        assert abs(score.logprob - oracle.logprob(*pair[:2])[0]) <= BF16_LOGLIKELIHOOD * abs(score.logprob)


# --- PEFT's own batches


def test_pefts_own_batched_generation_of_prompt_tuning_is_wrong_and_ours_is_not(folders: Any) -> None:
    """PEFT puts virtual tokens left of the padding (github.com/huggingface/peft/issues/1093): hence the root cache."""

    base, adapter = folders("qwen2", "prompt")
    checkpoint, oracle = loading.load(loading.locate(parse(f"{base},adapter={adapter}"))), Oracle(base, adapter)
    rows, tokens = prompts(), 8
    alone = [oracle.greedy(row, tokens, ()) for row in rows]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    theirs = oracle.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, pad_token_id=0, eos_token_id=None
    )[:, -tokens:].tolist()
    assert theirs != alone
    batch = [Prompt(row, Settings(max_tokens=tokens)) for row in rows]
    ours = plain.decode(checkpoint.model, checkpoint.tokenizer, batch, (), 256, 0, checkpoint.root)
    expected = [checkpoint.tokenizer.decode(answer, skip_special_tokens=True) for answer in alone]
    assert [continuation.text for continuation in ours] == expected
