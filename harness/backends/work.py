"""What answering requests took, and what it would take.

Not here: doing it (`harness.backends.local`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass
class Work:
    """What has been done so far, for the manifest."""

    scoring_seconds: float = 0.0
    generation_seconds: float = 0.0
    requests: int = 0
    answered_from_journal: int = 0
    tokens_fed: int = 0
    tokens_generated: int = 0
    truncated: int = 0
    """Prompts that lost tokens on their left to fit the context."""
    generations: int = 0
    """Generation requests answered, from the journal or not."""
    thoughts: int = 0
    """Generations that thought aloud (`harness.engine.decoding.thinking`)."""
    unfinished_thoughts: int = 0
    """Those of them that never came to an answer."""


class Cost(NamedTuple):
    """Work that has not been done yet."""

    requests: int
    tokens: int
    """Tokens of prompts and continuations that would go through the model."""
    generated_at_most: int
    """Tokens to generate if no answer stops early."""
