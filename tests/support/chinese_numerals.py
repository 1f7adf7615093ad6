"""Every spelling of the numbers up to 9,999 in Chinese."""

from __future__ import annotations

import itertools

DIGITS = "零一二三四五六七八九"
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def in_words(number):
    """Return `number` in full words: digit and unit of each decimal place, and one 零 for each inner run of zeros."""
    digits = [DIGITS[int(digit)] for digit in str(number)]
    units = ["千", "百", "十", ""][-len(digits) :]
    words = "".join("零" if digit == "零" else digit + unit for digit, unit in zip(digits, units, strict=True))
    while "零零" in words:
        words = words.replace("零零", "零")
    return words.rstrip("零")


def spellings(number):
    """Return every valid spelling of `number` in Chinese."""
    texts = {in_words(number)}
    for old, new in (("一十", "十"), ("二百", "两百"), ("二千", "两千")):
        texts |= {text.replace(old, new) for text in texts}
    texts.add("".join(DIGITS[int(digit)] for digit in str(number)))
    for text in list(texts):
        letters = [("零", "〇") if letter == "零" else (letter,) for letter in text]
        texts |= {"".join(choice) for choice in itertools.product(*letters)}
    return texts


SPELLINGS = {text: number for number in range(1, 10_000) for text in spellings(number)}
