"""Advertising copy written from attributes (ADGEN, Shao et al. 2019): attributes mentioned, and ChatGLM's scores.

A document's attributes are written `类型#上衣*颜色#白色`. THUDM/ChatGLM-6B's ptuning/main.py (401bf3a, lines 307-337)
scores each answer from 0 to 100 and rounds each score to four decimals; the mean over answers is not rounded. The
function `upstream` does the same, so the mean of its scores is the number that the script prints. The script fails on
an empty answer; here an empty answer scores 0. A `Line` is one line of the script's generated_predictions.txt.

Not here: the metrics before the rounding (`harness.metrics.text.overlap`), prompts and filters (`tasks/adgen`).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from harness.errors import HarnessError
from harness.metrics.text.overlap import bleu4_characters, rouge_jieba


class Attribute(NamedTuple):
    """One property of a product that the copy should mention."""

    kind: str
    """The name of the property, such as 颜色; empty if the source names no property."""
    value: str

    def __str__(self) -> str:
        return f"{self.kind}#{self.value}" if self.kind else self.value


class Mentions(NamedTuple):
    """The attributes that an advertising copy mentions, and those that it misses, in the order of the document."""

    mentioned: tuple[Attribute, ...]
    missed: tuple[Attribute, ...]

    @property
    def share(self) -> float:
        """The share of attributes that are mentioned; 1 if there are no attributes."""
        count = len(self.mentioned) + len(self.missed)
        return len(self.mentioned) / count if count else 1.0


class Scores(NamedTuple):
    """The four scores that ChatGLM-6B's script gives to one answer, 0 to 100, each rounded to four decimals."""

    rouge_1: float
    rouge_2: float
    rouge_l: float
    bleu_4: float


class Line(NamedTuple):
    """A line of generated_predictions.txt, which ChatGLM-6B's script writes."""

    labels: str
    """The reference text, cut to the length that ChatGLM-6B's script keeps."""
    predict: str
    """The answer of the model."""


def attributes(content: str) -> list[Attribute]:
    """Return the attributes in `content` (`类型#上衣*颜色#白色`), without those that have no value."""
    result = []
    for piece in content.split("*"):
        kind, mark, value = piece.partition("#")
        attribute = Attribute(kind.strip(), value.strip()) if mark else Attribute("", piece.strip())
        if attribute.value:
            result.append(attribute)
    return result


def mentions(copy: str, content: str) -> Mentions:
    """Return which attributes of `content` have their value literally in the text `copy`. Repeated ones count again.

    Paraphrases are missed (裙子 mentions 裙, 外套 does not mention 上衣). By this rule, the references of the
    validation split mention 86 % of their attributes.
    """
    expected = attributes(content)
    return Mentions(
        tuple(attribute for attribute in expected if attribute.value in copy),
        tuple(attribute for attribute in expected if attribute.value not in copy),
    )


def upstream(prediction: str, reference: str) -> Scores:
    """Return the scores that ChatGLM-6B's ptuning/main.py gives to one answer."""
    values = (*rouge_jieba(prediction, reference), bleu4_characters(prediction, reference))
    return Scores(*(round(100 * value, 4) for value in values))


def read_line(text: str) -> Line:
    """Parse `text`, one line of generated_predictions.txt. Raises HarnessError if it is not such a line."""
    try:
        content = json.loads(text)
        line = Line(content["labels"], content["predict"])
    except (ValueError, TypeError, KeyError, RecursionError):
        line = None
    if line is None or not all(isinstance(part, str) for part in line):
        raise HarnessError(
            f"{text[:60]!r} is not a line of generated_predictions.txt: each line is one JSON object with the two "
            'texts "labels" and "predict"'
        )
    return line


def sd_over_seeds(values: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of a score over random seeds; `values` has each document's scores, one per seed.

    The score of a seed is the mean over all its answers; the divisor is n - 1. NaN for a single seed. Raises
    HarnessError if some documents have more scores than others.
    """
    if len({len(scores) for scores in values}) > 1:
        raise HarnessError(
            "some documents have more answers than others, so the answers are not from the same seeds: score all"
        )
    means = [math.fsum(column) / len(values) for column in zip(*values, strict=True)]
    return statistics.stdev(means) if len(means) > 1 else math.nan
