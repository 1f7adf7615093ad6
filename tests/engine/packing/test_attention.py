"""Attention of grouped heads against transformers' own, which repeats keys and values for each head."""

from __future__ import annotations

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.engine.packing import attention
from tolerances import FP32_LOGLIKELIHOOD

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def inputs(heads: int, group: int, queries: int, value_size: int) -> Inputs:
    """Return queries, keys, values and a mask of two rows, of which the second is shorter."""
    generator = torch.Generator().manual_seed(heads + 10 * group + 100 * queries)
    keys = 7 + queries
    query = torch.randn(2, queries, heads * group, 16, generator=generator).transpose(1, 2)
    storage = torch.randn(2, heads, keys + 5, 16, generator=generator)
    values = torch.randn(2, heads, keys + 5, value_size, generator=generator)
    visible = torch.rand(2, 1, queries, keys, generator=generator) < 0.7
    visible[1, :, :, : keys // 2] = False
    visible[..., -1] = True
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    return query, storage[:, :, :keys], values[:, :, :keys], mask


class Grouped(torch.nn.Module):
    """Stands for a layer's attention module."""

    is_causal = True

    def __init__(self, group: int) -> None:
        super().__init__()
        self.num_key_value_groups = group


@pytest.mark.parametrize("value_size", [16, 8])
@pytest.mark.parametrize("queries", [1, 2, 5, attention.FEW_QUERIES + 1])
@pytest.mark.parametrize(("heads", "group"), [(1, 4), (3, 3), (2, 1)])
def test_grouped_heads_attend_as_repeated_ones(heads: int, group: int, queries: int, value_size: int) -> None:
    states = inputs(heads, group, queries, value_size)
    expected, _ = sdpa_attention_forward(Grouped(group), *states, scaling=0.3)
    result, weights = attention.attend(Grouped(group), *states, scaling=0.3)
    assert weights is None
    assert result.shape == expected.shape
    assert torch.allclose(result, expected, atol=FP32_LOGLIKELIHOOD, rtol=0)


def test_keys_and_values_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    original = torch.nn.functional.scaled_dot_product_attention

    def recorded(query: torch.Tensor, key: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        shapes.append(tuple(key.shape))
        return original(query, key, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    for queries in (2, attention.FEW_QUERIES + 1):
        attention.attend(Grouped(3), *inputs(2, 3, queries, 16))
    assert [shape[1] for shape in shapes] == [2, 2]


def test_without_a_mask_or_with_one_a_head_transformers_attends(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, values, mask = inputs(2, 3, 4, 16)
    calls: list[torch.Tensor | None] = []

    def recorded(module: object, query: object, key: object, value: object, mask: torch.Tensor | None, **_: object):
        calls.append(mask)

    monkeypatch.setattr(attention, "sdpa_attention_forward", recorded)
    for other_mask in (None, mask.expand(-1, 6, -1, -1)):
        attention.attend(Grouped(3), query, key, values, other_mask)
    assert len(calls) == 2


def test_the_registry_is_restored_after_an_error() -> None:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with attention.grouped():
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is attention.attend
    with pytest.raises(ZeroDivisionError), attention.grouped():
        assert 1 / 0
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


def test_a_mask_is_repeated_once_for_all_layers_of_a_kind() -> None:
    query, key, value, mask = inputs(3, 3, 5, 16)
    other = mask.flip(-1).clone()
    with attention.grouped():
        first = [attention.attend(Grouped(3), query, key, value, used, scaling=0.3)[0] for used in (mask, other) * 3]
        repetitions = [repeated for _, repeated in attention._LAST]
        assert len(repetitions) == 2
        again = attention._repeated(mask, 3)
        assert any(again is repeated for repeated in repetitions)
    assert attention._LAST == []
    for output, used in zip(first, (mask, other) * 3, strict=True):
        expected, _ = sdpa_attention_forward(Grouped(3), query, key, value, used, scaling=0.3)
        assert torch.allclose(output, expected, atol=FP32_LOGLIKELIHOOD, rtol=0)
