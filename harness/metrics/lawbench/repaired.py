"""LawBench's metrics where upstream's read what was not said, or not what was: repaired, beside those of `lawbench`.

What each repairs:

- 1-2, 3-6, 2-8: a letter within a Latin word, the A of "ABS", is no option.
- 2-1: what a chat template puts behind the sentence is no part of it. Upstream reads the sentence in the prompt as it
  was rendered: of the 22.6 % published for Qwen-7B-Chat, 10 are for leaving out an <|im_end|>.
- 2-6: entities may be named as the references name them, on one line between semicolons, of which upstream reads all
  as the first one's value: there a copy of the references scores 63 %. Several entities of a type all count, those near
  the end, too, and answers without any are counted as abstentions.
- 2-10: words are matched to those of the reference so that most of them hit, in any order; a full-width semicolon, a
  comma or a line end is as good as the semicolon.
- 3-1: every article counts, not the first of each piece between 、; 第67条第一款 is article 67.
- 3-3: a charge within the name of another, the 诈骗 of 合同诈骗, is not charged; what the reference charges with is
  looked for even where it is none of the 189 charges, as in 18 of the 500 references.
- 3-4, 3-5: "1年6个月" is eighteen months, as is "一年半", and 2015年3月 is a date.
- 3-7: "3,723.50元", "3千元" and "0.3万元" are numbers.

All else is `lawbench`'s: scores, abstentions, what is left out of an average. Nothing is published to compare with.

Not here: tasks in which nothing is to be repaired, and questions of taste, such as which term of a reasoned answer is
meant, or an answer that lists every amount it read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from decimal import Decimal

import numpy as np

from harness.metrics.law.strict_citations import numeral
from harness.metrics.lawbench import published
from harness.metrics.lawbench.cherrant import UNKNOWN, Counts, Likeness
from harness.metrics.lawbench.labels import CHARGES
from harness.metrics.lawbench.published import ENTITIES, Judge, Judged, character_f1, months_apart
from harness.metrics.lawbench.text import arabic, behind, f1, inner, integer


def letter(prediction: str, reference: str) -> Judged:
    """1-2 and 3-6: one of A to D."""
    return _letters(prediction, behind("正确答案:", reference, "ABCD"), "ABCD")


def argument(prediction: str, reference: str) -> Judged:
    """2-8: one of A to E."""
    return _letters(prediction, behind("[正确答案]", reference, "ABCDE"), "ABCDE")


_TEMPLATE = re.compile(r"(?:<[!-;=?-~]+>|###[^#\n]*)\Z")


def without_template(prompt: str) -> str:
    """Return the prompt of 2-1 without what a chat template puts behind its sentence: <|im_end|>, <eoh>, ### 回答:."""
    before, mark, rest = prompt.partition(published.SENTENCE)
    sentence, end, after = rest.partition("\n")
    return f"{before}{mark}{_TEMPLATE.sub('', sentence)}{end}{after}"


def proofreading(prompt: str, prediction: str, reference: str, likeness: Likeness = UNKNOWN) -> Counts:
    """2-1: ChERRANT's edits of the sentence alone."""
    return published.proofreading(without_template(prompt), prediction, reference, likeness)


def entities(prediction: str, reference: str) -> Judged:
    """2-6: soft F1 of all that is said of each type."""
    wanted, said = published.wanted_entities(reference), _entities(prediction)
    if not wanted:
        return Judged(float(not said))
    hits = math.fsum(character_f1(value, wanted[kind]) for kind, value in said.items() if kind in wanted)
    return Judged(_soft_f1(hits, len(said), len(wanted)), not said)


def triggers(prediction: str, reference: str) -> Judged:
    """2-10: soft F1 of words, each matched to one of the reference so that the sum is greatest."""
    said, wanted = (
        [word for word in re.split(r"[;；,，、\n]", text) if any(map(str.isalnum, word))]
        for text in (prediction, reference)
    )
    return Judged(_soft_f1(_matched(said, wanted), len(said), len(wanted)), not said)


_NUMERAL = re.compile(r"[0-9０-９]+|[零〇一二两三四五六七八九十百千]+")
_JOINED = re.compile(r"\s*[、,，和及与或]\s*(第?)\s*")
_CLOSED = re.compile(r"\s*条")


def articles(prediction: str, reference: str) -> Judged:
    """3-1: F1 of article numbers.

    Those before a 条, several joined as in 第234、275条; where there is none, the numbers that upstream reads.
    """
    wanted = {int(one) for one in inner("法条:刑法第", reference, "条").replace("条", "").split("、")}
    said = _articles(prediction) or published.article_numbers(prediction)
    return Judged(f1(said, wanted), not said)


