"""Documents of CLUE's inference tasks, and their requests by perplexity."""

from __future__ import annotations

from typing import Any

from harness.tasks.protocols.perplexity import Perplexity

__all__ = ["Perplexity", "labelled", "statements"]


def labelled(dataset: Any) -> Any:
    """Return the documents that annotators agreed on; the others' label is -1, `-` in CLUE's files."""
    return dataset.filter(lambda doc: doc["label"] in (0, 1, 2))


def statements(doc: dict[str, Any]) -> list[str]:
    """Return the whole texts of OpenCompass ppl_98dd6e: contradiction, entailment, and neutral in other words."""
    first, second = doc["sentence1"], doc["sentence2"]
    asked = f"阅读文章：{first}\n根据上文，回答如下问题： {second}？\n答："
    return [f"{asked}错", f"{asked}对", f"如果{first}为真，那么{second}也为真吗?可能"]
