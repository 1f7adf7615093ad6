"""CLUE's inference tasks: documents, statements, and the protocol by perplexity."""

from __future__ import annotations

from typing import Any

from harness.tasks.protocols.perplexity import Perplexity

__all__ = ["Perplexity", "labelled", "statements"]


def labelled(dataset: Any) -> Any:
    """Return the documents with a label; it is -1 (`-` in CLUE's files) if annotators did not agree."""
    return dataset.filter(lambda doc: doc["label"] in (0, 1, 2))


def statements(doc: dict[str, Any]) -> list[str]:
    """Return the texts that OpenCompass ppl_98dd6e scores: contradiction, entailment, neutral (worded differently)."""
    first, second = doc["sentence1"], doc["sentence2"]
    question = f"阅读文章：{first}\n根据上文，回答如下问题： {second}？\n答："
    return [f"{question}错", f"{question}对", f"如果{first}为真，那么{second}也为真吗?可能"]
