"""Adapters made to take all time and memory, or to make PEFT read or import something: refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.checkpoints import templates
from harness.checkpoints.adapters import limits
from harness.common import patterns
from harness.errors import HarnessError

FILE = Path("adapter_config.json")
NAMES = [f"base_model.model.model.layers.{i}.self_attn.q_proj" for i in range(40)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("r", 10**9),
        ("r", 2000),
        ("r", -1),
        ("r", "8"),
        ("r", 4.5),
        ("r", True),
        ("r", float("nan")),
        ("rank_pattern", {"q_proj": 10**9}),
        ("num_virtual_tokens", 10**9),
        ("qalora_group_size", 10**9),
        ("layers_to_transform", [10**9]),
        ("layers_to_transform", list(range(20_000))),
        ("target_modules", ["x"] * 200_001),
        ("rank_pattern", {"q_proj": float("inf")}),
        ("rank_pattern", {"q_proj": [True]}),
        ("init_lora_weights", "pissa_niter_1000000000"),
        ("trainable_token_indices", [1] * 1_000_001),
        ("layer_replication", [[0, 5000]]),
        ("base_model_name_or_path", "https://example.org/x"),
        ("base_model_name_or_path", "file:///etc/passwd"),
        ("base_model_name_or_path", "a\0b"),
        ("base_model_name_or_path", "a" * 5000),
        ("revision", "ftp://example.org"),
        ("tokenizer_name_or_path", "hf://x/y"),
        ("revision", "s3://bucket/x"),
        ("megatron_core", "os"),
        ("megatron_config", {"a": 1}),
        ("shadow_model", "org/name"),
        ("adapters", {"a": "org/name"}),
    ],
)
def test_a_setting_out_of_all_bounds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(HarnessError, match=name) as error:
        limits.check(FILE, {name: value}, None)
    assert len(str(error.value)) < 300


def test_usual_settings_pass() -> None:
    mapping = {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama.modeling_llama"}
    content = {"r": 64, "lora_alpha": 128, "megatron_core": "megatron.core", "auto_mapping": mapping, "revision": None}
    limits.check(FILE, {**content, "rank_pattern": {"q_proj": 8}, "layer_replication": [[0, 16], [8, 24]]}, None)


@pytest.mark.parametrize(
    "pattern",
    [r"(?:\p{L}\p{M}*|\p{M})+", "(.*)*x", "(a+)+$", r"(\w+\s?)*:", "((a*))*", "(?:[a-z]+){2,}", "(a{1,200})+"],
)
def test_a_repeat_inside_a_repeat_may_hang(pattern: str) -> None:
    assert patterns.may_hang(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.(q_proj|v_proj)",
        r"^(?!.*vision).*\.(?:q|k|v)_proj$",
        r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj)))",
        r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"\p{N}{1,3}(?=(?:\p{N}{3})*\b)",
        r" ?[^(\s|[.,!?…。，、।۔،])]+",
        r"\(\+\)\+",
        r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+|\p{N}",
    ],
)
def test_patterns_in_use_do_not_hang(pattern: str) -> None:
    assert not patterns.may_hang(pattern)


@pytest.mark.parametrize("pattern", ["(a*)*b", r"(\w|\w\w|\.)+!"])
def test_a_pattern_that_takes_for_ever_is_refused(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.templates, "is_quick", quick_in_a_tenth_of_a_second)
    config = SimpleNamespace(target_modules=pattern)
    with pytest.raises(HarnessError, match="takes for ever to match"):
        limits.require_quick_patterns(FILE, config, NAMES)
    limits.require_quick_patterns(FILE, SimpleNamespace(target_modules=r".*\.layers\.\d+\.(q|k)_proj"), NAMES)


IS_QUICK = templates.is_quick


def quick_in_a_tenth_of_a_second(pattern: str, names: list[str]) -> bool:
    return IS_QUICK(pattern, names, templates.Bounds(seconds=0.5))
