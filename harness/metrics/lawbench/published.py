"""LawBench's metrics, one answer at a time, exactly as open-compass/LawBench@e30981b, evaluation/, computes them.

Upstream's quirks stay in: an option counts wherever its characters stand, in "ABS" as well as in "A"; of several
terms of imprisonment the first number of months is read, so that "1年6个月" is six months; a charge that is part of
another's name is found in it. Rates are theirs as well: a model's score is the mean of `score` over the answers that
have one, its abstention rate the share of `abstained` in all.

2-1 alone has no score of a single answer: its counts make one number of all.

Not here: repaired variants (`lawbench_repaired`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from harness.metrics.lawbench.cherrant import UNKNOWN, Counts, Likeness, counts
from harness.metrics.lawbench.labels import CHARGES, CONSULTATIONS, DISPUTES, EVENTS, MARRIAGE_FACTS
from harness.metrics.lawbench.text import arabic, behind, f1, inner, integer, known
from harness.metrics.text.overlap import jieba_words, rouge_of

LONGEST_TERM = 216
"""Months whose logarithm is the distance of an answer without a term."""


class Judged(NamedTuple):
    """What one answer is worth."""

    score: float | None
    """0 to 1, less for a term beyond all measure; None where the reference is left out of the average."""
    abstained: bool = False


Judge = Callable[[str, str], Judged]
"""(prediction, reference) → what it is worth; ValueError on a reference that is not of the task."""


def recitation(prediction: str, reference: str) -> Judged:
    """1-1: ROUGE-L as below, without the "答案:" of the reference."""
    return rouge_l(prediction, reference.replace("答案:", ""))


def rouge_l(prediction: str, reference: str) -> Judged:
    """2-7, 3-2 and 3-8: ROUGE-L over jieba's words, an empty answer read as the word 无内容."""
    words = jieba_words(prediction) if prediction.strip() else ("无内容",)
    return Judged(rouge_of(words, jieba_words(reference)).rouge_l)


def choice(prediction: str, answer: str, options: Collection[str]) -> Judged:
    """Return 1 if of all `options` the answer alone stands anywhere in the prediction; none at all is an abstention."""
    found = {option for option in options if option in prediction}
    return Judged(float(found == {answer}), not found)


def letter(prediction: str, reference: str) -> Judged:
    """1-2 and 3-6: one of A to D, behind "正确答案:"."""
    return choice(prediction, behind("正确答案:", reference, "ABCD"), "ABCD")


def argument(prediction: str, reference: str) -> Judged:
    """2-8: one of A to E, behind "[正确答案]"."""
    return choice(prediction, behind("[正确答案]", reference, "ABCDE"), "ABCDE")


SENTENCE = "句子：\n"
"""What stands before the sentence to correct in a prompt of 2-1."""


def proofreading(prompt: str, prediction: str, reference: str, likeness: Likeness = UNKNOWN) -> Counts:
    """2-1: ChERRANT's edits of the sentence that `prompt` gives, whose F0.5 over all answers is the score.

    An answer is cut off five characters beyond the length of the reference, an empty one read as 无内容. Upstream's
    numbers need what it knows of characters, as `likeness`, and traditional ones made simplified before.

    Raises ValueError where the prompt gives no sentence.
    """
    if SENTENCE not in prompt:
        raise ValueError(f"a prompt of this task has the sentence behind 句子： and a line end, not {prompt[:40]!r}")
    sentence = prompt.partition(SENTENCE)[2].partition("\n")[0].replace("\t", "")
    said, wanted = (re.sub(r"[\n\t]", "", text) for text in (prediction, reference))
    if len(said) - len(reference) > 5:
        said = said[: len(reference) + 5]
    return counts(sentence, said if said.strip() else "无内容", wanted, likeness)


def dispute(prediction: str, reference: str) -> Judged:
    """2-2: one of sixteen; 赔偿, which is none of them, is left out of the average but stays in the abstention rate."""
    answer = inner("争议焦点类别：", reference, "。")
    return Judged(None) if answer == "赔偿" else choice(prediction, known(answer, DISPUTES), DISPUTES)


def consultation(prediction: str, reference: str) -> Judged:
    """2-4: one of twenty."""
    return choice(prediction, known(reference, CONSULTATIONS), CONSULTATIONS)


def labels(prediction: str, wanted: Collection[str], options: Sequence[str]) -> Judged:
    """Return F1 of the options that stand anywhere in the prediction; none at all is an abstention."""
    found = {option for option in options if option in prediction}
    return Judged(f1(found, set(wanted)), not found)


def marriage_facts(prediction: str, reference: str) -> Judged:
    """2-3: several of twenty."""
    wanted = [known(one, MARRIAGE_FACTS) for one in inner("类别:", reference, "。").split("、")]
    return labels(prediction, wanted, MARRIAGE_FACTS)


def events(prediction: str, reference: str) -> Judged:
    """2-9: several of twenty kinds of events."""
    return labels(prediction, reference.split(";"), EVENTS)


def charges(prediction: str, reference: str) -> Judged:
    """3-3: several of 189 charges."""
    return labels(prediction, inner("罪名:", reference).split(";"), CHARGES)


def reading(prediction: str, reference: str) -> Judged:
    """2-5: F1 over characters."""
    return Judged(character_f1(prediction, reference.replace("回答:", "")))


ENTITIES = (
    *("犯罪嫌疑人", "受害人", "被盗货币", "物品价值", "盗窃获利", "被盗物品"),
    *("作案工具", "时间", "地点", "组织机构"),
)
"""2-6: the types of entities."""
_VALUE = re.compile(r"\s*([^\n ]*)")


