r"""Numbers in Arabic digits: thousands, decimals, powers of ten after an e, lists joined by commas.

Thousands are separated by commas (also `{,}` and `,\!`), thin or no-break spaces (also `\,`), apostrophes or
underscores. A full-width comma separates thousands between full-width digits only: elsewhere it separates clauses. A
plain space separates thousands only if a group begins with 0 (300 000 000); "1 200" may be one number or two, so it is
not understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from harness.metrics.answers.number_tokens import Kind, Token, is_wide

OPERATORS = frozenset((Kind.TIMES, Kind.STAR, Kind.SLASH, Kind.DIVIDE, Kind.PLUS, Kind.MINUS, Kind.PLUS_MINUS))
"""Signs of arithmetic between two operands."""
MOST_DIGITS = 10_000
"""The most digits of a number, written out; a number with more digits is not understood."""


class Item(NamedTuple):
    """A number, or something like a number, in a text."""

    value: Fraction | None
    """The value of the number; None if it is not understood."""
    end: int
    """Index of the first token after the number and its unit."""
    unit: str = ""
    """The word or symbol that follows the number as its unit; empty if there is none."""
    is_whole: bool = False
    """Whether the number is an integer in digits, without a power, scale or unit."""
    is_plain: bool = False
    """Whether the number is written in digits alone, with or without a decimal point."""
    is_power: bool = False
    """Whether the item is a power such as 10^3 without a factor before it; only powers of ten have a value."""
    is_list: bool = False
    """Whether the item is the last of several numbers joined by commas, or has a decimal comma (not understood)."""
    is_phrase: bool = False
    """Whether the item counts as a number only if its clause has nothing else: 三, five."""
    start: int = 0
    """Index of the item's first token, its sign included; set only for items that `Reader.items` yields."""


class Span:
    """The tokens between two bounds of a text; an index outside of the bounds has no token."""

    def __init__(self, tokens: Sequence[Token], start: int, stop: int) -> None:
        self.tokens, self.start, self.stop = tokens, start, stop

    def kind(self, i: int) -> Kind | None:
        """Return the kind of token `i`, or None outside the bounds."""
        return self.tokens[i].kind if self.start <= i < self.stop else None

    def text(self, i: int) -> str:
        """Return the text of token `i`, empty outside the bounds."""
        return self.tokens[i].text if self.start <= i < self.stop else ""

    def pair(self, i: int) -> int:
        """Return the index of the bracket that closes the bracket at token `i`; -1 if none does within the bounds."""
        return self.tokens[i].pair if self.start <= i < self.stop and self.tokens[i].pair < self.stop else -1

    def is_priced(self, i: int) -> bool:
        """Return whether a currency sign stands directly before token `i`."""
        return self.start <= i < self.stop and self.tokens[i].is_priced

    def spells(self, i: int, word: str) -> bool:
        """Return whether the tokens from `i` on are the letters of `word`, one letter per token."""
        return all(self.text(i + k) == letter for k, letter in enumerate(word))

    def has_digits(self, start: int, stop: int) -> bool:
        """Return whether any of the first twelve tokens between `start` and `stop` has digits (5, ² or ½)."""
        numbers = (Kind.DIGITS, Kind.SUPERSCRIPT, Kind.VULGAR)
        return any(self.kind(j) in numbers for j in range(start, min(stop, start + 12)))

    def after_spaces(self, i: int) -> int:
        """Return the index of the first token from `i` on that is not a space."""
        while self.kind(i) in (Kind.SPACE, Kind.THIN):
            i += 1
        return i

    def before_spaces(self, i: int) -> int:
        """Return the index of the last token up to `i` that is not a space."""
        while self.kind(i) in (Kind.SPACE, Kind.THIN):
            i -= 1
        return i


_SEPARATORS = (Kind.COMMA, Kind.WIDE_COMMA, Kind.THIN, Kind.APOSTROPHE, Kind.SPACE)


def read_digits(span: Span, i: int) -> Item | None:
    """Return the number in Arabic digits that begins at token `i`, or None if none does."""
    if span.kind(i) is Kind.DOT:  # .5, but not the 5 of No.5 or 3..5
        if span.kind(i + 1) is not Kind.DIGITS or span.kind(i - 1) in (Kind.WORD, Kind.NAME, Kind.DOT):
            return None
        return _with_exponent(span, "", span.text(i + 1), i + 2)
    if span.kind(i) is not Kind.DIGITS:
        return None
    groups, separator, end = _groups(span, i)
    if span.kind(i - 1) is Kind.WIDE_COMMA and span.kind(i - 2) is Kind.DIGITS and re.match(r"[0０]\d\d", groups[0]):
        return Item(None, _end_of_chain(span, end))  # 1，000
    if separator is Kind.COMMA and not _are_thousands(groups):
        return _list(span, groups, end)
    is_doubtful = separator is Kind.SPACE and not any(group[0] == "0" for group in groups[1:])
    if is_doubtful or (len(groups) > 1 and not _are_thousands(groups)):
        return Item(None, _end_of_chain(span, end))
    digits = "".join(groups)
    if span.kind(end) is Kind.DOT and span.kind(end + 1) is Kind.DIGITS:
        return _with_exponent(span, digits, span.text(end + 1), end + 2)
    return _with_exponent(span, digits, "", end)


