"""Every spelling of the numbers up to 9,999 in Chinese."""

from __future__ import annotations

import itertools

DIGITS = "零一二三四五六七八九"
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def as_read(number):
    """Return `number` as it is read, in the fullest spelling: place by place, then one 零 for each run inside."""
    places = [DIGITS[int(digit)] for digit in str(number)]
    units = ["千", "百", "十", ""][-len(places) :]
    full = "".join("零" if digit == "零" else digit + unit for digit, unit in zip(places, units, strict=True))
    while "零零" in full:
        full = full.replace("零零", "零")
    return full.rstrip("零")


def spellings(number):
    """Return every spelling of `number` in Chinese that is to be read."""
    full = as_read(number)
    found = {full}
    for old, new in (("一十", "十"), ("二百", "两百"), ("二千", "两千")):
        found |= {text.replace(old, new) for text in found}
    found.add("".join(DIGITS[int(digit)] for digit in str(number)))
    for text in list(found):
        zeros = [("零", "〇") if letter == "零" else (letter,) for letter in text]
        found |= {"".join(letters) for letters in itertools.product(*zeros)}
    return found


SPELLINGS = {text: number for number in range(1, 10_000) for text in spellings(number)}
