"""What follows a number directly: a power, a scale, a unit (which may itself have exponents)."""

from __future__ import annotations

import re
from fractions import Fraction

from harness.metrics.answers import number_words, units
from harness.metrics.answers.number_digits import MOST_DIGITS, OPERATORS, Item, Span, exact
from harness.metrics.answers.number_tokens import Kind

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_POWERS = frozenset((Kind.POWER, Kind.SUPERSCRIPT))
_BEHIND_FACTORIALS = _POWERS | {Kind.CLOSE, Kind.RIGHT, Kind.DIGITS}
_PERCENT = frozenset(["%", "％", "﹪", "\\%", "percent", "pct"])
_PER_MILLE = frozenset(["permille", "permil", "promille"])
_DEGREES = frozenset(["°", "º", "\\circ", "\\degree"])
_OPERATOR_WORDS = frozenset(
    (
        *("and", "or", "x", "to", "upto", "minus", "plus", "times", "over", "divided", "out", "by", "per", "is", "are"),
        *("comes", "amounts", "equals"),
    )
)
_OPERATORS_IN_WORDS = frozenset(["x", "times", "plus", "minus", "over", "divided", "加", "减", "乘", "除"])
_OPERATIONS = ("平方根", "立方根", "算术平方根", "平方", "立方", "阶乘", "倒数", "相反数", "绝对值", "对数")
_ENGLISH_OPERATIONS = frozenset(("squared", "cubed", "factorial"))
_EXPONENT_NAME = re.compile(r"[^\d]+[23]")


