"""The grammar of numbers in a text: a recursive reader over tokens.

An *item* is a run of tokens that writes a number, or something like a number that is not understood: an expression, a
range, a date, a power of anything but ten. The reader consumes what it reads, so that its time is linear in the text's
length.

    item     = operand { operator operand }          of several operands, only a/b and a×10^n are understood
    operand  = [sign] primary [power] [scale] [unit]
    primary  = digits | mixed | fraction | numeral

Not here: which item is a text's answer (`harness.metrics.answers.numbers`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property

from harness.metrics.answers import number_parts, number_words, units
from harness.metrics.answers.number_digits import OPERATORS, Item, Span, combined, exact, read_digits
from harness.metrics.answers.number_tail import Tail
from harness.metrics.answers.number_tokens import Kind, Token

_DEEPEST = 8  # fractions within fractions

_LEFT_OPERANDS = frozenset(
    (Kind.WORD, Kind.NAME, Kind.CLOSE, Kind.RIGHT, Kind.CONSTANT, Kind.SUPERSCRIPT, Kind.BANG, Kind.DIGITS)
)
_CLOSED = frozenset((Kind.CLOSE, Kind.RIGHT, Kind.CONSTANT))
_OPERATORS = OPERATORS - {Kind.MINUS, Kind.PLUS_MINUS}
_HAN_OPERATORS = ("乘以", "除以", "加", "减", "乘", "除", "至", "到", "比", "余")
_WORD_OPERATORS = frozenset(
    ["x", "to", "minus", "plus", "times", "over", "divided", "through", "thru", "upto", "mod", "modulo"]
)
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SKIPPED_ARGUMENTS = frozenset(
    (
        "\\pmod",
        "_",
        "<sub>",
        "\\tag",
        "\\label",
        "\\ref",
        "\\eqref",
        "\\begin",
        "\\end",
        "\\color",
        "\\hspace",
        "\\vspace",
    )
)
_POWERS = frozenset((Kind.POWER, Kind.SUPERSCRIPT))
_LABELS = frozenset(["step", "question", "problem", "part", "case", "example", "equation"])
_CHINESE_LABELS = frozenset("题篇章节条页")
_BARE_FUNCTION = re.compile("log|lg|ln|sqrt|arc|sin|cos|tan|cot")
_COPULAS = frozenset("是为得于共剩")
_CLAUSE_ENDS = frozenset((Kind.NEWLINE, Kind.WIDE_COMMA, Kind.COMMA, Kind.DOT, Kind.BANG, Kind.CLOSE, None))
_PUNCTUATION = _CLAUSE_ENDS | {
    Kind.SPACE, Kind.THIN, Kind.OTHER, Kind.OPEN, Kind.ELLIPSIS, Kind.COLON, Kind.APOSTROPHE, Kind.STAR
}  # fmt: skip


class Reader(Span):
    """Reads the items of the tokens within its bounds."""

    def __init__(self, tokens: Sequence[Token], start: int, stop: int, depth: int = 0) -> None:
        super().__init__(tokens, start, stop)
        self._depth = depth
        self._tail = Tail(tokens, start, stop)

    def items(self) -> Iterator[Item]:
        """Yield the items from left to right. An item that is the last part of a quantity or a tuple has no value."""
        i, last, is_tuple = self.start, None, False
        while i < self.stop:
            item, end = self._item(i)
            if item is not None:
                item, end = self._glossed(item, i, end)
                item = item._replace(start=i)
                before, after = self.before_spaces(i - 1), self.after_spaces(item.end)
                is_next = is_tuple and last is not None and self.kind(before) is Kind.COMMA and before == last.end
                is_tuple = is_next or (self.kind(before) is Kind.OPEN and self.kind(after) in (Kind.COMMA, Kind.CLOSE))
                is_member = is_tuple and self.kind(after) is Kind.CLOSE and (is_next or item.is_list)  # (3, 5)
                is_part = last is not None and number_parts.continues(self, last, item)
                if is_member or is_part or number_parts.follows_unit(self, item):
                    item = item._replace(value=None, is_phrase=False)
                if not item.is_phrase:
                    yield item
                last = item if self.text(i) not in ("零", "〇") or last is None else last  # 2小时零5分钟
            i = max(end, i + 1)

    def only(self) -> Item | None:
        """Return the item that is all there is within the bounds except spaces, or None if there is no such item."""
        item, end = self._item(self.after_spaces(self.start))
        is_only = item is not None and not item.is_phrase and self.after_spaces(end) == self.stop
        return item if is_only else None

    # -- brackets behind a number

    def _glossed(self, item: Item, i: int, end: int) -> tuple[Item, int]:
        """Extend `item`, which begins at token `i`, by what follows its glosses. Return it and the index after it.

        A gloss is a bracket directly after a number and its unit: 72 (48+24), 5 (five) million. The unit, or an
        operator and an operand, may follow the bracket.
        """
        first_end = item.end
        while item.value is not None and not item.is_phrase and (close := self._gloss(item, i)) > 0:
            behind = item._replace(end=close + 1)
            item = behind if item.unit else self._tail.after(behind)
        if item.end == first_end:
            return item, end
        while (longer := self._joined(item)) is not None:  # 10 (ten) to 20
            item = longer
        return item, item.end

    def _gloss(self, item: Item, i: int) -> int:
        """Return the index of the bracket that closes the gloss after `item`, as in 72 (48+24); -1 without a gloss."""
        j = self.after_spaces(item.end)
        first = self.after_spaces(j + 1)
        if self.kind(j) is not Kind.OPEN or self.pair(j) < 0 or self._is_label(item, i):
            return -1
        is_glued = j == item.end and self.text(j) in ("(", "[") and self.kind(j - 1) is not Kind.CLOSE
        if is_glued and not item.unit:  # a factor, unless it holds words or an =
            is_text = self.kind(first) in (Kind.RELATION, Kind.HAN) or self.kind(first) is Kind.WORD
            is_text = (
                is_text and not self._is_variable(first) and self.kind(self.after_spaces(first + 1)) not in OPERATORS
            )
            return self.pair(j) if is_text else -1
        return self.pair(j)

    def _is_label(self, item: Item, i: int) -> bool:
        """Return whether the number at token `i` names a part of a text rather than a quantity: Step 2 (18)."""
        is_chinese = self.text(i - 1) == "第" and item.unit in _CHINESE_LABELS
        return is_chinese or self.text(self.before_spaces(i - 1)).lower() in _LABELS

    def _is_sum(self, i: int) -> bool:
        """Return whether the bracket at token `i` begins with a variable and an operator: (x+1), (2x-3)."""
        j = self.after_spaces(i + 1)
        j += self.kind(j) is Kind.MINUS
        j += self.kind(j) is Kind.DIGITS
        return self._is_variable(j) and self.kind(self.after_spaces(j + 1)) in OPERATORS | _POWERS

    # -- items and operators

    def _item(self, i: int) -> tuple[Item | None, int]:
        """Return the item that begins at token `i`, or None, and the index from which to go on reading.

        A returned item whose `is_phrase` is true (a single numeral inside a sentence) is not a number in this place.
        """
        kind = self.kind(i)
        if kind in (Kind.POWER, Kind.SUPERSCRIPT):
            return self._stray_power(i)
        if kind is Kind.COMMAND:
            is_skipped = self.text(i) in _SKIPPED_ARGUMENTS and self.kind(i + 1) is Kind.LEFT
            return None, max(self.pair(i + 1) if is_skipped else i, i) + 1
        item = self._operand(i)
        if item is None:
            return None, i + 1
        is_cut = self._is_right_operand(i)
        while (longer := self._joined(item)) is not None:
            item = longer
        if is_cut:
            return Item(None, item.end), item.end
        return item._replace(is_phrase=item.is_phrase and not self._is_clause(i, item.end)), item.end

    def _operand(self, i: int) -> Item | None:
        """Return the number with sign, power, scale and unit that begins at token `i`, or None."""
        factor, j = self._sign(i)
        primary = self._primary(j)
        if primary is None:
            return None
        has_tail = primary.value is not None or primary.is_whole or primary.is_list
        item = self._tail.after(primary) if has_tail else primary
        if j > i:
            item = item._replace(is_phrase=item.is_phrase and factor == 1)
        if item.value is None or factor is None:
            return item._replace(value=None)
        return item._replace(value=item.value * factor)

    def _joined(self, left: Item) -> Item | None:
        """Return `left` joined with the operator and the operand that follow it, or None if none follow."""
        i = self.after_spaces(left.end)
        is_spaced = i > left.end
        kind = self.kind(i)
        if kind in (Kind.ROOT, Kind.CONSTANT, Kind.FUNCTION, Kind.OBSTACLE):  # 2√3, 5π
            right = self._primary(i)
            return None if right is None else Item(None, right.end)
        end = self._operator(left, i, is_spaced)
        right = self._operand(self.after_spaces(end)) if end else None
        if right is None:
            return Item(None, end or i + 1) if self._has_unknown(left, i, end, is_spaced) else None
        is_product = kind in (Kind.TIMES, Kind.STAR) or self.text(i) in ("x", "X", "乘")
        return Item(combined(left, right, is_product, kind is Kind.SLASH), right.end, unit=right.unit)

    def _operator(self, left: Item, i: int, is_spaced: bool) -> int:
        """Return the index after the operator that follows `left` at token `i`, or 0 if there is no operator."""
        kind, text = self.kind(i), self.text(i)
        is_open = self.kind(i + 1) is Kind.SPACE
        if kind in OPERATORS:
            return i + 1
        if kind in (Kind.DASH, Kind.TILDE) and is_spaced == is_open and not (is_spaced and left.unit):
            return i + 1
        if kind is Kind.APOSTROPHE:
            return 0 if is_spaced or is_open else i + 1
        if kind is Kind.COLON:
            return i + 1 if is_spaced == is_open and not left.unit else 0
        if text == "out" and self.text(self.after_spaces(i + 1)) == "of":
            return self.after_spaces(i + 1) + 1
        if kind is Kind.WORD and text.lower() in _WORD_OPERATORS and is_spaced and is_open:
            return i + 3 if self.text(i + 2) == "by" else i + 1
        if kind is Kind.FUNCTION and text.endswith("mod") and is_open:
            return i + 1
        if kind is Kind.HAN:
            end = next((i + len(word) for word in _HAN_OPERATORS if self.spells(i, word)), 0)
            return end if is_spaced == (self.kind(end) is Kind.SPACE) else 0
        return 0

    def _has_unknown(self, left: Item, i: int, end: int, is_spaced: bool) -> bool:
        """Return whether an operator at token `i` joins `left` with something that is not a number: 5+x, 5(x+1)."""
        if self.kind(i) is Kind.OPEN and not left.unit:
            return self._is_sum(i)
        j = self.after_spaces(end)
        kind = self.kind(i)
        if not end or left.unit or kind not in OPERATORS or is_spaced != (j > end):
            return False
        if kind in (Kind.SLASH, Kind.MINUS):  # 5/day, 10-year
            return self.kind(j) in (Kind.OPEN, Kind.NAME) or (self._is_variable(j) and not units.is_unit(self.text(j)))
        return self.kind(j) in (Kind.WORD, Kind.NAME, Kind.OPEN)

    def _is_right_operand(self, i: int) -> bool:
        """Return whether token `i` follows an operator whose left operand is not a number: x + 5, (2+1)/3, f(5)."""
        j = self.before_spaces(i - 1)
        kind = self.kind(j)
        if kind is Kind.OPEN and j == i - 1:
            before = self.kind(j - 1)
            return before in _OPERATORS | {Kind.MINUS, Kind.DIGITS, Kind.RIGHT, Kind.CONSTANT}
        if kind is Kind.PLUS_MINUS:
            return True
        left = self.before_spaces(j - 1)
        if kind is Kind.HAN and self._ends_with_root(j):
            return True
        is_line = left < self.start or self.kind(left) is Kind.NEWLINE
        return kind in _OPERATORS and not is_line and self.kind(left) in _LEFT_OPERANDS

    def _ends_with_root(self, j: int) -> bool:
        return self.spells(j - 1, "根号") or self.spells(j - 2, "根号下")

    def _sign(self, i: int) -> tuple[int | None, int]:
        """Return the sign at token `i` (-1, else 1; None for an operator), and the index of the number after it."""
        text, kind = self.text(i), self.kind(i)
        if text in ("负", "負") or self.spells(i, "零下"):
            j = self.after_spaces(i + 1 if text in ("负", "負") else i + 2)
            j = self.after_spaces(j + 1) if j > i and self.text(j) == "的" else j
            return (None if self.text(i - 1) == "正" else -1, j) if self._begins(j) else (1, i)
        if kind is Kind.WORD and text.lower() in ("minus", "negative") and self.kind(i + 1) is Kind.SPACE:
            is_operator = self._is_variable(self.before_spaces(i - 1))
            return (None if is_operator else -1, i + 2) if self._begins(i + 2) else (1, i)
        if kind is Kind.PLUS and self._begins(i + 1) and self.kind(i - 1) not in _LEFT_OPERANDS:
            return 1, i + 1
        if kind is not Kind.MINUS:
            return 1, i
        j = self.after_spaces(i + 1)
        if not self._begins(j):
            return 1, i
        before = self.before_spaces(i - 1)
        if self.text(i - 1) == "|":
            return None, j
        if self.kind(before) in _CLOSED or self._is_variable(before):
            return None, j
        if j > i + 1:  # a dash, unless what precedes it awaits a value
            return (-1 if self.kind(before) in (Kind.RELATION, Kind.OPEN) else 1), j
        if before == i - 1 and self.kind(before) in (Kind.MINUS, Kind.DASH):
            return 1, j
        return (None if before == i - 1 and self.kind(before) in _LEFT_OPERANDS else -1), j

    def _is_variable(self, i: int) -> bool:
        return self.kind(i) is Kind.WORD and len(self.text(i)) == 1

    def _begins(self, i: int) -> bool:
        """Return whether a number may begin at token `i`."""
        if self.kind(i) is Kind.DOT:
            return self.kind(i + 1) is Kind.DIGITS
        is_word = self.kind(i) is Kind.WORD and number_words.read_english(self, i) is not None
        return is_word or self.kind(i) in (Kind.DIGITS, Kind.VULGAR, Kind.FRACTION, Kind.NUMERAL)

    # -- primaries

    def _primary(self, i: int) -> Item | None:
        kind = self.kind(i)
        if kind in (Kind.DIGITS, Kind.DOT):
            item = read_digits(self, i)
            return item if item is None else self._mixed(item)
        if kind is Kind.VULGAR:
            spelled = unicodedata.normalize("NFKC", self.text(i)).replace("\u2044", "/")
            return Item(Fraction(spelled) if self.text(i) in _VULGAR else None, i + 1)
        if kind is Kind.FRACTION:
            return self._fraction(i)
        if kind is Kind.NUMERAL:
            item = number_words.read_chinese(self, i)
            return item if item is None else self._mixed(item)
        if kind is Kind.WORD and (item := number_words.read_english(self, i)) is not None:
            return item
        is_function = (kind is Kind.NAME or self._is_variable(i)) and self.kind(i + 1) is Kind.OPEN  # f(5), log2(8)
        if is_function or kind in (Kind.ROOT, Kind.FUNCTION, Kind.CONSTANT, Kind.OBSTACLE):
            return self._obstacle(i)
        return None

    def _mixed(self, whole: Item) -> Item:
        """Return `whole` with the proper fraction after it: 3 1/2, 3½, 2\\frac{1}{2}, 二又三分之一."""
        has_word = self.text(whole.end) == "又"
        i = self.after_spaces(whole.end + has_word)
        if not has_word and (not whole.is_whole or whole.is_list):
            return whole
        part: Item | None = None
        if self.kind(i) in (Kind.VULGAR, Kind.FRACTION) or (has_word and self.kind(i) is Kind.NUMERAL):
            part = self._primary(i)
        elif self.kind(i) is Kind.DIGITS and self.kind(i + 1) is Kind.SLASH and self.kind(i + 2) is Kind.DIGITS:
            if i == whole.end + has_word and not has_word:
                return whole
            values = [exact(self.text(j)) for j in (i, i + 2)]
            is_chain = self.kind(i + 3) is Kind.SLASH and self.kind(i + 4) is Kind.DIGITS
            top, bottom = values
            part = Item(None if is_chain or top is None or not bottom else top / bottom, i + 3)
        if part is None:
            return Item(None, whole.end + 1) if has_word and whole.is_whole else whole
        is_read = whole.value is not None and part.value is not None and 0 < part.value < 1
        value = whole.value + part.value if is_read and whole.value is not None and part.value is not None else None
        return Item(value, part.end)

    def _fraction(self, i: int) -> Item:
        r"""Return the LaTeX fraction at token `i`: \frac{a}{b}, \frac12."""
        j = self.after_spaces(i + 1)
        digits = self.text(j)
        if self.kind(j) is Kind.DIGITS and len(digits) > 1:
            top, bottom, end = exact(digits[0]), exact(digits[1]) if len(digits) == 2 else None, j + 1
        else:
            top, j = self._argument(j)
            bottom, end = self._argument(self.after_spaces(j))
        return Item(top / bottom if top is not None and bottom else None, end)

    def _argument(self, i: int) -> tuple[Fraction | None, int]:
        """Return the value of the LaTeX argument at token `i` (None if not understood), and the index after it."""
        if self.kind(i) is Kind.DIGITS and len(self.text(i)) == 1:
            return exact(self.text(i)), i + 1
        close = self.pair(i)
        if self.kind(i) is not Kind.LEFT or close < 0:
            return None, self.stop if self.kind(i) is Kind.LEFT else i
        if self._depth >= _DEEPEST:
            return None, close + 1
        item = Reader(self.tokens, i + 1, close, self._depth + 1).only()
        return (None if item is None or item.unit else item.value), close + 1

    def _obstacle(self, i: int) -> Item | None:
        """Return a valueless item for the root, function or other notation at token `i`; None if it has no number."""
        j = self.after_spaces(i + 1)
        kind, text = self.kind(i), self.text(i)
        if kind is Kind.CONSTANT:
            return Item(None, i + 1)
        if kind in (Kind.WORD, Kind.NAME) or (
            kind is Kind.FUNCTION and text[0] != "\\"
        ):  # f(5), log 8; not max 8, 5 min
            is_bare = kind is Kind.FUNCTION and _BARE_FUNCTION.match(text) is not None and self._begins(j)
            if not is_bare and (j > i + 1 or self.kind(j) not in (Kind.OPEN, Kind.LEFT, Kind.COMMAND, *_POWERS)):
                return None
        while self.kind(j) in (Kind.LEFT, Kind.OPEN, Kind.COMMAND):
            j = max(self.pair(j), j) + 1
        if self.kind(j) in (Kind.DIGITS, Kind.NUMERAL) and kind is not Kind.OBSTACLE:
            j += 1
        is_number = kind is Kind.OBSTACLE or self.has_digits(i + 1, j)
        return Item(None, max(j, i + 1)) if is_number else None

    def _stray_power(self, i: int) -> tuple[Item | None, int]:
        """Return an item without a value for the exponent at token `i` (None after a unit), and the index after it."""
        end = self._tail.exponent(i)[1]
        base, word = self.kind(i - 1), self.text(i - 1)
        is_letters = base is Kind.WORD and not (len(word) > 1 and units.is_unit(word)) and word not in ("m", "s")
        is_base = is_letters or base in (Kind.NAME, Kind.CLOSE, Kind.RIGHT, Kind.CONSTANT, Kind.FUNCTION)
        return (Item(None, end) if is_base and self.has_digits(i, end) else None), end

    # -- numerals that are numbers only on their own

    def _is_clause(self, i: int, end: int) -> bool:
        """Return whether the numeral at token `i` is all of the answer, or all that follows "is" in its clause."""
        _, end = number_words.measure(self, end)
        first, last = self._content
        if i <= first and last < end:
            return True
        before = self.before_spaces(i - 1)
        is_value = self.text(before) in _COPULAS or self.kind(before) in (Kind.RELATION, Kind.COLON)
        is_value = is_value or self.text(before).lower() in ("is", "equals")
        is_idiom = self.text(before) in ("为", "于") and self.kind(before - 1) is Kind.NUMERAL  # 合二为一
        return is_value and not is_idiom and (self.kind(end) in _CLAUSE_ENDS or self.text(end) in tuple("。；;！？"))

    @cached_property
    def _content(self) -> tuple[int, int]:
        """The index of the first and that of the last token within the bounds that is not punctuation."""
        places = [i for i in range(self.start, self.stop) if self.kind(i) not in _PUNCTUATION]
        return (places[0], places[-1]) if places else (self.stop, self.start - 1)