def exact(digits: str, decimals: str = "", exponent: int = 0) -> Fraction | None:
    """Return the value of `digits`.`decimals` × 10^`exponent`, or None if it has more than `MOST_DIGITS` digits."""
    if len(digits) + len(decimals) + abs(exponent) > MOST_DIGITS:
        return None
    shift = exponent - len(decimals)
    whole = int(Decimal(digits + decimals or "0"))
    return Fraction(whole * 10**shift) if shift >= 0 else Fraction(whole, 10**-shift)


def combined(left: Item, right: Item, is_product: bool, is_ratio: bool) -> Fraction | None:
    """Return the value of a/b (`is_ratio`) or of a×10^n (`is_product`); None for every other expression."""
    if left.value is None or right.value is None or left.unit or not left.is_plain or left.is_list:
        return None
    if is_ratio and right.is_plain and right.value and not right.is_list:
        return left.value / right.value
    if is_product and right.is_power:
        return left.value * right.value
    return None


def _groups(span: Span, i: int) -> tuple[list[str], Kind | None, int]:
    """Return the groups of digits from token `i` on, the kind of separator between them, and the index after them."""
    groups, separator, end = [span.text(i)], None, i + 1
    while span.kind(end) in _SEPARATORS and span.kind(end + 1) is Kind.DIGITS:
        kind, following = span.kind(end), span.text(end + 1)
        if separator is not None and kind is not separator:
            break
        if kind is Kind.WIDE_COMMA and not (is_wide(groups[-1]) and is_wide(following) and len(following) == 3):
            break
        is_group = len(following) == 3 and len(groups[0]) <= 3
        if kind in (Kind.THIN, Kind.SPACE) and not (is_group and span.text(end) != "\t" and len(span.text(end)) <= 2):
            break
        if kind is Kind.SPACE and span.kind(end + 2) is Kind.SLASH:  # 3 100/200
            break
        groups.append(following)
        separator = kind
        end += 2
    return groups, separator, end


def _are_thousands(groups: Sequence[str]) -> bool:
    return 1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:]) and groups[0] != "0"


def _list(span: Span, groups: Sequence[str], end: int) -> Item:
    """Return the last number of a list such as 1,3,4.

    The item is not understood if the list could also be one number: with groups of three digits (1,20,000) or a decimal
    comma (12,34).
    """
    end, behind = _end_of_chain(span, end), end
    is_doubtful = any(len(group) == 3 or group[0] == "0" != group for group in groups[1:])
    if end > behind or len(groups) == 2 or is_doubtful:
        return Item(None, end, is_list=True)
    return Item(exact(groups[-1]), end, is_whole=True, is_plain=True, is_list=True)


def _with_exponent(span: Span, digits: str, decimals: str, end: int) -> Item:
    """Return `digits`.`decimals`, with the exponent after an e at token `end`. If points follow, it has no value."""
    exponent, has_exponent = 0, span.kind(end) is Kind.EXPONENT
    if has_exponent:
        written = span.text(end + 1)
        sign = -1 if span.text(end)[1:] not in ("", "+", "＋") else 1
        exponent = sign * int(written) if len(written) < 6 else MOST_DIGITS + 1
        end += 2
    end, behind = _end_of_chain(span, end), end
    is_broken = end > behind  # 1.2.3, 1.200,50
    if span.kind(end) is Kind.ELLIPSIS and (decimals or span.kind(end + 1) is Kind.DIGITS):
        is_broken, end = True, end + 1 + (span.kind(end + 1) is Kind.DIGITS)  # 0.333…, 1..5
    if is_broken:
        return Item(None, end)
    is_plain = not has_exponent and not (digits[:1] == "0" and len(digits) > 1)
    return Item(exact(digits, decimals, exponent), end, is_whole=not has_exponent and not decimals, is_plain=is_plain)


def _end_of_chain(span: Span, end: int) -> int:
    """Return the index after all further digits that points, commas or an e join to the digits before token `end`."""
    while span.kind(end) in (Kind.DOT, Kind.COMMA, Kind.EXPONENT) and span.kind(end + 1) is Kind.DIGITS:
        end += 2
    return end
