"""Entities in a text whose words have BIO tags: a word begins a name (B), is inside (I) or outside (O)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.metrics.extraction.records import Entity


def entities(
    words: Sequence[str], tags: Sequence[str], type_names: Mapping[str, str], *, separator: str = ""
) -> list[Entity]:
    """Return the entities that BIO `tags` (B-PER, I-PER, O) mark, in order, as conlleval reads them.

    An I- tag that does not follow a tag of the same type begins a new entity. `type_names` maps the types in tags to
    the types of the returned entities; `separator` joins the words of a name.
    """
    spans: list[tuple[str, list[str]]] = []
    previous = "O"
    for word, tag in zip(words, tags, strict=True):
        tag_type = tag[2:]
        if tag.startswith("I-") and previous[2:] == tag_type:
            spans[-1][1].append(word)
        elif tag != "O":
            spans.append((tag_type, [word]))
        previous = tag
    return [Entity(separator.join(name_words), type_names[tag_type]) for tag_type, name_words in spans]
