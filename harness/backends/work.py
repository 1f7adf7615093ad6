"""How much work it took to answer requests, and a forecast of how much it will take.

Not here: the work itself (`harness.backends.local`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

from harness.backends.answer_text import AnswerText


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
    """Number of pairs and prompts answered from the journal."""
    tokens_fed: int = 0
    """Tokens of prompts and continuations that went through the model."""
    tokens_generated: int = 0
    """Number of tokens decoded."""
    truncated: int = 0
    """Number of requests that lost tokens on their left to fit into the context."""
    generations: int = 0
    """Number of generation requests answered, from the journal or not."""
    thoughts: int = 0
    """Number of generations that contain a thought (`harness.engine.decoding.thinking`)."""
    unfinished_thoughts: int = 0
    """Number of generations whose thought never ended, so that they have no answer."""
    empty_answers: int = 0
    """Number of generations that ended without one visible character."""
    cut_answers: int = 0
    """Number of generations that reached their limit of tokens before they ended."""
    answers_of_unknown_ending: int = 0
    """Number of recorded answers for which it is unknown whether they reached a limit."""

    def restore_counts(self, before: Work) -> None:
        """Count what was asked and answered as `before`; the time and the tokens that were spent since stay."""
        spent = ("scoring_seconds", "generation_seconds", "tokens_fed", "tokens_generated")
        for field in fields(self):
            if field.name not in spent:
                setattr(self, field.name, getattr(before, field.name))

    def count_answers(self, answers: Iterable[AnswerText]) -> None:
        """Count generated or recorded `answers` by how they ended."""
        for answer in answers:
            self.generations += 1
            self.thoughts += answer.has_thought
            self.unfinished_thoughts += answer.ending == "thought"
            self.empty_answers += answer.ending == "empty"
            self.cut_answers += answer.ending == "limit"
            self.answers_of_unknown_ending += answer.ending == "unknown"


class Cost(NamedTuple):
    """A forecast of work."""

    requests: int
    """Number of requests; each sample of a prompt counts."""
    tokens: int
    """Tokens of prompts and continuations that would go through the model."""
    generated_at_most: int
    """Tokens to generate if no answer ends early."""
