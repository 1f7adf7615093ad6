"""LawBench's metrics, repaired where the published ones misread answers.

The repairs, by number of the LawBench task:

- 1-2, 3-6, 2-8: a letter inside a Latin word, the A of "ABS", is not an option. Letters directly after 正确答案 or 答案
  are the answer, whatever else is discussed. If there are none, letters are read as in users' own test sets
  (`harness.metrics.answers.letter_sets`). If these rules find none either, the answer is all letters that stand alone
  or with other options only (AC) and are not denied. There is no answer if every option is listed, because then the
  text repeats the question.
- 2-2, 2-3, 2-4, 3-3: labels where the prompt asks for them, between [类别] (in 3-3, [罪名]) and <eoa>, are the answer,
  whatever else is discussed; if there are no labels, the whole answer is searched. Between the marks, other forms of a
  label of 2-2 and 2-3, such as 解除合同, 夫妻共同财产 or 婚后分居, count as the label.
- 2-1: what a chat template appends to the sentence is not part of it. Upstream reads the sentence from the rendered
  prompt: of the 22.6 % published for Qwen-7B-Chat, 10 points are for omitting an <|im_end|>.
- 2-6: entities may be written as in the references, on one line between semicolons. Upstream reads the whole line as
  the value of the first entity, so that even a copy of the references scores 63 %. Several entities of a type all
  count, including those near the end. An answer without entities counts as an abstention if the reference has any. A
  type may stand in a line before its value (实体类型：时间, then 实体信息：昨天), and the value in brackets:
  时间（昨天）.
- 2-10: words are matched to those of the reference so that the sum of hits is greatest, in any order; a full-width
  semicolon, a comma or a line end separates words like the semicolon; an answer without words is an abstention.
- 3-1: every article counts, not only the first of each piece between 、; 第67条第一款 is article 67.
- 3-3: a charge inside the name of another charge, the 诈骗 of 合同诈骗, does not count; charges of the reference are
  searched for even if they are none of the 189 charges, as in 18 of the 500 references; a selective charge may be named
  by the part that applies (`selective_charges`).
- 3-4, 3-5: "1年6个月" is eighteen months, as is "一年半", and 2015年3月 is a date; "36 个月", "半年" and "12 months"
  are terms; a number alone, [刑期]36<eoa>, is in months, for which the prompt asks; life imprisonment and death are
  answers, but as far from every term as an abstention.
- 3-7: "3,723.50元", "3千元" and "0.3万元" are numbers.

Everything else is as in `published`: scores, abstentions, and what is left out of an average. There are no published
numbers to compare with.

Not here: tasks without a repair, and questions of taste, such as which of several terms a reasoned answer means, or an
answer that lists every amount in the case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from decimal import Decimal

import numpy as np

from harness.metrics.answers import letter_sets
from harness.metrics.law.strict_citations import parse_numeral
from harness.metrics.lawbench import framed, published
from harness.metrics.lawbench.cherrant import NO_TABLES, CharacterTables, Counts
from harness.metrics.lawbench.labels import CONSULTATIONS, DISPUTES, MARRIAGE_FACTS
from harness.metrics.lawbench.published import ENTITY_TYPES, AnswerScore, Scorer, character_f1, term_score
from harness.metrics.lawbench.selective_charges import named_charges
from harness.metrics.lawbench.text import letter_after, parse_integer, set_f1, unframed, with_arabic_numerals
from harness.metrics.text.end_marks import without_end_marks


def dispute_focus(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-2: one of sixteen labels."""
    return published.dispute_focus(_labels(prediction, DISPUTES, "争议焦点类别", "争议焦点", "类别"), reference)


