"""The part of an answer that stands where the prompt asks for it, and its end marks."""

from __future__ import annotations

import pytest

from harness.metrics.lawbench import framed


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[类别]侵权<eoa>", ["侵权"]),
        ("\n\n[类别] 侵权 <eoa>\n", ["侵权"]),
        ("【类别】：侵权[eoa]", ["侵权"]),
        ("类别是侵权", ["侵权"]),
        ("类别是否侵权", ["是否侵权"]),
        ("[类别]\n侵权", ["侵权"]),
        ("[类别]侵权<|im_end|>别的", ["侵权"]),
        ("[类别]侵权\n说明：别的", ["侵权"]),
        ("先说明。[类别]甲<eoa>[类别]乙</s>", ["甲", "乙"]),
        ("[类别]<eoa>", []),
        ("侵权<eoa>\n别的", ["侵权"]),
        ("侵权", ["侵权"]),
        ("一行\n又一行", []),
        ("", []),
    ],
)
def test_a_part_ends_at_an_end_mark_a_line_end_or_the_next_mark(text: str, parts: list[str]) -> None:
    assert framed.parts(text, "类别") == parts
