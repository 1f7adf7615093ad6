"""LawBench's metrics, one answer at a time, exactly as open-compass/LawBench@e30981b, evaluation/, computes them.

Upstream's quirks stay: an option counts wherever its characters occur, in "ABS" as well as in "A"; of several prison
terms the first number of months is read, so that "1年6个月" is six months; a charge that is part of another charge's
name is found inside it. A model's rates are defined as upstream, too: its score is the mean of `score` over the answers
that have one, its abstention rate the share of all answers with `abstained`.

Tasks are numbered as in LawBench. Only task 2-1 has no score for a single answer, because one number is computed from
the edit counts of all answers.

Not here: repaired variants (`repaired`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from harness.metrics.lawbench.cherrant import NO_TABLES, CharacterTables, Counts, count_edits
from harness.metrics.lawbench.labels import CHARGES, CONSULTATIONS, DISPUTES, EVENTS, MARRIAGE_FACTS
from harness.metrics.lawbench.text import (
    check_label,
    letter_after,
    parse_integer,
    set_f1,
    unframed,
    with_arabic_numerals,
)
from harness.metrics.text.cuts import jieba_words
from harness.metrics.text.overlap import rouge_of

LONGEST_TERM = 216
"""A prison term in months. `term_score` divides by its logarithm, so an answer without a term has the distance 1."""


class AnswerScore(NamedTuple):
    """The score of one answer, and whether the answer abstained."""

    score: float | None
    """From 0 to 1, or negative for an extremely wrong prison term; None if the answer is left out of the average."""
    abstained: bool = False


Scorer = Callable[[str, str], AnswerScore]
"""A function that scores a prediction by a reference; raises ValueError if it cannot parse the reference."""


def recitation(prediction: str, reference: str) -> AnswerScore:
    """Score an answer to LawBench task 1-1: ROUGE-L as in `rouge_l`, without the "答案:" of the reference."""
    return rouge_l(prediction, reference.replace("答案:", ""))


def rouge_l(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench tasks 2-7, 3-2 and 3-8: ROUGE-L over jieba's words; an empty answer counts as 无内容."""
    words = jieba_words(prediction) if prediction.strip() else ("无内容",)
    return AnswerScore(rouge_of(words, jieba_words(reference)).rouge_l)


def single_choice(prediction: str, answer: str, options: Collection[str]) -> AnswerScore:
    """Return 1 if `answer` is the only option that occurs in the prediction; no option at all is an abstention."""
    chosen = {option for option in options if option in prediction}
    return AnswerScore(float(chosen == {answer}), not chosen)


