"""Segments of text → token ids and which of them are learned.

The whole text is tokenised at once, as a run tokenises a prompt and its answer, and a token is learned if it holds a
character of a learned segment (`offset_mapping`). A tokenizer may merge the end of a prompt with the beginning of its
answer: the merged token is then learned, because a run scores it, too.

ChatGLM's tokenizers have rules of their own; ids and learned tokens are those of the published training scripts:

| script | ids | learned |
|---|---|---|
| ChatGLM-6B ptuning/main.py | prompt, `[gMASK] <sop>`, answer, `<eop>` | `<sop>`, answer, `<eop>` |
| ChatGLM2 ptuning/main.py | `[gMASK] sop`, prompt, answer, `</s>` | answer, `</s>` |
| ChatGLM3 finetune_demo/finetune_hf.py | `[gMASK] sop`, messages, `</s>` | answers, and the token behind each |

An answer, or a message of ChatGLM3, is encoded by itself. Only ChatGLM3 has several answers in one text. Documents, for
which there is no published script, are learned behind `[gMASK] <sop>`.

An answer that is the last of its text ends with the end-of-text token, which is learned, too.

Not here: what is too long (`harness.training.store`).
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from harness.backends.encoding import BATCH, Encoder
from harness.checkpoints import tokenizer_files
from harness.checkpoints.types import Tokenizer
from harness.errors import HarnessError
from harness.training.dialogues import Segment

Span = tuple[int, int]
"""The first place, and the place behind the last one."""


class Encoded(NamedTuple):
    """An example as token ids."""

    ids: list[int]
    spans: list[Span]
    """The places of the tokens that are learned, in order and apart from one another."""
    merged: bool
    """Whether a learned token also holds characters, other than white space, that are not learned."""
    lead: int = 0
    """The number of special tokens at the beginning of a document that each of its pieces needs."""
    is_unended: bool = False
    """Whether a template ends the last answer with a token that ends no answer when it is evaluated."""

    @property
    def learned(self) -> int:
        """The number of tokens that are learned, not counting the first of the text, which nothing precedes."""
        return sum(end - max(start, 1) for start, end in self.spans)


class _Tokenized(NamedTuple):
    """A text as token ids."""

    ids: list[int]
    offsets: list[Span]
    """The characters that each id stands for."""
    added: list[int]
    """1 for ids that the tokenizer added to those of the text, such as BOS, else 0."""


class ExampleEncoder:
    """Encodes examples with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, ends: Sequence[int]) -> None:
        """`ends` are the ids that end an answer when the checkpoint is evaluated."""
        if tokenizer.eos_token_id is None:
            raise HarnessError(
                f"the tokenizer {tokenizer.name_or_path} has no end-of-text token to end examples with: set eos_token"
            )
        self._encoder = Encoder(tokenizer)
        if not (tokenizer.is_fast or self._has_own_rules):
            raise HarnessError(
                f"the tokenizer {tokenizer.name_or_path} does not say which characters its tokens stand for: save it "
                "as a fast tokenizer (tokenizer.json)"
            )
        self._tokenizer = tokenizer if self._has_own_rules else _with_whole_offsets(tokenizer)
        self._eos = int(tokenizer.eos_token_id)
        self._ends = {self._eos, *ends}
        self._special = _special(tokenizer)
        self.unended = 0
        """The number of answers that their template ends with a token that ends no answer when it is evaluated."""

    @property
    def _has_own_rules(self) -> bool:
        """Whether the tokenizer is a ChatGLM's."""
        return bool(self._encoder.rules.beginning or self._encoder.rules.ending)

    def encode(self, examples: Sequence[Sequence[Segment]]) -> Iterator[Encoded]:
        """Yield the token ids of each example, which is a list of segments."""
        if self._has_own_rules:
            yield from map(self._apart, examples)
            return
        for start in range(0, len(examples), BATCH):
            yield from self._joined(examples[start : start + BATCH])

    def _joined(self, examples: Sequence[Sequence[Segment]]) -> Iterator[Encoded]:
        texts = ["".join(segment.text for segment in segments) for segments in examples]
        for text, segments, tokenized in zip(texts, examples, self._tokenized(texts), strict=True):
            spans, merged = _learned(text, segments, tokenized)
            ids = tokenized.ids
            if spans:  # what follows the last learned token teaches nothing, unless it ends the answer
                start, end = spans[-1]
                if end < len(ids) and ids[end - 1] not in self._ends and ids[end] in self._ends:
                    end += 1
                    spans[-1] = (start, end)
                ids = ids[:end]
            yield self._ended(ids, spans, merged)

    def _tokenized(self, texts: Sequence[str]) -> list[_Tokenized]:
        """Return the ids of each text. A text that begins with the tokenizer's BOS gets no second one."""
        result = [_Tokenized([], [], [])] * len(texts)
        for special in (False, True):
            places = [place for place, text in enumerate(texts) if self._encoder.begins_itself(text) != special]
            if not places:
                continue
            batch = tokenizer_files.encodings(
                self._tokenizer,
                [texts[place] for place in places],
                add_special_tokens=special,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                return_attention_mask=False,
            )
            columns = (batch["input_ids"], batch["offset_mapping"], batch["special_tokens_mask"])
            for place, ids, offsets, added in zip(places, *columns, strict=True):
                result[place] = _Tokenized(list(ids), [(int(start), int(end)) for start, end in offsets], list(added))
        return result

    def _ended(self, ids: list[int], spans: list[Span], merged: bool) -> Encoded:
        """Return an example whose last answer, if learned, ends with a token that ends an answer."""
        if not spans or ids[-1] in self._ends:
            return Encoded(ids, spans, merged)
        is_unended = ids[-1] in self._special
        self.unended += is_unended
        last = spans[-1]
        return Encoded([*ids, self._eos], [*spans[:-1], (last[0], last[1] + 1)], merged, is_unended=is_unended)

    def _apart(self, segments: Sequence[Segment]) -> Encoded:
        """Return the ids of an example for a ChatGLM, as its published training scripts have them.

        Raises HarnessError if several answers of one text are learned, whose ids those scripts do not make.
        """
        rules = self._encoder.rules
        starts = rules.messages("".join(segment.text for segment in segments))
        if starts is not None:
            return self._by_message(segments, starts)
        learned = [place for place, segment in enumerate(segments) if segment.is_learned and segment.text]
        if learned == [0]:
            return self._document(segments[0].text)
        context = self._encoder.encode([prompt := "".join(s.text for s in segments[: learned[0] if learned else None])])
        if not learned:
            return Encoded(context[prompt], [], False)
        if len(learned) > 1 or any(segment.text.strip() for segment in segments[learned[0] + 1 :]):
            raise HarnessError(
                "the rows are dialogues with several learned answers, which ChatGLM's tokenizer does not write in one "
                "text: set learn: last_answer"
            )
        answer = segments[learned[0]].text
        ids = self._encoder.encode([answer], special=False)[answer]
        start = len(context[prompt]) - bool(rules.ending)  # ChatGLM-6B's scripts learn <sop>, too
        spans = [(start, len(context[prompt]) + len(ids))] if ids else []
        return self._ended([*context[prompt], *ids], spans, False)

    def _document(self, text: str) -> Encoded:
        """Return the ids of a text, all of which is learned, behind the special tokens that a ChatGLM begins with."""
        beginning = self._encoder.beginning()
        ids = [*beginning, *self._encoder.encode([text], special=False)[text]]
        spans = [(len(beginning), len(ids))] if len(ids) > len(beginning) else []
        return self._ended(ids, spans, False)._replace(lead=len(beginning))

    def _by_message(self, segments: Sequence[Segment], starts: Sequence[int]) -> Encoded:
        """Return the ids of a ChatGLM3 dialogue whose messages begin at the characters `starts`.

        Each message is encoded by itself. Of an answer, the token of its role is given, and the token behind it, which
        ends it, is learned.
        """
        text = "".join(segment.text for segment in segments)
        characters = _characters(segments)
        beginning, opening = list(self._encoder.rules.beginning), text[: starts[0]]
        ids, is_whole = beginning[:], all(characters)
        spans: list[Span] = []
        for start, end in itertools.pairwise([*starts, len(text)]):
            message = opening + text[start:end]
            first = len(ids)
            ids += self._encoder.encode([message])[message][len(beginning) :]
            if any(characters[start:end]):
                _append(spans, (first if is_whole else first + 1, len(ids) + 1))
        ids.append(self._eos)
        return Encoded(ids[: spans[-1][1]] if spans else ids, spans, False)


