"""Several examples in one row, so that a batch has fewer padding tokens: which examples, and a proof that none leaks.

Online best fit: an example joins the fullest open row in which it fits, or opens one. Of more than `OPEN` open rows the
fullest is closed, so the order of learning changes little, and the rows are the same at every start.

Each example keeps its own positions, from 0. transformers recognises by them where an example begins, and hides the
ones before it, if no cache is in use. Whether a model really does so is shown by `require_no_leak` before the training.

Not here: the tensors (`harness.training.batches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from harness.checkpoints.types import Model
from harness.errors import HarnessError
from harness.training.mixture import Place

OPEN = 64
"""Largest number of rows that are open at a time."""
LEAK = 1e-3
"""Largest difference between a log-probability (float32) in a packed row and alone; arithmetic differs by 1e-5."""


class Sized(NamedTuple):
    """An example and its number of tokens."""

    place: Place
    length: int


def rows(examples: Iterable[Sized], capacity: int) -> Iterator[list[Place]]:
    """Yield the examples in rows of at most `capacity` tokens; none is longer than that."""
    open_rows: list[tuple[int, list[Place]]] = []  # tokens left, and examples
    for place, length in examples:
        fitting = [number for number, (left, _) in enumerate(open_rows) if left >= length]
        if fitting:
            number = min(fitting, key=lambda i: open_rows[i][0])
            left, row = open_rows[number]
            row.append(place)
            open_rows[number] = (left - length, row)
        else:
            open_rows.append((capacity - length, [place]))
        if len(open_rows) > OPEN:
            fullest = min(range(len(open_rows)), key=lambda i: open_rows[i][0])
            yield open_rows.pop(fullest)[1]
    for _, row in open_rows:
        yield row


def require_no_leak(model: Model, vocabulary: int) -> None:
    """Raise HarnessError if an example in a packed row of `model` sees the examples before it.

    Two texts of different tokens are read alone and in one row; ids are below `vocabulary`.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, vocabulary, (1, length), generator=generator) for length in (13, 7)]
    packed = torch.cat(texts, dim=1).to(model.device)
    positions = torch.cat([torch.arange(text.shape[1]) for text in texts])[None].to(model.device)

    def answers(**inputs: Any) -> torch.Tensor:
        return torch.log_softmax(model(**inputs, use_cache=False).logits.float(), dim=-1)

    is_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            together = answers(input_ids=packed, position_ids=positions)
            alone = torch.cat([answers(input_ids=text.to(model.device)) for text in texts], dim=1)
    finally:
        model.train(is_training)
    difference = float((together - alone).abs().max())
    tolerance = LEAK if together.dtype == model.dtype else 0.1
    if not difference <= tolerance:
        raise HarnessError(
            f"with packing, examples of this {model.config.model_type} would see one another: log-probabilities differ "
            f"by {difference:.2g}; set packing: false"
        )
