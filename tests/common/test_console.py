"""Markup that shows a text as it is, as rich escapes it."""

from __future__ import annotations

import random

from rich import markup

from harness.common import console


def test_escape_is_richs() -> None:
    chance = random.Random(0)
    for _ in range(2_000):
        text = "".join(chance.choices("\\\\[]a/# @x", k=chance.randrange(12)))
        assert console.escape(text) == markup.escape(text)
