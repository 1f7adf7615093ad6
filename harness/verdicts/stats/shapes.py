"""The shapes that a metric's value for one document may have in a report: a number, a pair, counts, texts, labels.

Not here: which statistics follow from a shape (`harness.verdicts.stats.forms`).
"""

from __future__ import annotations

from typing import Any


def is_number(value: object) -> bool:
    """Return whether `value` is a number (or true or false, which count as 1 and 0)."""
    return isinstance(value, int | float)


def is_pair(value: object) -> bool:
    """Return whether `value` is a pair of numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def is_bit_pair(value: Any) -> bool:
    """Return whether `value` is a pair of 0 and 1."""
    return is_pair(value) and all(item in (0, 1) for item in value)


def is_labels(value: object) -> bool:
    """Return whether `value` is a pair of labels: the right one, and the predicted one."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, int | str) for item in value)


def is_counts(value: object, *lengths: int) -> bool:
    """Return whether `value` is a list of number lists with these `lengths`. A length of 0 means a bare number."""
    return (
        isinstance(value, list)
        and len(value) == len(lengths)
        and all(
            isinstance(item, list) and len(item) == length and all(map(is_number, item)) if length else is_number(item)
            for item, length in zip(value, lengths, strict=True)
        )
    )


def is_by_type(value: object) -> bool:
    """Return whether `value` is counts of hits, predictions and expectations by type."""
    return isinstance(value, dict) and all(is_counts(item, 0, 0, 0) for item in value.values())


def is_part(value: object) -> bool:
    """Return whether `value` is IEPile's value: a document's name, its predictions and its expectations."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(isinstance(side, list) and all(isinstance(item, list) for item in side) for side in value[1:])
    )


def is_texts(value: Any) -> bool:
    """Return whether `value` is lm-eval's pair of references and prediction."""
    return isinstance(value, list) and len(value) == 2 and bool(texts(value[0])) and len(texts(value[1])) == 1


def is_probabilities(value: Any) -> bool:
    """Return whether `value` is the place of the right choice, with the choices' probabilities."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], int)
        and isinstance(value[1], list)
        and 0 <= value[0] < len(value[1])
        and all(map(is_number, value[1]))
    )


def texts(value: Any) -> list[str]:
    """Return `value`, a text or a list of texts, as a list; an empty list for anything else."""
    listed = value if isinstance(value, list) else [value]
    return listed if all(isinstance(item, str) for item in listed) else []
