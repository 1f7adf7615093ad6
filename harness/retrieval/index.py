"""Indexes that rank passages for a query: by words (BM25) or by meaning (dense vectors).

BM25 is Lucene's variant (Kamphuis et al. 2020, the accurate one) as `bm25s` computes it, with k1 1.5 and b 0.75 in
float64, over jieba's words in lower case without punctuation. No stop words are removed, and words are not stemmed.
Dense similarity is the cosine of an encoder's vectors. Equal scores rank by the order of the corpus, so a ranking does
not depend on the machine.

Not here: reading files (`harness.retrieval.corpus`), measures (`harness.metrics.text.ranking`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from harness.common.progress import SILENT, Advance
from harness.errors import HarnessError
from harness.metrics.text.cuts import jieba_words

K1, B = 1.5, 0.75
Encode = Callable[[Sequence[str]], Any]
"""A function that returns the vectors of n texts as an array (n, d). Only the directions of the vectors matter."""
_BATCH = 64
"""The number of texts that are encoded at a time."""


class Passage(NamedTuple):
    """A passage of a corpus."""

    id: str
    text: str
    """The text that is indexed, and that a prompt may contain."""


class Hit(NamedTuple):
    """A passage found for a query."""

    place: int
    """The passage's place in the corpus, from 0."""
    score: float


class Index(Protocol):
    """An index that ranks passages."""

    @property
    def description(self) -> str:
        """How the index ranks passages, in a few words."""

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query at most `top` passages that match, the best first. Call `advance` after each query."""


class WordIndex:
    """An index that ranks passages by BM25 over words."""

    description = f"BM25 (Lucene's, k1 {K1}, b {B}) over jieba's words"

    def __init__(self, texts: Sequence[str], advance: Advance = SILENT.advance) -> None:
        """Index `texts`; call `advance` after each text.

        Raises HarnessError if there is no word in `texts`.
        """
        import bm25s

        words_of_texts = []
        for text in texts:
            words_of_texts.append(words(text))
            advance(1)
        if not any(words_of_texts):
            raise HarnessError("the corpus has no words to index: its text column is empty, or all punctuation")
        self._size = len(texts)
        self._index = bm25s.BM25(method="lucene", k1=K1, b=B, dtype="float64")
        with np.errstate(invalid="ignore"):  # bm25s divides 0 by 0 for a passage without words, which scores 0
            self._index.index(words_of_texts, show_progress=False)

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query the best `top` passages that share a word with the query."""
        result = []
        for query in queries:
            query_words = words(query)
            scores = self._index.get_scores(query_words) if query_words else np.zeros(self._size)
            result.append(best(scores, top, above=0.0))
            advance(1)
        return result


class DenseIndex:
    """An index that ranks passages by the cosine similarity of vectors."""

    def __init__(
        self,
        texts: Sequence[str],
        encode: Encode,
        name: str,
        query_prefix: str = "",
        advance: Advance = SILENT.advance,
    ) -> None:
        """Index `texts` with the encoder called `name`; `query_prefix` is put before queries, as some encoders need.

        Raises HarnessError if the encoder does not return one finite vector per text.
        """
        self._encode, self._prefix = encode, query_prefix
        prefix = f", queries after '{query_prefix}'" if query_prefix else ""
        self.description = f"cosine of {name}'s vectors{prefix}"
        self._vectors = self._directions(texts, advance)

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query the best `top` passages."""
        directions = self._directions([self._prefix + query for query in queries], advance)
        return [best(self._vectors @ direction, top) for direction in directions]

    def _directions(self, texts: Sequence[str], advance: Advance) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the vectors of `texts` (n, d), each of length 1."""
        parts = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            vectors = np.asarray(self._encode(batch), dtype=np.float64)
            if vectors.ndim != 2 or len(vectors) != len(batch) or not np.isfinite(vectors).all():
                raise HarnessError(
                    f"the encoder does not return one finite vector per text: {len(batch)} texts, shape {vectors.shape}"
                )
            parts.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
            advance(len(batch))
        return np.concatenate(parts)


def sentence_encoder(name: str, device: str | None = None) -> Encode:
    """Return the sentence-transformers encoder `name`, a folder or a name on the hub.

    Raises HarnessError if the extra `dense` is not installed, or if the encoder cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise HarnessError(
            "dense retrieval needs sentence-transformers: install it with pip install 'checkpoint-harness[dense]', or "
            "retrieve with --method bm25"
        ) from error
    try:
        model = SentenceTransformer(name, device=device)
    except (OSError, ValueError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise HarnessError(f"the encoder '{name}' cannot be loaded ({cause}): name a folder that holds one") from error

    def encode(texts: Sequence[str]) -> Any:
        return model.encode(list(texts), batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)

    return encode


def words(text: str) -> list[str]:
    """Return jieba's words of `text` in lower case, except words that have neither a letter nor a digit."""
    return [word for word in jieba_words(text.lower()) if any(letter.isalnum() for letter in word)]


def best(scores: np.ndarray[Any, np.dtype[np.float64]], top: int, above: float | None = None) -> list[Hit]:
    """Return hits for the `top` highest `scores` (n,) greater than `above`, the highest first.

    Equal scores stay in their order.
    """
    places = np.arange(len(scores)) if above is None else np.flatnonzero(scores > above)
    if len(places) > top:
        lowest = np.partition(scores[places], -top)[-top]
        places = places[scores[places] >= lowest]
    order = places[np.argsort(-scores[places], kind="stable")][:top]
    return [Hit(int(place), float(scores[place])) for place in order]
