"""Texts of a person's own file, read whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance

from harness.metrics.stats.estimates import ratio
from harness.tasks.protocols.base import FromFile


class BitsPerCharacter(FromFile):
    """The bits a checkpoint needs to write down texts, per character (Unicode code point) and per UTF-8 byte.

    Every token of a text is predicted once, the first from BOS (EOS where there is none). A text longer than the
    context is read in windows that move by `stride` tokens (`HarnessLM.loglikelihood_sliding`). Means are over
    characters, not over texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Instance]:
        """Return the one request: the text, and by how many tokens windows move."""
        asked = (doc["text"], {"stride": self.stated.stride})
        kept = {key: value for key, value in kwargs.items() if key in ("metadata", "repeats")}
        return [Instance(request_type="loglikelihood_sliding", doc=doc, arguments=asked, idx=0, **kept)]

    def process_results(self, doc: dict[str, Any], results: Sequence[float]) -> dict[str, tuple[float, int]]:
        """Return bits beside the characters, and the bytes, that they are for."""
        bits, text = -float(results[0]) / math.log(2), doc["text"]
        return {"bits_per_character": (bits, len(text)), "bits_per_byte": (bits, len(text.encode()))}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return how texts make a number: the sum of bits by the sum of characters."""
        return {"bits_per_character": ratio, "bits_per_byte": ratio}

    def higher_is_better(self) -> dict[str, bool]:
        """Return that fewer bits are better."""
        return {"bits_per_character": False, "bits_per_byte": False}
