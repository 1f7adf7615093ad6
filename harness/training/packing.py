"""Several examples in one row, so that a batch has fewer padding tokens: which examples, and a proof that none leaks.

Online best fit: an example joins the fullest open row in which it fits, or opens one; of more than `OPEN` rows the
oldest is closed. Rows are learned in the order in which they were opened, so that the order of the examples changes
little, and a training that ends early has about the shares of the mixture. The rows are the same at every start.

Each example keeps its own positions, from 0. transformers recognises by them where an example begins, and hides the
ones before it, if no cache is in use. Whether a model really does so is shown by `require_no_leak` before the training.

Not here: the tensors (`harness.training.batches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from harness.checkpoints.types import Model
from harness.errors import HarnessError
from harness.training.mixture import Place

if TYPE_CHECKING:
    import torch

OPEN = 64
"""Largest number of rows that are open at a time."""
_LEAK = 0.01
"""Largest share of the influence that examples would have on one another in a row without separation. There is none
at all, unless arithmetic depends on other examples, as in a mixture of experts."""
_DIFFERENCE = 1e-3
"""Largest difference between a log-probability (float32) in a packed row and alone; arithmetic differs by 1e-5."""


class Sized(NamedTuple):
    """An example and its number of tokens."""

    place: Place
    length: int


def rows(examples: Iterable[Sized], capacity: int) -> Iterator[list[Place]]:
    """Yield the examples in rows of at most `capacity` tokens; none is longer than that."""
    pending: list[tuple[int, list[Place]]] = []  # tokens left, and examples
    for place, length in examples:
        fitting = [number for number, (left, _) in enumerate(pending) if left >= length]
        if fitting:
            number = min(fitting, key=lambda i: pending[i][0])
            left, row = pending[number]
            row.append(place)
            pending[number] = (left - length, row)
        else:
            pending.append((capacity - length, [place]))
        if len(pending) > OPEN:
            yield pending.pop(0)[1]
    for _, row in pending:
        yield row


def require_no_leak(model: Model, vocabulary: int) -> None:
    """Raise HarnessError if an example in a packed row of `model` sees the examples before it.

    Of two texts in one row, the first is exchanged: the log-probabilities of the second must not change, while they do
    if the row is one text. They must also be those of the second text alone. Ids are below `vocabulary`.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    first, other, second = (torch.randint(0, vocabulary, (1, size), generator=generator) for size in (13, 13, 7))

    def answers(*texts: torch.Tensor, are_apart: bool = True) -> torch.Tensor:
        """Return the log-probabilities at the places of the second text, which is the last of `texts`."""
        length = sum(text.shape[1] for text in texts)
        positions = [torch.arange(text.shape[1]) for text in texts] if are_apart else [torch.arange(length)]
        outputs = model(
            input_ids=torch.cat(texts, dim=1).to(model.device),
            position_ids=torch.cat(positions)[None].to(model.device),
            use_cache=False,
        )
        return torch.log_softmax(outputs.logits[:, -second.shape[1] :].float(), dim=-1)

    is_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed = answers(first, second)
            leak = _largest(packed - answers(other, second))
            influence = _largest(answers(first, second, are_apart=False) - answers(other, second, are_apart=False))
            difference = _largest(packed - answers(second))
    except TypeError as error:  # its forward takes no position_ids
        raise HarnessError(
            f"this {model.config.model_type} reads no positions of packed examples ({error}): set packing: false"
        ) from error
    finally:
        model.train(is_training)
    tolerance = _DIFFERENCE if model.dtype == torch.float32 else 0.1
    if not (leak <= _LEAK * influence and difference <= tolerance):
        raise HarnessError(
            f"with packing, examples of this {model.config.model_type} would see one another: log-probabilities "
            f"change by {max(leak, difference):.2g}; set packing: false"
        )


def _largest(difference: torch.Tensor) -> float:
    return float(difference.abs().max())