class Tail(Span):
    """Reads what belongs to a number after its digits."""

    def after(self, item: Item) -> Item:
        """Return `item` with the power, scale and unit after it; its value is None if one of them is not understood."""
        if item.value is None and item.is_list:  # 7,5 million: the scale and the unit are no items of their own
            return self.after(item._replace(value=Fraction(1)))._replace(value=None)
        return self._united(self._scaled(self._operated(self._raised(item))))

    def exponent(self, i: int) -> tuple[int | None, int]:
        """Return the exponent at token `i` (None if it is not an integer), and the index after it."""
        if self.kind(i) is Kind.SUPERSCRIPT:
            return _integer(self.text(i).translate(_SUPERSCRIPTS)), i + 1
        j = self.after_spaces(i + 1)
        close = self.pair(j)
        if self.kind(j) in (Kind.LEFT, Kind.OPEN):
            if close < 0:
                return None, self.stop
            written = "".join(self.text(k) for k in range(j + 1, min(close, j + 6)) if self.kind(k) is not Kind.SPACE)
            return (_integer(written) if close <= j + 6 else None), close + 1
        sign = self.text(j) if self.kind(j) in (Kind.MINUS, Kind.PLUS) else ""
        j += bool(sign)
        if self.kind(j) is not Kind.DIGITS:
            return None, min(j + 1, self.stop) if self.kind(j) is not Kind.NEWLINE else j
        if self.kind(j + 1) in (Kind.DOT, Kind.EXPONENT, Kind.POWER) and self.kind(j + 2) is Kind.DIGITS:
            return None, j + 3
        return _integer(sign + self.text(j)), j + 1

    def _raised(self, item: Item) -> Item:
        """Return `item` raised to the power after it, understood only for 10; a degree sign after ^ is a unit."""
        i = item.end
        if self.kind(i) is Kind.SPACE and self.text(i + 1) in ("^", "**") and self.kind(i + 2) is Kind.SPACE:
            i += 1
        if self.kind(i) not in _POWERS:
            return item
        mark = next((k for k in (i + 1, i + 2) if self.kind(k) is not Kind.LEFT), i + 1)
        if self.kind(i) is Kind.POWER and (self.kind(mark) is Kind.SYMBOL or self.text(mark) in units.ORDINALS):
            return item._replace(unit="°", end=max(self.pair(i + 1), mark) + 1)
        exponent, end = self.exponent(i)
        while self.kind(end) in _POWERS:
            exponent, end = None, self.exponent(end)[1]
        is_ten = item.is_whole and not item.is_list and item.value == 10
        value = exact("1", "", exponent) if is_ten and exponent is not None else None
        return Item(value, end, is_power=True)

    def _operated(self, item: Item) -> Item:
        """Return `item` with an operation in words applied: 10的8次方, 3分之1; others are not understood."""
        i = item.end
        of = self.after_spaces(i)
        if self.text(of) == "的":
            first = self.after_spaces(of + 1)
            j = first + (self.text(first) in ("负", "-", "−"))
            count, times = number_words.integer(self, j), self.after_spaces(j + 1)
            if count is not None and self.text(times) == "次" and self.text(times + 1) in ("方", "幂"):
                is_ten = item.value == 10 and (item.is_whole or item.is_phrase)
                value = exact("1", "", count if j == first else -count) if is_ten else None
                return Item(value, times + 2, is_power=True)
            if any(self.spells(first, word) for word in _OPERATIONS):
                return Item(None, first + 1)
        if self.spells(i, "分之"):
            top = number_words.read_number(self, i + 2)
            if top is None or top.value is None or not item.is_whole or not item.value:
                return Item(None, i + 2 if top is None else top.end)
            return Item(top.value / item.value, top.end)
        if self.text(i) == "次" and self.text(i + 1) in ("方", "幂") and self.text(i + 2) != "程":
            return Item(None, i + 2)
        if self.text(self.after_spaces(i)) in _ENGLISH_OPERATIONS:
            return Item(None, self.after_spaces(i) + 1)
        return item

    def _scaled(self, item: Item) -> Item:
        """Return `item` times the scale that follows it: 3万, 5k, 2 million."""
        if item.unit or item.value is None:
            return item
        i = self.after_spaces(item.end)
        is_glued = i == item.end
        scaled = number_words.read_scaled(self, item.value, i)
        if scaled is not None:
            return scaled
        scale, end = number_words.english_scale(self, i)
        letter = self.text(i)
        if scale == 1 and self.kind(i) is Kind.WORD and letter in units.SCALE_LETTERS:
            if is_glued or letter == "k":
                scale, end = int(units.SCALE_LETTERS[letter]), i + 1
            elif letter in ("M", "B"):
                return Item(None, i + 1)
        return item if scale == 1 else Item(item.value * scale, end)

    def _united(self, item: Item) -> Item:
        """Return `item` with the unit after it. If a variable or a factorial sign follows, the item has no value."""
        i = self.after_spaces(item.end)
        is_glued = i == item.end
        kind, text = self.kind(i), self.text(i)
        if kind is Kind.BANG and is_glued and self._is_factorial(i):
            return Item(None, i + 1)
        if text == "per" and self.text(i + 2) in ("cent", "mille", "mil", "mill", "thousand"):
            return item._replace(unit="%" if self.text(i + 2) == "cent" else "‰", end=i + 3)
        if text.lower() in _PER_MILLE:
            return item._replace(unit="‰", end=i + 1)
        if kind is Kind.SYMBOL or text in ("percent", "pct"):
            letters = self.text(i + 1) in ("C", "F") and text in _DEGREES
            return self._per(item._replace(unit="%" if text in _PERCENT else text, end=i + 1 + letters))
        if kind in (Kind.WORD, Kind.NAME) or text in ("min", "sec"):
            return self._in_letters(item, i, is_glued)
        if kind in (Kind.HAN, Kind.NUMERAL):
            return self._in_ideographs(item, i, is_glued)
        return item

    def _in_letters(self, item: Item, i: int, is_glued: bool) -> Item:
        text = self.text(i)
        if self.kind(i) is Kind.NAME:
            is_unit = (
                _EXPONENT_NAME.fullmatch(text) is not None and units.is_unit(text[:-1]) and text[:-1] != "C"
            )  # 5C2
            if is_unit and (is_glued or len(text) < 4):
                return self._per(item._replace(unit=text, end=i + 1))
            return Item(None, i + 1) if is_glued else item
        if not is_glued and self._is_half(i):
            return Item(None, i + 1)
        if text in ("e", "E") and self.kind(i + 1) is Kind.SPACE and self.kind(i + 2) is Kind.DIGITS:
            return Item(None, i + 3)
        is_variable = text in ("x", "y", "z") and not (text == "x" and self.kind(i + 1) is Kind.SPACE)
        if is_variable if not is_glued else not (units.is_unit(text) or text in units.ORDINALS):
            return Item(None, i + 1)
        if text.lower() in _OPERATOR_WORDS or (text == "in" and not is_glued):
            return item
        return self._per(item._replace(unit=text, end=i + 1))

    def _is_half(self, i: int) -> bool:
        """Return whether "and a half" begins at token `i`."""
        words = [self.text(j).lower() for j in range(i, min(i + 6, self.stop)) if self.kind(j) is Kind.WORD]
        return words[:2] == ["and", "half"] or (words[:2] == ["and", "a"] and words[2:3] in (["half"], ["quarter"]))

    def _in_ideographs(self, item: Item, i: int, is_glued: bool) -> Item:
        unit, end = number_words.measure(self, i)
        if "半" in (self.text(i), self.text(end)) or (is_glued and self.text(i) == "几"):
            return Item(None, end + 1)
        if not unit:
            return item
        if unit == "点" and self.kind(end) in (Kind.DIGITS, Kind.NUMERAL):
            return Item(None, end + 1, unit=unit)
        return self._per(item._replace(unit=unit, end=end))

    def _per(self, item: Item) -> Item:
        """Return `item` extended to the end of its compound unit, with exponents and joined units: m/s², N·m."""
        end = item.end
        while True:
            if self.kind(end) in _POWERS:
                end = self.exponent(end)[1]
            is_joined = self.kind(end) in (Kind.SLASH, Kind.TIMES, Kind.STAR, Kind.SPACE)
            if not is_joined or self.kind(end + 1) not in (Kind.WORD, Kind.NAME):
                break
            is_product = self.kind(end) is Kind.SPACE
            if is_product and not (self.kind(end + 2) in _POWERS and units.is_unit(self.text(end + 1))):
                break
            end += 2
        return item._replace(end=end)

    def _is_factorial(self, i: int) -> bool:
        """Return whether "!" after a number is a factorial sign rather than the end of a sentence.

        It is a factorial sign if a formula goes on after it: with =, an operator and an operand, a digit, or the end of
        a bracket, an argument or a box.
        """
        following = self.tokens[i + 1].kind if i + 1 < len(self.tokens) else None  # perhaps the end of an argument
        if following in _BEHIND_FACTORIALS or (following is Kind.OPEN and self._is_operand(i + 2)):
            return True
        j = self.after_spaces(i + 1)
        right = self.after_spaces(j + 1)
        if self.text(right) in ("by", "以"):
            right = self.after_spaces(right + 1)
        is_operator = self.kind(j) in OPERATORS or self.text(j).lower() in _OPERATORS_IN_WORDS
        return self.kind(j) is Kind.RELATION or (is_operator and self._is_operand(right))

    def _is_operand(self, i: int) -> bool:
        """Return whether a number, a variable, a bracket or a fraction begins at token `i`."""
        is_variable = self.kind(i) is Kind.WORD and len(self.text(i)) == 1
        return is_variable or self.kind(i) in (Kind.DIGITS, Kind.OPEN, Kind.NAME, Kind.FRACTION, Kind.ROOT)


def _integer(written: str) -> int | None:
    """Return the integer that `written` spells; None if it is no integer, or if its size is above `MOST_DIGITS`."""
    match = re.fullmatch(r"([+\-−－＋–]?)(\d{1,6})", written)
    if match is None or int(match[2]) > MOST_DIGITS:
        return None
    return int(match[2]) if match[1] in ("", "+", "＋") else -int(match[2])
