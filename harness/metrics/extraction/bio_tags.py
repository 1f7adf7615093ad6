"""Names in a text whose words are tagged as beginning one, continuing one, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.metrics.extraction.records import Entity


def entities(words: Sequence[str], tags: Sequence[str], names: Mapping[str, str], *, between: str = "") -> list[Entity]:
    """Return the entities of BIO `tags` (B-PER, I-PER, O), in order, as conlleval reads them.

    An I- tag that continues nothing, or another type, begins a name, too. `names` says how a type is called, `between`
    what stands between two words of a text.
    """
    found: list[tuple[str, list[str]]] = []
    before = "O"
    for word, tag in zip(words, tags, strict=True):
        kind = tag[2:]
        if tag.startswith("I-") and before[2:] == kind:
            found[-1][1].append(word)
        elif tag != "O":
            found.append((kind, [word]))
        before = tag
    return [Entity(between.join(parts), names[kind]) for kind, parts in found]
