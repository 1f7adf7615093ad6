"""How much work answering requests took, and a forecast of how much it will take.

Not here: the work itself (`harness.backends.local`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass
class Work:
    """The work done so far, as the manifest records it."""

    scoring_seconds: float = 0.0
    """Wall-clock seconds spent scoring."""
    generation_seconds: float = 0.0
    """Wall-clock seconds spent generating."""
    requests: int = 0
    """Number of pairs and prompts answered, from the journal or not."""
    answered_from_journal: int = 0
    """Number of those answered from the journal."""
    tokens_fed: int = 0
    """Tokens of prompts and continuations that went through the model."""
    tokens_generated: int = 0
    """Tokens decoded."""
    truncated: int = 0
    """Number of requests that lost tokens on their left to fit into the context."""
    generations: int = 0
    """Number of generation requests answered, from the journal or not."""
    thoughts: int = 0
    """Number of generations that contain a thought (`harness.engine.decoding.thinking`)."""
    unfinished_thoughts: int = 0
    """Number of generations whose thought never ended, so that they have no answer."""


class Cost(NamedTuple):
    """A forecast of work."""

    requests: int
    """Number of requests, samples of one prompt counted separately."""
    tokens: int
    """Tokens of prompts and continuations that would go through the model."""
    generated_at_most: int
    """Tokens to generate if no answer ends early."""