def letter_choice(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench tasks 1-2 and 3-6: one of A to D, after "正确答案:" in the reference."""
    return single_choice(prediction, letter_after("正确答案:", reference, "ABCD"), "ABCD")


def argument_mining(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-8: one of A to E, after "[正确答案]" in the reference."""
    return single_choice(prediction, letter_after("[正确答案]", reference, "ABCDE"), "ABCDE")


SENTENCE_MARK = "句子：\n"
"""The text before the sentence to correct in a prompt of LawBench task 2-1."""


def proofreading(prompt: str, prediction: str, reference: str, tables: CharacterTables = NO_TABLES) -> Counts:
    """Return the edit counts of LawBench task 2-1, by ChERRANT, for the sentence in `prompt`.

    The score of the task is the F0.5 of the counts of all answers. An answer is cut five characters beyond the length
    of the reference, and an empty answer is scored as 无内容. Upstream's exact numbers need upstream's character
    `tables`, and traditional characters converted to simplified ones beforehand.

    Raises ValueError if the prompt has no sentence.
    """
    if SENTENCE_MARK not in prompt:
        raise ValueError(f"a prompt of this task has its sentence after 句子： and a line end, not {prompt[:40]!r}")
    sentence = prompt.partition(SENTENCE_MARK)[2].partition("\n")[0].replace("\t", "")
    corrected, expected = (re.sub(r"[\n\t]", "", text) for text in (prediction, reference))
    if len(corrected) - len(reference) > 5:
        corrected = corrected[: len(reference) + 5]
    return count_edits(sentence, corrected if corrected.strip() else "无内容", expected, tables)


def dispute_focus(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-2: one of sixteen labels.

    Answers whose reference is 赔偿, no label, are left out of the average but stay in the abstention rate.
    """
    answer = unframed("争议焦点类别：", reference, "。")
    if answer == "赔偿":
        return AnswerScore(None)
    return single_choice(prediction, check_label(answer, DISPUTES), DISPUTES)


def consultation_topic(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-4: one of twenty labels."""
    return single_choice(prediction, check_label(reference, CONSULTATIONS), CONSULTATIONS)


def multiple_choice(prediction: str, expected: Collection[str], options: Sequence[str]) -> AnswerScore:
    """Return the F1 of the options that occur in the prediction; no option at all is an abstention."""
    chosen = {option for option in options if option in prediction}
    return AnswerScore(set_f1(chosen, set(expected)), not chosen)


def marriage_facts(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-3: several of twenty labels."""
    expected = [check_label(label, MARRIAGE_FACTS) for label in unframed("类别:", reference, "。").split("、")]
    return multiple_choice(prediction, expected, MARRIAGE_FACTS)


def events(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-9: several of twenty kinds of events."""
    return multiple_choice(prediction, reference.split(";"), EVENTS)


def charges(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-3: several of 189 charges."""
    return multiple_choice(prediction, unframed("罪名:", reference).split(";"), CHARGES)


def reading_comprehension(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-5: F1 over characters."""
    return AnswerScore(character_f1(prediction, reference.replace("回答:", "")))


ENTITY_TYPES = (
    *("犯罪嫌疑人", "受害人", "被盗货币", "物品价值", "盗窃获利", "被盗物品"),
    *("作案工具", "时间", "地点", "组织机构"),
)
"""The types of entities in LawBench task 2-6."""
_VALUE = re.compile(r"\s*([^\n ]*)")


def entities(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-6: soft F1, where the hit for each type in the reference is the character F1 of its value.

    Upstream counts abstentions but loses the count in a misspelt key, so its table of results has 0.
    """
    expected = reference_entities(reference)
    predicted = {name: value for name in ENTITY_TYPES if (value := _entity(prediction, name)) is not None}
    if not expected:
        return AnswerScore(float(not predicted))
    hits = math.fsum(character_f1(value, expected[name]) for name, value in predicted.items() if name in expected)
    precision, recall = hits / len(predicted) if predicted else 0.0, hits / len(expected)
    return AnswerScore(2 * precision * recall / (precision + recall + 1e-10))


def reference_entities(reference: str) -> dict[str, str]:
    """Return the entities in a reference of LawBench task 2-6, by type."""
    return dict(part.split(":")[:2] for part in reference.split(";")) if reference.strip() else {}


def trigger_words(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-10: soft F1 of the words at equal positions of both lists, so that order counts.

    No answers to tasks 2-10 or 2-9 are published with which these scores could be compared.
    """
    expected, predicted = reference.split(";"), prediction.split(";")
    hits = math.fsum(character_f1(word, other) for word, other in zip(predicted, expected, strict=False))
    precision, recall = hits / len(predicted), hits / len(expected)
    return AnswerScore(2 * precision * recall / (precision + recall + 1e-10))


def articles(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-1: F1 of the article numbers that `article_numbers` reads."""
    expected = {int(number) for number in unframed("法条:刑法第", reference, "条").replace("条", "").split("、")}
    predicted = article_numbers(prediction)
    return AnswerScore(set_f1(predicted, expected), not predicted)


def article_numbers(prediction: str) -> set[int]:
    """Return the first number of each piece of `prediction` between 、, ignoring paragraphs (第…款)."""
    pieces = (
        _replace_numbered("条", r"\1", _replace_numbered("款", "", piece.replace("万元", "元")))
        for piece in prediction.split("、")
    )
    numbers = (re.search(r"\d+", with_arabic_numerals(piece)) for piece in pieces)
    return {parse_integer(number[0]) for number in numbers if number}


def prison_term(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench tasks 3-4 and 3-5: `term_score` of the prison term in months.

    References with death or life imprisonment are left out of the average but stay in the abstention rate.
    """
    if "死刑" in reference or "无期" in reference:
        return AnswerScore(None)
    expected = int(unframed("刑期:", reference, "个月"))
    text = with_arabic_numerals(prediction)
    months = re.search(r"(?<!\d)(\d+)个月", text) or re.search(r"(?<!\d)(\d+)月", text)
    years = re.search(r"(?<!\d)(\d+)年", text)
    predicted = parse_integer(months[1]) if months else parse_integer(years[1]) * 12 if years else None
    return AnswerScore(term_score(predicted, expected), predicted is None)


def term_score(predicted: int | None, expected: int) -> float:
    """Return 1 minus the distance of two prison terms in months.

    The distance is the difference of log(months + 1) of both terms, divided by log(216). A missing term has the
    distance 1; a very long term has a larger distance.
    """
    worst = math.log(LONGEST_TERM)
    distance = worst if predicted is None else abs(math.log(expected + 1) - math.log(predicted + 1))
    return (worst - distance) / worst


def amount_of_money(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-7: 1 if the expected amount is among the answer's numbers; no number is an abstention."""
    expected = float(unframed("上文涉及到的犯罪金额:", reference, "元。"))
    predicted = [float(number) for number in re.findall(r"\d+\.?\d*", prediction)]
    return AnswerScore(float(expected in predicted), not predicted)


def character_f1(prediction: str, reference: str) -> float:
    """Return the F1 over the letters and digits of both texts, in lower case and any order, as in CJRC's script.

    If neither text has letters or digits, the F1 is 1. If only one text has any, it is 0.
    """
    predicted, expected = (
        Counter(character for character in text.lower() if character.isdigit() or character.isalpha())
        for text in (prediction, reference)
    )
    if not predicted or not expected:
        return float(predicted == expected)
    hits = (predicted & expected).total()
    precision, recall = hits / predicted.total(), hits / expected.total()
    return 2 * precision * recall / (precision + recall) if hits else 0.0


SCORERS: dict[str, Scorer] = {
    "1-1": recitation,
    "1-2": letter_choice,
    "2-2": dispute_focus,
    "2-3": marriage_facts,
    "2-4": consultation_topic,
    "2-5": reading_comprehension,
    "2-6": entities,
    "2-7": rouge_l,
    "2-8": argument_mining,
    "2-9": events,
    "2-10": trigger_words,
    "3-1": articles,
    "3-2": rouge_l,
    "3-3": charges,
    "3-4": prison_term,
    "3-5": prison_term,
    "3-6": letter_choice,
    "3-7": amount_of_money,
    "3-8": rouge_l,
}
"""The scorer of each LawBench task by its number, except task 2-1, which `proofreading` scores."""


def _entity(prediction: str, entity_type: str) -> str | None:
    """Return the last value after `entity_type`, up to a space or line end; None if all values are 无 or 未提及."""
    end = len(prediction)
    while (start := prediction.rfind(entity_type, 0, end)) >= 0:
        after = start + len(entity_type)
        # From the end, because the last one counts; what is skipped is short, so repetitions cost only their length.
        if after < len(prediction) - 2 and prediction[after] in ":：":
            value = (_VALUE.match(prediction, after + 1) or [""] * 2)[1].strip()
            if value not in ("无", "未提及"):
                return value
        end = start + len(entity_type) - 1
    return None


def _replace_numbered(end: str, replacement: str, text: str) -> str:
    """Return `text` with every 第… up to the next `end` in the same line replaced, in time linear in its length."""
    lines = (line.rpartition(end) for line in text.split("\n"))
    return "\n".join(re.sub(f"第(.*?){end}", replacement, head + mark) + tail for head, mark, tail in lines)
