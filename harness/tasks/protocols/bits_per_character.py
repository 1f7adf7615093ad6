"""Texts of a user's own file, scored whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance

from harness.metrics.stats.estimates import ratio
from harness.tasks.protocols.base import FromFile


class BitsPerCharacter(FromFile):
    """The bits that a checkpoint needs to encode texts, per character (Unicode code point) and per UTF-8 byte.

    Every token of a text is predicted once, the first one from BOS (EOS if there is no BOS). A text longer than the
    context is read in windows that move by `metadata.stride` tokens (`SlidingLikelihood`). Means are over all
    characters or bytes, not over texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: object, **kwargs: object) -> list[Instance]:
        """Return the one request: the text, and by how many tokens windows move (`stride`)."""
        arguments = (doc["text"], {"stride": self.stated.stride})
        keywords = {key: value for key, value in kwargs.items() if key in ("metadata", "repeats")}
        return [Instance(request_type="loglikelihood_sliding", doc=doc, arguments=arguments, idx=0, **keywords)]

    def process_results(self, doc: dict[str, Any], results: Sequence[float]) -> dict[str, tuple[float, int]]:
        """Return the text's bits, together with its number of characters and of bytes."""
        bits, text = -float(results[0]) / math.log(2), doc["text"]
        return {"bits_per_character": (bits, len(text)), "bits_per_byte": (bits, len(text.encode()))}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return `ratio` for each metric: the score is the sum of bits divided by the sum of characters or bytes."""
        return {"bits_per_character": ratio, "bits_per_byte": ratio}

    def higher_is_better(self) -> dict[str, bool]:
        """Return False for each metric: fewer bits are better."""
        return {"bits_per_character": False, "bits_per_byte": False}