def _learned(text: str, segments: Sequence[Segment], tokenized: _Tokenized) -> tuple[list[Span], bool]:
    """Return the places of the tokens that hold learned characters of `text`, and `Encoded.merged`."""
    characters = _characters(segments)
    spans: list[Span] = []
    merged = False
    for number, ((start, end), is_added) in enumerate(zip(tokenized.offsets, tokenized.added, strict=True)):
        if is_added:
            continue
        if start == end:  # a token without a character of its own belongs to the next one, the last to the one before
            start = min(start, len(text) - 1)
            end = start + 1
        inside = characters.count(1, start, end)
        if not inside:
            continue
        if inside < end - start:
            merged |= any(not characters[i] and not text[i].isspace() for i in range(start, end))
        _append(spans, (number, number + 1))
    return spans, merged


def _special(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids of the special tokens of `tokenizer`, those without a name included."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return frozenset({*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)})


def _with_whole_offsets(tokenizer: Tokenizer) -> Tokenizer:
    """Return `tokenizer`, or a copy of it, whose offsets count the white space that is part of a token.

    GPT-2's post-processor leaves it out (`trim_offsets`), so that a token of white space alone has no character.
    """
    processor = tokenizer.backend_tokenizer.post_processor
    if processor is None:
        return tokenizer
    state = json.loads(processor.__getstate__())
    if not _untrimmed(state):
        return tokenizer
    result = copy.deepcopy(tokenizer)
    processor = result.backend_tokenizer.post_processor
    processor.__setstate__(json.dumps(state).encode())
    result.backend_tokenizer.post_processor = processor
    return result


def _untrimmed(state: dict[str, Any]) -> bool:
    """Switch off `trim_offsets` in the `state` of a post-processor; return whether it was on."""
    changes = [_untrimmed(step) for step in state.get("processors", [])]
    is_trimmed = bool(state.get("trim_offsets"))
    if is_trimmed:
        state["trim_offsets"] = False
    return is_trimmed or any(changes)


def _characters(segments: Sequence[Segment]) -> bytearray:
    """Return, for each character of the segments' text, 1 if it is learned and else 0."""
    return bytearray().join((b"\1" if segment.is_learned else b"\0") * len(segment.text) for segment in segments)


def _append(spans: list[Span], span: Span) -> None:
    """Append `span` to `spans`; if it begins where the last one ends, the two become one."""
    if spans and spans[-1][1] == span[0]:
        spans[-1] = (spans[-1][0], span[1])
    else:
        spans.append(span)
