"""Questions of a user's own test set, whatever their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import HarnessError
from harness.tasks.leaks import OtherQuestions
from harness.tasks.protocols.base import FromFile


class OwnQuestions(FromFile):
    """Questions whose few-shot examples, drawn from the same file, never ask the evaluated question."""

    def __init__(self, config: dict[str, Any], documents: Sequence[dict[str, Any]]) -> None:
        super().__init__(config, documents)
        self.sampler = OtherQuestions(list(self.fewshot_docs()))

    def require_examples(self, count: int) -> None:
        """Raise HarnessError if a document has fewer than `count` examples that ask another question."""
        fewest, document = self.sampler.fewest()
        if fewest < count:
            prompt = " ".join(str(document["prompt"]).split())[:50]
            raise HarnessError(
                f"task {self.config.task} has {fewest} few-shot examples that ask another question than '{prompt}', "
                f"not {count}: lower --num-fewshot"
            )
