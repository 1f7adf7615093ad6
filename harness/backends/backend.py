"""The protocol of a backend, which scores continuations and generates text, in token ids.

Everything that implements the protocol (the engine on this machine, a cluster, a server) can answer every kind of
request in `harness.backends.request_kinds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.backends.encoding import Encoder
from harness.engine.decoding.thinking import Marks
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt


class Backend(Protocol):
    """What a kind of request needs from the model that answers the requests."""

    @property
    def encoder(self) -> Encoder:
        """The model's tokenizer."""

    @property
    def marks(self) -> Sequence[Marks]:
        """The marks between which the model writes its thoughts."""

    def leaves_open(self, prompt: str) -> bool:
        """Return whether `prompt` ends within a thought."""

    @property
    def max_length(self) -> int:
        """Context length in tokens."""

    def score(self, pairs: Sequence[Pair]) -> list[LogLikelihood]:
        """Return the log-likelihood of each pair's continuation after its context, in order."""

    def generate(self, prompts: Sequence[Prompt]) -> list[Generation]:
        """Return the generated continuation of each prompt, in order, thoughts included."""