def entities(prediction: str, reference: str) -> Judged:
    """2-6: soft F1, the character F1 of what is said of each type that the reference has, too.

    Upstream counts abstentions but loses them in a misspelt key: its table has 0.
    """
    wanted = wanted_entities(reference)
    said = {kind: value for kind in ENTITIES if (value := _entity(prediction, kind)) is not None}
    if not wanted:
        return Judged(float(not said))
    hits = math.fsum(character_f1(value, wanted[kind]) for kind, value in said.items() if kind in wanted)
    precision, recall = hits / len(said) if said else 0.0, hits / len(wanted)
    return Judged(2 * precision * recall / (precision + recall + 1e-10))


def wanted_entities(reference: str) -> dict[str, str]:
    """Return what the reference of 2-6 names, by type."""
    return dict(part.split(":")[:2] for part in reference.split(";")) if reference.strip() else {}


def triggers(prediction: str, reference: str) -> Judged:
    """2-10: soft F1 of words at the same place of both lists, so that order counts.

    No answers to it, nor to 2-9, are published that this could be held against.
    """
    wanted, said = reference.split(";"), prediction.split(";")
    hits = math.fsum(character_f1(one, other) for one, other in zip(said, wanted, strict=False))
    precision, recall = hits / len(said), hits / len(wanted)
    return Judged(2 * precision * recall / (precision + recall + 1e-10))


def articles(prediction: str, reference: str) -> Judged:
    """3-1: F1 of article numbers, the first number of each piece between 、, paragraphs passed over."""
    wanted = {int(one) for one in inner("法条:刑法第", reference, "条").replace("条", "").split("、")}
    said = article_numbers(prediction)
    return Judged(f1(said, wanted), not said)


def article_numbers(prediction: str) -> set[int]:
    """Return the first number of each piece of `prediction` between 、, paragraphs passed over."""
    plain = (_each("条", r"\1", _each("款", "", piece.replace("万元", "元"))) for piece in prediction.split("、"))
    found = (re.search(r"\d+", arabic(piece)) for piece in plain)
    return {integer(number[0]) for number in found if number}


def term(prediction: str, reference: str) -> Judged:
    """3-4 and 3-5: 1 less the distance of logarithms of months, as a share of that of 216 months.

    Death and life imprisonment are left out of the average but stay in the abstention rate.
    """
    if "死刑" in reference or "无期" in reference:
        return Judged(None)
    wanted = int(inner("刑期:", reference, "个月"))
    text = arabic(prediction)
    months = re.search(r"(?<!\d)(\d+)个月", text) or re.search(r"(?<!\d)(\d+)月", text)
    years = re.search(r"(?<!\d)(\d+)年", text)
    said = integer(months[1]) if months else integer(years[1]) * 12 if years else None
    return Judged(months_apart(said, wanted), said is None)


def months_apart(said: int | None, wanted: int) -> float:
    """Return 1 less the distance of logarithms of months, as a share of that of 216; None is as far as that."""
    worst = math.log(LONGEST_TERM)
    distance = worst if said is None else abs(math.log(wanted + 1) - math.log(said + 1))
    return (worst - distance) / worst


def amount(prediction: str, reference: str) -> Judged:
    """3-7: 1 if the sum of money is among the numbers of the prediction; no number is an abstention."""
    wanted = float(inner("上文涉及到的犯罪金额:", reference, "元。"))
    said = [float(one) for one in re.findall(r"\d+\.?\d*", prediction)]
    return Judged(float(wanted in said), not said)


def character_f1(prediction: str, reference: str) -> float:
    """Return F1 over the letters and digits of both texts, in lower case and any order, as CJRC's script defines it.

    Where one text has none, 1 if the other has none either, else 0.
    """
    said, wanted = (
        Counter(one for one in text.lower() if one.isdigit() or one.isalpha()) for text in (prediction, reference)
    )
    if not said or not wanted:
        return float(said == wanted)
    hits = (said & wanted).total()
    precision, recall = hits / said.total(), hits / wanted.total()
    return 2 * precision * recall / (precision + recall) if hits else 0.0


JUDGES: dict[str, Judge] = {
    "1-1": recitation,
    "1-2": letter,
    "2-2": dispute,
    "2-3": marriage_facts,
    "2-4": consultation,
    "2-5": reading,
    "2-6": entities,
    "2-7": rouge_l,
    "2-8": argument,
    "2-9": events,
    "2-10": triggers,
    "3-1": articles,
    "3-2": rouge_l,
    "3-3": charges,
    "3-4": term,
    "3-5": term,
    "3-6": letter,
    "3-7": amount,
    "3-8": rouge_l,
}
"""Every task by its number, but for 2-1."""


def _entity(prediction: str, kind: str) -> str | None:
    """Return what is said last of this kind, up to a space or the end of its line; None where that is nothing."""
    end = len(prediction)
    while (start := prediction.rfind(kind, 0, end)) >= 0:
        behind = start + len(kind)
        # From behind, since the last one counts; what is passed over is short, so repetitions cost their length only.
        if behind < len(prediction) - 2 and prediction[behind] in ":：":
            value = (_VALUE.match(prediction, behind + 1) or [""] * 2)[1].strip()
            if value not in ("无", "未提及"):
                return value
        end = start + len(kind) - 1
    return None


def _each(end: str, replacement: str, text: str) -> str:
    """Return `text` with `replacement` for every 第(…) up to the next `end` in its line, which costs its length."""
    lines = (line.rpartition(end) for line in text.split("\n"))
    return "\n".join(re.sub(f"第(.*?){end}", replacement, head + mark) + tail for head, mark, tail in lines)
