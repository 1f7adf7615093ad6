"""What a gate names beside numbers: answers all alike, abstentions, answers that cannot be read or break off.

Not here: what follows of a sign (`harness.verdicts.gate`).
"""

from __future__ import annotations

from typing import NamedTuple


class Sign(NamedTuple):
    """Something about a candidate's answers that a number may hide."""

    name: str
    text: str
    """One sentence, with its figures."""
