"""Passages found for questions: an index over a corpus, by words (BM25) or by meaning (dense vectors).

BM25 is Lucene's variant (Kamphuis et al. 2020, the accurate one) as `bm25s` computes it, k1 1.5 and b 0.75, in float64,
over jieba's words in small letters, no word stopped, nothing stemmed; punctuation is no word. Dense similarity is the
cosine of what an encoder makes of texts. Equal scores rank by the order of the corpus, so that a ranking never depends
on the machine.

Not here: files (`harness.retrieval.files`), or what recall is (`harness.metrics.text.ranking`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from harness.common.progress import SILENT, Advance
from harness.errors import HarnessError
from harness.metrics.stats.estimates import Estimate, mean_estimate
from harness.metrics.text.overlap import jieba_words
from harness.metrics.text.ranking import hit_at, recall_at, reciprocal_rank_at

K1, B = 1.5, 0.75
Encode = Callable[[Sequence[str]], Any]
"""Makes an array (n, d) of n texts; any length, since only directions count."""
_BATCH = 64


class Passage(NamedTuple):
    """What can be found."""

    id: str
    text: str
    """As it is indexed, and as it would stand in a prompt."""


class Question(NamedTuple):
    """What is looked for, and what would be right, by the name of each set of right ids; none of them is empty."""

    query: str
    gold: Mapping[str, frozenset[str]]


class Hit(NamedTuple):
    """A passage that was found; its place in the corpus."""

    place: int
    score: float


class Index(Protocol):
    """Something that ranks passages."""

    @property
    def description(self) -> str:
        """How it ranks, in a few words."""

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query the best `top` passages, the best first; fewer where others do not match at all."""


class WordIndex:
    """BM25 over words."""

    description = f"BM25 (Lucene's, k1 {K1}, b {B}) over jieba's words"

    def __init__(self, texts: Sequence[str], advance: Advance = SILENT.advance) -> None:
        """Index `texts`; `advance` is told of each that was cut into words.

        Raises HarnessError if there is no word in them.
        """
        import bm25s

        cut = []
        for text in texts:
            cut.append(words(text))
            advance(1)
        if not any(cut):
            raise HarnessError("the corpus has no words to index: its text column is empty, or all punctuation")
        self._size = len(texts)
        self._index = bm25s.BM25(method="lucene", k1=K1, b=B, dtype="float64")
        with np.errstate(invalid="ignore"):  # a passage without words divides 0 by 0, and has no word to score
            self._index.index(cut, show_progress=False)

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query the best `top` passages that share a word with it."""
        found = []
        for query in queries:
            asked = words(query)
            scores = self._index.get_scores(asked) if asked else np.zeros(self._size)
            found.append(best(scores, top, above=0.0))
            advance(1)
        return found


class DenseIndex:
    """Cosine similarity of vectors."""

    def __init__(
        self,
        texts: Sequence[str],
        encode: Encode,
        name: str,
        query_prefix: str = "",
        advance: Advance = SILENT.advance,
    ) -> None:
        """Index `texts`; queries get `query_prefix` before them, as some encoders were trained to have it."""
        self._encode, self._prefix = encode, query_prefix
        told = f", queries after '{query_prefix}'" if query_prefix else ""
        self.description = f"cosine of {name}'s vectors{told}"
        self._vectors = self._directions(texts, advance)

    def search(self, queries: Sequence[str], top: int, advance: Advance = SILENT.advance) -> list[list[Hit]]:
        """Return for each query the best `top` passages."""
        asked = self._directions([self._prefix + query for query in queries], advance)
        return [best(self._vectors @ one, top) for one in asked]

    def _directions(self, texts: Sequence[str], advance: Advance) -> np.ndarray[Any, np.dtype[np.float64]]:
        parts = []
        for start in range(0, len(texts), _BATCH):
            some = list(texts[start : start + _BATCH])
            made = np.asarray(self._encode(some), dtype=np.float64)
            if made.ndim != 2 or len(made) != len(some) or not np.isfinite(made).all():
                raise HarnessError(f"the encoder made no finite vector of each text but an array {made.shape}")
            parts.append(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12))
            advance(len(some))
        return np.concatenate(parts)


def sentence_encoder(name: str, device: str | None = None) -> Encode:
    """Return sentence-transformers' encoder `name`, a folder or a name on the hub.

    Raises HarnessError where the extra `dense` is not installed, or the encoder cannot be loaded.
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
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise HarnessError(f"the encoder '{name}' cannot be loaded ({said}): name a folder that holds one") from error

    def encode(texts: Sequence[str]) -> Any:
        return model.encode(list(texts), batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)

    return encode


def words(text: str) -> list[str]:
    """Return jieba's words of `text` in small letters, without those that have neither letter nor digit."""
    return [word for word in jieba_words(text.lower()) if any(letter.isalnum() for letter in word)]


def best(scores: np.ndarray[Any, np.dtype[np.float64]], top: int, above: float | None = None) -> list[Hit]:
    """Return the `top` highest of `scores` (N,), of equal ones the first; none that is not higher than `above`."""
    places = np.arange(len(scores)) if above is None else np.flatnonzero(scores > above)
    if len(places) > top:
        least = np.partition(scores[places], -top)[-top]
        places = places[scores[places] >= least]
    order = places[np.argsort(-scores[places], kind="stable")][:top]
    return [Hit(int(place), float(scores[place])) for place in order]


def evaluate(
    questions: Sequence[Question], ranked: Sequence[Sequence[str]], ks: Sequence[int]
) -> dict[tuple[str, str], Estimate]:
    """Return the mean of every measure over the questions that have a set of right ids, by (set, measure).

    Measures are `recall@k` and `hit@k` for each of `ks`, and `mrr@k` for the largest. `ranked` holds at least as many
    ids a question as that, unless fewer were found.
    """
    found: dict[tuple[str, str], Estimate] = {}
    for kind in dict.fromkeys(kind for question in questions for kind in question.gold):
        asked = [(one.gold[kind], ids) for one, ids in zip(questions, ranked, strict=True) if kind in one.gold]
        for k in ks:
            found[kind, f"recall@{k}"] = mean_estimate([recall_at(ids, gold, k) for gold, ids in asked])
            found[kind, f"hit@{k}"] = mean_estimate([hit_at(ids, gold, k) for gold, ids in asked])
        depth = max(ks)
        found[kind, f"mrr@{depth}"] = mean_estimate([reciprocal_rank_at(ids, gold, depth) for gold, ids in asked])
    return found