def marriage_facts(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-3: several of twenty labels."""
    return published.marriage_facts(_labels(prediction, MARRIAGE_FACTS, "类别", "标签"), reference)


def consultation_topic(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-4: one of twenty labels."""
    return published.consultation_topic(_labels(prediction, CONSULTATIONS, "类别"), reference)


def letter_choice(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench tasks 1-2 and 3-6: one of A to D."""
    return _single_letter(prediction, letter_after("正确答案:", reference, "ABCD"), "ABCD")


def argument_mining(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-8: one of A to E."""
    return _single_letter(prediction, letter_after("[正确答案]", reference, "ABCDE"), "ABCDE")


_TEMPLATE = re.compile(r"(?:<[!-;=?-~]+>|###[^#\n]*)\Z")


def without_template(prompt: str) -> str:
    """Return a prompt of LawBench task 2-1 without a chat template's marks after its sentence: <|im_end|>, <eoh>."""
    before, mark, rest = prompt.partition(published.SENTENCE_MARK)
    sentence, end, after = rest.partition("\n")
    return f"{before}{mark}{_TEMPLATE.sub('', sentence)}{end}{after}"


def proofreading(prompt: str, prediction: str, reference: str, tables: CharacterTables = NO_TABLES) -> Counts:
    """Return the edit counts of LawBench task 2-1, by ChERRANT, for the sentence without marks of a chat template."""
    return published.proofreading(without_template(prompt), prediction, reference, tables)


def entities(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-6: soft F1 over types of entities. Every entity of a type in the answer counts."""
    expected, predicted = published.reference_entities(reference), _entities(prediction)
    if not expected:
        return AnswerScore(float(not predicted))
    hits = math.fsum(character_f1(value, expected[name]) for name, value in predicted.items() if name in expected)
    return AnswerScore(_soft_f1(hits, len(predicted), len(expected)), not predicted)


def trigger_words(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 2-10: soft F1 of words, matched one to one so that the sum of hits is greatest."""
    predicted, expected = (
        [word for word in re.split(r"[;；,，、\n]", text) if any(map(str.isalnum, word))]
        for text in (prediction, reference)
    )
    return AnswerScore(_soft_f1(_best_match(predicted, expected), len(predicted), len(expected)), not predicted)


_NARROW = {code: code - 0xFEE0 for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}  # full-width letters
_NUMERAL = re.compile(r"[0-9０-９]+|[零〇一二两三四五六七八九十百千]+")
_JOINT = re.compile(r"\s*[、,，和及与或]\s*(第?)\s*")
_ARTICLE_END = re.compile(r"\s*条")


def articles(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-1: F1 of article numbers.

    These are the numbers before a 条, maybe joined as in 第234、275条, or else the numbers that upstream reads.
    """
    expected = {int(number) for number in unframed("法条:刑法第", reference, "条").replace("条", "").split("、")}
    predicted = _article_numbers(prediction) or published.article_numbers(prediction)
    return AnswerScore(set_f1(predicted, expected), not predicted)


def charges(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-3: F1 of the named charges. They are read where the prompt asks for them.

    If no charge is named there, they are read anywhere. A charge inside the name of a longer charge does not count.
    """
    expected = {*unframed("罪名:", reference).split(";")}
    stated = "\n".join(framed.parts(prediction, "罪名"))
    predicted = named_charges(stated, expected) or named_charges(prediction, expected)
    return AnswerScore(set_f1(predicted, expected), not predicted)


_YEARS = r"(?:(?<!\d)(\d+)年[零又]?)?(?<!\d)(\d+)"
_MONTHS = (re.compile(rf"{_YEARS} ?个月"), re.compile(rf"{_YEARS} ?月(?!\d+日|份)"))
_ONLY_YEARS = re.compile(r"(?<!\d)(\d{1,2}) ?年(半)?")
_IN_ENGLISH = (
    re.compile(r"(?<!\d)(?:(\d{1,2})[ -]years?(?:,? and)?,? )?(\d{1,3})[ -]months?\b", re.IGNORECASE),
    re.compile(r"(?<!\d)(\d{1,2})[ -]years?\b", re.IGNORECASE),
)
_WITHOUT_TERM = re.compile(r"无期徒刑|死刑|life imprisonment|life in prison|death penalty", re.IGNORECASE)


def prison_term(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench tasks 3-4 and 3-5: upstream's `term_score` of the prison term, read in years and months."""
    if "死刑" in reference or "无期" in reference:
        return AnswerScore(None)
    predicted = _months(with_arabic_numerals(prediction))
    score = term_score(predicted, int(unframed("刑期:", reference, "个月")))
    return AnswerScore(score, predicted is None and not _WITHOUT_TERM.search(prediction))


_AMOUNT = re.compile(r"(\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)([千万亿]?)")
_SCALE = {"": 1, "千": 1_000, "万": 10_000, "亿": 100_000_000}


def amount_of_money(prediction: str, reference: str) -> AnswerScore:
    """Score LawBench task 3-7: 1 if the expected amount is among the amounts of the prediction."""
    expected = Decimal(repr(float(unframed("上文涉及到的犯罪金额:", reference, "元。"))))
    amounts = [(digits.replace(",", ""), scale) for digits, scale in _AMOUNT.findall(with_arabic_numerals(prediction))]
    predicted = {Decimal(digits) * _SCALE[scale] for digits, scale in amounts}
    return AnswerScore(float(expected in predicted), not predicted)


REPAIRED_SCORERS: dict[str, Scorer] = {
    "1-2": letter_choice,
    "2-2": dispute_focus,
    "2-3": marriage_facts,
    "2-4": consultation_topic,
    "2-6": entities,
    "2-8": argument_mining,
    "2-10": trigger_words,
    "3-1": articles,
    "3-3": charges,
    "3-4": prison_term,
    "3-5": prison_term,
    "3-6": letter_choice,
    "3-7": amount_of_money,
}
"""The scorer of each repaired LawBench task by its number, except task 2-1, which `proofreading` scores."""


def _labels(prediction: str, options: Collection[str], *marks: str) -> str:
    """Return the part of a prediction after `marks` if it contains one of `options`, else the whole prediction.

    An item after a mark that is another form of a label is replaced by the label.
    """
    items = (item.strip(" 。.") for part in framed.parts(prediction, *marks) for item in _ITEM_END.split(part))
    stated = "、".join(_OTHER_FORMS.get(item, item) for item in items)
    return stated if any(option in stated for option in options) else prediction


_ITEM_END = re.compile(r"[、,，;；]")
_OTHER_FORMS = {
    "解除合同": "合同解除",
    "原判是否适当": "原审判决是否适当",
    "一审判决是否适当": "原审判决是否适当",
    "夫妻共同财产": "有夫妻共同财产",
    "夫妻共同债务": "有夫妻共同债务",
    "婚后分居": "婚后分局",
    "感情不和分居满两年": "感情不和分居满二年",
    "分居满二年": "感情不和分居满二年",
    "分居满两年": "感情不和分居满二年",
    "非婚生子": "存在非婚生子",
    "抚养费支付": "支付抚养费",
}
"""The label for each form that models write in its place, in LawBench tasks 2-2 and 2-3: in other words, in another
order, or without the label's typo."""


_STATED_LETTERS = re.compile(
    r"答案[\]】>）)]?\s{0,4}(?:[:：]|是|为|应?选)?\s{0,4}[\[【（(]?([A-E](?:[ 、,，]{0,2}[A-E]){0,9})(?![A-Za-z])",
    re.IGNORECASE,
)


def _stated_letters(prediction: str, options: str) -> set[str]:
    """Return the letters after 答案; none if 答案 occurs several times with different letters after it."""
    matches = _STATED_LETTERS.findall(prediction)
    stated = {frozenset(letter for letter in match.upper() if letter.isalpha()) for match in matches}
    return {*next(iter(stated))} & {*options} if len(stated) == 1 else set()


def _single_letter(prediction: str, answer: str, options: str) -> AnswerScore:
    prediction = without_end_marks(prediction.translate(_NARROW))
    stated = _stated_letters(prediction, options) or letter_sets.read(prediction, options)
    chosen = stated or _standing_letters(prediction, options)
    return AnswerScore(float(chosen == {answer}), not chosen)


def _standing_letters(prediction: str, options: str) -> set[str]:
    """Return the options in words made of options only (AC), except denied ones ("不是C"); none if all are listed."""
    words = [word for word in re.finditer(r"[A-Za-z]+", prediction) if {*word[0]} <= {*options}]
    words = [word for word in words if len({*word[0]}) in (1, len(word[0])) and len(word[0]) <= len(options)]
    stated = {word[0] for word in words if not letter_sets.is_denied(prediction, word.start(), word.end())}
    return set() if stated >= {*options} else {letter for word in stated for letter in word}


def _article_numbers(text: str) -> set[int]:
    """Return the numbers before a 条 and those joined with them: 第234、275条, 第二百三十四条和第275条."""
    articles, numerals = set(), [*_NUMERAL.finditer(text)]
    is_article, next_start = False, len(text)  # of the numeral after this one
    for numeral in reversed(numerals):
        joint = _JOINT.fullmatch(text, numeral.end(), next_start)
        has_ordinal = text.endswith("第", 0, numeral.start()) if joint and joint[1] else True
        is_article = bool(_ARTICLE_END.match(text, numeral.end())) or bool(is_article and joint and has_ordinal)
        number = parse_numeral(numeral[0]) if is_article else None
        if number is not None:
            articles.add(number)
        next_start = numeral.start()
    return articles


_ENTITY_TYPE = re.compile(rf"({'|'.join(ENTITY_TYPES)})[*\"'”\s]*[:：]")
_NOTHING = ("", "无", "未提及", "未知", "不详", "未给出", "未提供", "未涉及")
_LINE = r"^[ \t]*(?:[-*•][ \t]*)?"
_TYPE_LINE = re.compile(
    rf"{_LINE}实体类型[:：]\s*({'|'.join(ENTITY_TYPES)})\s*\n"
    r"(?:[ \t]*(?:[-*•][ \t]*)?实体(?:信息|名称)[:：]|[ \t]*[*•-])\s*",
    re.MULTILINE,
)
_IN_BRACKETS = re.compile(rf"{_LINE}({'|'.join(ENTITY_TYPES)})[ \t]*[（(]([^（()）\n]*)[)）]", re.MULTILINE)


def _entities(prediction: str) -> dict[str, str]:
    """Return the entities in `prediction` by type, those of one type joined by 、.

    An entity ends at the next type, a semicolon, a bracket after a space, or the end of the line.
    """
    prediction = _IN_BRACKETS.sub(r"\1:\2", _TYPE_LINE.sub(r"\1:", without_end_marks(prediction)))
    types = [*_ENTITY_TYPE.finditer(prediction)]
    ends = [*(match.start() for match in types[1:]), len(prediction)]
    values: dict[str, list[str]] = {}
    for entity_type, end in zip(types, ends, strict=False):
        text = prediction[entity_type.end() : end].lstrip()
        value = re.split(r"[;；\n]| \(", text, maxsplit=1)[0].strip(" ,，.。、*\"'”“")
        if value not in _NOTHING:
            values.setdefault(entity_type[1], []).append(value)
    return {name: "、".join(dict.fromkeys(listed)) for name, listed in values.items()}


def _best_match(predicted: Collection[str], expected: Collection[str]) -> float:
    """Return the greatest sum of character F1 over pairs (predicted, expected), each word in one pair only."""
    from scipy.optimize import linear_sum_assignment

    f1 = np.array([[character_f1(word, other) for other in expected] for word in predicted])
    f1 = f1.reshape(len(predicted), len(expected))
    return math.fsum(f1[linear_sum_assignment(f1, maximize=True)])


def _soft_f1(hits: float, predicted: int, expected: int) -> float:
    return 2 * hits / (predicted + expected) if hits else 0.0


def _months(text: str) -> int | None:
    """Return the first prison term in months; None if there is none.

    Forms are tried in this order: 个月, 月, 年, English, 半年, a bare number.
    """
    for pattern in (*_MONTHS, _IN_ENGLISH[0]):
        for match in pattern.finditer(text):
            years = match[1] or "0"
            if len(years) <= 2:  # a longer number makes it a date
                return parse_integer(years) * 12 + parse_integer(match[2])
        if pattern is _MONTHS[-1] and (years_only := _ONLY_YEARS.search(text)):
            return parse_integer(years_only[1]) * 12 + (6 if years_only[2] else 0)
    if years_only := _IN_ENGLISH[1].search(text):
        return parse_integer(years_only[1]) * 12
    if "半年" in text:
        return 6
    stated = framed.parts(text, "刑期")
    return int(stated[0]) if len(stated) == 1 and re.fullmatch(r"\d{1,3}", stated[0]) else None