def charges(prediction: str, reference: str) -> Judged:
    """3-3: F1 of the charges that stand in the prediction outside of longer ones."""
    wanted = {*inner("罪名:", reference).split(";")}
    found = set()
    for charge in sorted({*CHARGES, *wanted}, key=lambda one: (-len(one), one)):
        if charge and charge in prediction:
            found.add(charge)
            prediction = prediction.replace(charge, "\n")
    return Judged(f1(found, wanted), not found)


_YEARS = r"(?:(?<!\d)(\d+)年[零又]?)?(?<!\d)(\d+)"
_MONTHS = (re.compile(rf"{_YEARS}个月"), re.compile(rf"{_YEARS}月(?!\d+日|份)"))
_ONLY_YEARS = re.compile(r"(?<!\d)(\d{1,2})年(半)?")


def term(prediction: str, reference: str) -> Judged:
    """3-4 and 3-5: upstream's distance of the term in years and months."""
    if "死刑" in reference or "无期" in reference:
        return Judged(None)
    said = _term(arabic(prediction))
    return Judged(months_apart(said, int(inner("刑期:", reference, "个月"))), said is None)


_AMOUNT = re.compile(r"(\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)([千万亿]?)")
_SCALE = {"": 1, "千": 1_000, "万": 10_000, "亿": 100_000_000}


def amount(prediction: str, reference: str) -> Judged:
    """3-7: 1 if the sum of money is among the amounts of the prediction."""
    wanted = Decimal(repr(float(inner("上文涉及到的犯罪金额:", reference, "元。"))))
    found = [(digits.replace(",", ""), scale) for digits, scale in _AMOUNT.findall(arabic(prediction))]
    said = {Decimal(digits) * _SCALE[scale] for digits, scale in found}
    return Judged(float(wanted in said), not said)


REPAIRED: dict[str, Judge] = {
    "1-2": letter,
    "2-6": entities,
    "2-8": argument,
    "2-10": triggers,
    "3-1": articles,
    "3-3": charges,
    "3-4": term,
    "3-5": term,
    "3-6": letter,
    "3-7": amount,
}
"""Every task by its number in which something is to be repaired, but for 2-1, which has `proofreading`."""


def _letters(prediction: str, answer: str, options: str) -> Judged:
    words = {word for word in re.findall(r"[A-Za-z]+", prediction) if len(word) <= len(options)}
    found = {letter for word in words if {*word} <= {*options} and len({*word}) in (1, len(word)) for letter in word}
    return Judged(float(found == {answer}), not found)


def _articles(text: str) -> set[int]:
    """Return the numbers before a 条 and those joined with them: 第234、275条, 第二百三十四条和第275条."""
    found, numbers = set(), [*_NUMERAL.finditer(text)]
    belongs, start = False, len(text)  # of the number behind
    for number in reversed(numbers):
        link = _JOINED.fullmatch(text, number.end(), start)
        ordinal = text.endswith("第", 0, number.start()) if link and link[1] else True
        belongs = bool(_CLOSED.match(text, number.end())) or bool(belongs and link and ordinal)
        value = numeral(number[0]) if belongs else None
        if value is not None:
            found.add(value)
        start = number.start()
    return found


_KIND = re.compile(rf"({'|'.join(ENTITIES)})\s*[:：]")
_NOTHING = ("", "无", "未提及")


def _entities(prediction: str) -> dict[str, str]:
    """Return what is said of each type: up to the next type, a semicolon, a bracket or the end of its line."""
    named = [*_KIND.finditer(prediction)]
    ends = [*(one.start() for one in named[1:]), len(prediction)]
    said: dict[str, list[str]] = {}
    for kind, end in zip(named, ends, strict=False):
        value = re.split(r"[;；\n]| \(", prediction[kind.end() : end].lstrip(), maxsplit=1)[0].strip(" ,，.。、")
        if value not in _NOTHING:
            said.setdefault(kind[1], []).append(value)
    return {kind: "、".join(dict.fromkeys(values)) for kind, values in said.items()}


def _matched(said: Collection[str], wanted: Collection[str]) -> float:
    """Return the greatest sum of character F1 over pairs of words, each word in one pair at most."""
    from scipy.optimize import linear_sum_assignment

    alike = np.array([[character_f1(one, other) for other in wanted] for one in said]).reshape(len(said), len(wanted))
    return math.fsum(alike[linear_sum_assignment(alike, maximize=True)])


def _soft_f1(hits: float, said: int, wanted: int) -> float:
    return 2 * hits / (said + wanted) if hits else 0.0


def _term(text: str) -> int | None:
    """Return the months of the first term in `text`: of those in 个月, else of those in 月, else of those in years."""
    for pattern in _MONTHS:
        for found in pattern.finditer(text):
            years = found[1] or "0"
            if len(years) <= 2:  # else it is a date
                return integer(years) * 12 + integer(found[2])
    years_only = _ONLY_YEARS.search(text)
    return integer(years_only[1]) * 12 + (6 if years_only[2] else 0) if years_only else None
