"""Advertising copy from attributes (ADGEN, Shao et al. 2019): what it mentions of `类型#上衣*颜色#白色`; its scores.

THUDM/ChatGLM-6B's ptuning/main.py (401bf3a, lines 307-337) scores an answer on a scale of 100 and rounds to four
decimals, answer by answer; the mean over answers is not rounded. `upstream` does just that, so its mean is the number
that script prints. It stops at an empty answer; here that is 0. A line of its generated_predictions.txt is a `Line`.

Not here: the metrics before that rounding (`generation`), what is generated (`tasks/adgen`).
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
    """One thing that a copy is asked to say."""

    kind: str
    """Such as 颜色; empty where the source names none."""
    value: str

    def __str__(self) -> str:
        return f"{self.kind}#{self.value}" if self.kind else self.value


class Mentions(NamedTuple):
    """Which attributes a copy mentions, in the order they were given."""

    mentioned: tuple[Attribute, ...]
    missed: tuple[Attribute, ...]

    @property
    def share(self) -> float:
        """The share that is mentioned; 1 where nothing was asked: nothing was left out."""
        asked = len(self.mentioned) + len(self.missed)
        return len(self.mentioned) / asked if asked else 1.0


class Scores(NamedTuple):
    """Upstream's four, 0 to 100, each rounded to four decimals."""

    rouge_1: float
    rouge_2: float
    rouge_l: float
    bleu_4: float


class Line(NamedTuple):
    """A line of upstream's generated_predictions.txt."""

    labels: str
    """The reference, as far as upstream kept it."""
    predict: str


def attributes(content: str) -> list[Attribute]:
    """Return the attributes in `content`, `类型#上衣*颜色#白色`; without a value one asks for nothing."""
    found = []
    for piece in content.split("*"):
        kind, mark, value = piece.partition("#")
        one = Attribute(kind.strip(), value.strip()) if mark else Attribute("", piece.strip())
        if one.value:
            found.append(one)
    return found


def mentions(copy: str, content: str) -> Mentions:
    """Return which attributes of `content` have their value in `copy`, as written; one given twice counts twice.

    What is said in other words is missed (裙子 mentions 裙, 外套 does not mention 上衣): by this rule the references of
    the validation split mention 86 %.
    """
    asked = attributes(content)
    return Mentions(
        tuple(one for one in asked if one.value in copy), tuple(one for one in asked if one.value not in copy)
    )


def upstream(prediction: str, reference: str) -> Scores:
    """Return what upstream's script makes of one answer."""
    found = (*rouge_jieba(prediction, reference), bleu4_characters(prediction, reference))
    return Scores(*(round(100 * value, 4) for value in found))


def read_line(text: str) -> Line:
    """Return the line that `text` is; raise HarnessError if it is none."""
    try:
        found = json.loads(text)
        line = Line(found["labels"], found["predict"])
    except (ValueError, TypeError, KeyError, RecursionError):
        line = None
    if line is None or not all(isinstance(part, str) for part in line):
        raise HarnessError(
            f"{text[:60]!r} is no line of a generated_predictions.txt: each is one object with the two texts "
            '"labels" and "predict"'
        )
    return line


def sd_over_seeds(values: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of a score over seeds, of every answer's scores by seed.

    The score of a seed is the mean over all answers it gave; n - 1 is the divisor. NaN where there is one seed only.
    Raises HarnessError where some answers have more seeds than others.
    """
    if len({len(one) for one in values}) > 1:
        raise HarnessError("some documents have more answers than others, so they are not of the same seeds: score all")
    seeds = [math.fsum(column) / len(values) for column in zip(*values, strict=True)]
    return statistics.stdev(seeds) if len(seeds) > 1 else math.nan
