"""The form in which questions are compared, which is equal for texts that ask the same question.

Differences of the following kinds are ignored:

- white space (except between two digits), invisible characters, width (`？` and `?`), case, kinds of quotation marks
  (“甲”, 「甲」) and dashes;
- numbering in front of the question (`12.`, `第3题：`, `(4)`, `Q5:`), even after a cue such as `问题：`;
- punctuation or an empty blank at the end of the question.

Any other difference makes a different question: numbers and signs (`-3`, `3.5`, `12、15`, `(3)的平方`), exponents
(`x²`), the signs of factorials and derivatives (`5!`, `f'`), punctuation inside the question, and traditional instead
of simplified characters (this project has no table of them).

Not here: which examples are left out (`harness.tasks.leaks`).
"""

from __future__ import annotations

import functools
import re
import unicodedata

from harness.common.visible import is_visible

_SIGNS = str.maketrans(
    dict.fromkeys("“”„‟«»‹›「」『』〝〞〟｢｣", '"') | dict.fromkeys("‘’‚‛ʼ´", "'") | dict.fromkeys("‐‑‒–—―−", "-")
)
_EXPONENT = re.compile("[²³¹⁰⁴-⁹ⁱ⁺⁻ⁿ]+")
_QUOTED = re.compile(r"(?<![a-zA-Z0-9)\]'])'([^']*)'(?![a-zA-Z0-9'])")
"""A text in single quotation marks, as opposed to apostrophes and the signs of derivatives."""
_SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Variation selectors, fillers and joiners, which are not control or format characters."""
_BETWEEN_DIGITS = re.compile(r"(?<=\d)\s+(?=\d)")
_SPACE = "\N{SYMBOL FOR SPACE}"

_DIGITS, _NUMERALS = r"\d{1,3}", "[〇零一二两三四五六七八九十百]{1,4}"
_NUMBER = rf"(?:{_DIGITS}|{_NUMERALS})"
_CHINESE_NOUN = "(?:问题|問題|题目|題目|例题|例題|习题|習題|练习|練習|试题|試題|小题|小題|题|題|问|問|例)"
_NOUN = rf"(?:(?i:question|problem|exercise|no\.?|nr\.?|q\.?)|{_CHINESE_NOUN})"
# Behind these a number is a value: (3)的平方, (3) + 4, (3) is prime; 12. Is it prime?
_VALUE = (
    rf"(?!\s*(?:[的是倍]|[加减乘除与和或到至]以?\s*(?:[(\[]|{_NUMBER})|[=+*/^<>×÷±%~]|"
    r"(?:is|are|was|and|or|plus|minus|times|squared|divided|percent|to|of)\b))"
)
_LABEL = re.compile(
    r"\s*(?:"
    + "|".join(
        (
            rf"第\s*{_NUMBER}\s*[小大]?[题題问問](?:\s*[.:,、)]|\s+)",
            rf"{_NOUN}\s*#?\s*{_NUMBER}(?:\s*(?:of|/)\s*\d+)?\s*(?:[.:、)](?!\d)|\n)",
            rf"{_CHINESE_NOUN}\s*{_NUMBER}\s+{_VALUE}",
            rf"[(\[【]\s*{_NOUN}\s*{_NUMBER}\s*[)\]】]\s*[.:、]?",
            r"(?i:question|problem|q|问题|問題|题目|題目|问|問)\s*:",
            rf"#\s*{_DIGITS}\s*[.:、)]\s",
            rf"[(\[【〔]\s*(?:{_NUMBER}|iii?|iv|vi{{1,3}}|ix)\s*[)\]】〕](?!\s*-){_VALUE}"
            r"(?:\s*[.:、]|\s+(?![(\[])|(?=[^\W\d_]|[\"'《$]))",
            rf"{_NUMBER}\s*(?:\.\)?|\))(?!\s*-\D){_VALUE}(?:\s+|(?=-|[^\W\d_a-zA-Z]|[a-zA-Z]{{3}}|[\"'《$(]))",
            rf"{_DIGITS}\s*、(?!\s*\d)|{_NUMERALS}\s*、(?!{_NUMERALS})",
        )
    )
    + r")\s*"
)
"""Numbering, or a cue, in front of a question."""
_CIRCLED = re.compile(rf"(?m)((?:^|[:：])[^\S\n]*)([①-⑳])(?!\s*-){_VALUE}(?=\s*[^\W\d_])")
_EMPHASIS = re.compile(r"\s*(?:#{1,6}\s+)?(?:\*\*([^*\n]{1,20})\*\*)?")
"""Markdown in front of a question: a heading, or a number in bold type."""
_PART = re.compile(
    r"(?im)^(?=[^\S\n]*(?:问题|問題|题目|題目|question|problem|q|答案|答|回答|answer|response)[^\S\n]*(?:\([^()\n]*\))?[^\S\n]*:"
    r"|[A-Z][.)] )"
)
"""Where a part of a prompt begins: a question after other text, a choice, or the cue for an answer."""
_MARKS = " \t\n\r.。?…⋯,;:、·_"
_BLANKS = ("()", "[]", "【】")
_FACTORIAL = re.compile(r"(?:[\d)]|(?<![a-zA-Z])[a-zA-Z])!{1,2}$")


@functools.lru_cache(maxsize=4096)
def question_form(prompt: str) -> str:
    """Return the form of a prompt, without the numbering that begins any of its parts or a part's last line."""
    return "\n".join(_without_spaces(_without_labels(part)) for part in _PART.split(_unified(prompt)) if part)


