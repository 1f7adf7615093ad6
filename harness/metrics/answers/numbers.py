r"""The last number of a worked answer.

Numbers are read by a grammar, as a person reads them, into exact fractions: 0.5, 1/2, ½ and `\frac{1}{2}` are equal.
The last item of a text that looks like a number decides. If it is not understood (2^10, 3:30, 10-20, 5π, 0xFF), the
text has no number: neither the last digits of that item nor an earlier number is taken instead. docs/numbers.md states
the rules.

Not here: numbers in sentences of law (`harness.metrics.lawbench`), letters (`harness.metrics.answers.choices`).
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction

from harness.metrics.answers.number_context import is_value
from harness.metrics.answers.number_digits import Item
from harness.metrics.answers.number_grammar import Reader
from harness.metrics.answers.number_parts import WHOLES, share
from harness.metrics.answers.number_tokens import Kind, Token, tokens_of

_REASONS = ("because", "since", "因为")
_SIGNS = ("<", ">", "＜", "＞", "≤", "≥", "⩽", "⩾", "≠", "\\le", "\\ge", "\\lt", "\\gt", "\\ne")
_LONGEST_REASON = 40
"""The number of tokens at the end of a text in which a closing reason ("because 200 < 220") is looked for."""


def last_number(text: str) -> Fraction | None:
    r"""Return the value of the last number in `text`, or None if there is none or it is not understood.

    If the text has a `\boxed{…}` that is not empty, the last such box is the answer, whatever follows it, as for the
    graders of MATH (Hendrycks et al. 2021). It must contain one number, or one number after its last sign of equality.
    Time is linear in the text.
    """
    item = _last_item(text)
    return None if item is None else item.value


def is_same_number(prediction: str, reference: str) -> bool:
    """Return whether the last numbers of both texts have the same value; False if either text has no such number.

    A percent (or per mille) sign is a unit, so 25% equals 25, because GSM8K writes percentages without the sign; 25%
    also equals the share that it means, 0.25. A number between -1 and 1 without a percent sign is itself a share, so
    0.25 does not equal 0.25%.
    """
    first, second = _last_item(prediction), _last_item(reference)
    if first is None or second is None or first.value is None or second.value is None:
        return False
    if share(first) == share(second):
        return True
    has_one_sign = (first.unit in WHOLES) != (second.unit in WHOLES)
    return has_one_sign and first.value == second.value and abs(first.value) >= 1


def is_number(text: str) -> bool:
    """Return whether `text` is one number and nothing else except white space, a % or a full stop."""
    tokens = tokens_of(text.strip())
    if tokens and tokens[-1].text in (".", "。", "．"):
        tokens = tokens[:-1]
    item = Reader(tokens, 0, len(tokens)).only()
    return item is not None and item.value is not None and item.unit in ("", "%") and not item.is_list


def _boxed(tokens: list[Token], i: int) -> tuple[int, int] | None:
    """Return the bounds of the content of the box at token `i`, or None if its brace is not closed."""
    if i + 1 < len(tokens) and tokens[i + 1].kind is Kind.LEFT:
        return None if tokens[i + 1].pair < 0 else (i + 2, tokens[i + 1].pair)
    end = i + 1
    while end < len(tokens) and tokens[end].kind not in (Kind.SPACE, Kind.NEWLINE, Kind.HAN, Kind.OTHER):
        end += 1
    return i + 1, end


def _item_of_box(tokens: list[Token], start: int, stop: int) -> Item | None:
    relations = [
        i for i in range(start, stop) if tokens[i].kind is Kind.RELATION and tokens[i - 1].kind is not Kind.OPEN
    ]
    if relations and any(_parts(tokens, i) for i in range(relations[0], relations[-1])):
        return None  # x = 3, y = 5
    items: list[Item] = list(Reader(tokens, relations[-1] + 1 if relations else start, stop).items())
    return _stated(tokens, (start, stop), items[0]) if len(items) == 1 else None


def _stated(tokens: list[Token], bounds: tuple[int, int], item: Item | None) -> Item | None:
    """Return `item`. If the words around it in `bounds` make it a date, a bound, an operand …, its value is None."""
    is_read = item is None or item.value is None or is_value(tokens, bounds, item)
    return item if is_read or item is None else item._replace(value=None)


def _last_item(text: str) -> Item | None:
    """Return the number that decides `text`: the one in its last non-empty box or, without a box, its last one."""
    tokens = tokens_of(text)
    for i in range(len(tokens) - 1, -1, -1):
        if tokens[i].kind is Kind.BOXED:
            bounds = _boxed(tokens, i)
            if bounds is None or bounds[0] < bounds[1]:
                return None if bounds is None else _item_of_box(tokens, *bounds)
    stop = _start_of_reason(tokens)
    item = next(iter(deque(Reader(tokens, 0, stop).items(), maxlen=1)), None)
    if item is None and stop < len(tokens):
        stop = len(tokens)
        item = next(iter(deque(Reader(tokens, 0, stop).items(), maxlen=1)), None)
    return _stated(tokens, (0, stop), item)


def _start_of_reason(tokens: list[Token]) -> int:
    """Return where a closing reason with a sign of inequality begins ("5, because 200 < 220"), or the end."""
    stop, text = len(tokens), ""
    for i in range(stop - 1, max(-1, stop - _LONGEST_REASON), -1):
        text = tokens[i].text[:_LONGEST_REASON] + text
        if text.lower().startswith(_REASONS):
            return i if _has_sign(text) else stop
        if tokens[i].kind is Kind.NEWLINE and text.strip():
            break
    return stop


def _has_sign(text: str) -> bool:
    """Return whether `text` has a sign of inequality."""
    return any(sign in text for sign in _SIGNS)


def _parts(tokens: list[Token], i: int) -> bool:
    """Return whether token `i` separates one statement from the next."""
    is_comma = tokens[i].kind is Kind.COMMA and i + 1 < len(tokens) and tokens[i + 1].kind is not Kind.DIGITS
    return is_comma or tokens[i].kind is Kind.WIDE_COMMA or tokens[i].text in ("and", "or", "或", "和", ";", "；", "、")
