"""ChatGLM-6B's positions: two numbers for each token, coded in one.

A token of the context has the positions (its depth, 0). From `<sop>` on, a token has (the depth of `[gMASK]`, 1, 2, …);
where the context has no `[gMASK]`, that of `[MASK]`. A code is one integer that stands for both positions, so that
codes travel as `position_ids` of shape (B, T). In a context, a code equals the token's depth. Behind a context, it is
the depth plus a number (`Context.shift`) that is the same for all tokens behind this context. A pass that continues a
context has to be given codes, because its own ids do not contain the context.

Follows `get_position_ids` of THUDM/chatglm-6b's modeling_chatglm.py (v1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

SPACE = 2**20
"""Codes from here on belong to tokens behind a context; more than the number of tokens in any context."""


class SpecialIds(NamedTuple):
    """The ids of the tokens that end a context."""

    sop: int
    """`<sop>`, the first token behind the context."""
    gmask: int
    """`[gMASK]`."""
    mask: int
    """`[MASK]`."""


class Context(NamedTuple):
    """A context: the tokens before the first `<sop>`, which all see each other."""

    length: int
    """Number of tokens before `<sop>`."""
    mark: int
    """Depth of `[gMASK]`, or of `[MASK]` in a context without `[gMASK]`."""

    @property
    def shift(self) -> int:
        """The number to add to the depth of a token behind this context, `<sop>` included, to get its code."""
        return SPACE * (self.mark + 1) - self.length + 1


def context(ids: Sequence[int], special: SpecialIds) -> Context:
    """Return the context of token `ids`. Raises ValueError as `encode` does."""
    if special.sop not in ids:
        raise _without_sop(special)
    length = ids.index(special.sop)
    before = ids[:length]
    mark = next((mark for mark in (special.gmask, special.mask) if mark in before), None)
    if mark is None:
        raise _without_mark(special)
    return Context(length, before.index(mark))


def encode(ids: torch.Tensor, depths: torch.Tensor, attended: torch.Tensor | None, special: SpecialIds) -> torch.Tensor:
    """Return the codes (B, T) of whole texts: `ids` (B, T) at `depths` (B, T), from 0 on in each row.

    `attended` (B, T) is 0 for padding; None stands for none on the left of a text. Raises ValueError if a row has no
    `<sop>`, or neither `[gMASK]` nor `[MASK]` before it, as the published code does.
    """
    present = torch.ones_like(ids, dtype=torch.bool) if attended is None else attended.bool()
    sop, has_sop = _first(present & (ids == special.sop))
    if not bool(has_sop.all()):
        raise _without_sop(special)
    columns = torch.arange(ids.shape[1], device=ids.device)
    before = present & (columns < sop)
    gmask, has_gmask = _first(before & (ids == special.gmask))
    mask, has_mask = _first(before & (ids == special.mask))
    if not bool((has_gmask | has_mask).all()):
        raise _without_mark(special)
    mark = torch.where(has_gmask, gmask, mask)
    depths = depths.expand(ids.shape)
    shift = SPACE * (depths.gather(1, mark) + 1) - depths.gather(1, sop) + 1
    return torch.where(columns < sop, depths, depths + shift)


def with_marks(ids: torch.Tensor, place: int, special: SpecialIds | None) -> torch.Tensor:
    """Return token `ids` (…, T) with `[gMASK] <sop>` at `place`; unchanged without `special`. Probes are made so."""
    if special is None:
        return ids
    result = torch.where(torch.isin(ids, torch.tensor(special, device=ids.device)), 0, ids)
    result[..., place], result[..., place + 1] = special.gmask, special.sop
    return result


def decode(codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the second positions of tokens with `codes`, both shaped like `codes`."""
    is_context = codes < SPACE
    return torch.where(is_context, codes, codes // SPACE - 1), torch.where(is_context, 0, codes % SPACE)


def _first(matches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the column (B, 1) of the first match in each row of `matches` (B, T), and whether (B, 1) it has any."""
    return matches.int().argmax(1, keepdim=True), matches.any(1, keepdim=True)


def _without_sop(special: SpecialIds) -> ValueError:
    return ValueError(
        f"token ids without <sop> ({special.sop}): ChatGLM-6B reads a context that ends in [gMASK] or [MASK], then "
        "<sop> and the answer"
    )


def _without_mark(special: SpecialIds) -> ValueError:
    return ValueError(
        f"token ids without [gMASK] ({special.gmask}) or [MASK] ({special.mask}) before <sop>: ChatGLM-6B's answers "
        "take their position from it"
    )