@functools.lru_cache(maxsize=4096)
def text_form(text: str) -> str:
    """Return the form of a text, such as a choice, in which a leading number is not numbering."""
    return _without_spaces(_unified(text))


def _unified(text: str) -> str:
    """Return `text` with one sign for each kind of quotation mark, dash and width."""
    text = _CIRCLED.sub(r"\1(\2)", text.translate(_SIGNS))
    text = _EXPONENT.sub(lambda match: f"^{match[0]}", text)
    text = unicodedata.normalize("NFKC", _SHAPELESS.sub("", text))
    text = "".join(character for character in text if character.isspace() or is_visible(character))
    return _QUOTED.sub(r'"\1"', text)


def _without_labels(part: str) -> str:
    """Return `part` without the numbering before it and before its last line, unless nothing would be left."""
    before, newline, last = _without_label(part.rstrip()).rpartition("\n")
    return f"{before}{newline}{_without_label(last)}"


def _without_label(text: str) -> str:
    text = _EMPHASIS.sub(lambda match: match[1] or "", text, count=1)
    start, last = 0, next((place for place in reversed(range(len(text))) if text[place].isalnum()), -1)
    while (label := _LABEL.match(text, start)) and label.end() <= last:
        start = label.end()
    return text[start:]


def _without_spaces(text: str) -> str:
    """Return `text` case-folded, without spaces and, unless nothing would be left, without punctuation at its end."""
    shorter = _without_end(text)
    spaced = _BETWEEN_DIGITS.sub(_SPACE, shorter if any(map(str.isalnum, shorter)) else text)
    return "".join(spaced.casefold().split())


def _without_end(text: str) -> str:
    """Return `text` without punctuation and blanks (to fill in) at its end, or before closing quotation marks there."""
    text = text.rstrip()
    body = text.rstrip('"')
    quotes, before = text[len(body) :], ""
    while body != before:
        before, body = body, body.rstrip(_MARKS)
        if body.endswith("--"):
            body = body.rstrip("-")
        if not _FACTORIAL.search(body[-4:]):
            body = body.rstrip("!")
        inside = body[:-1].rstrip()
        if inside and inside[-1] + body[-1] in _BLANKS:
            body = inside[:-1]
    return body + quotes
