"""Text → token ids exactly as lm-eval's HFLM does it, but in batches and each distinct text once.

Context and continuation are tokenised as one text. If the context alone has n ids, the continuation's ids are those of
the whole text after the first n. (These n may differ from the ids of the context alone.) A text that already starts
with the tokenizer's BOS does not get a second BOS.

A ChatGLM has rules of its own (`harness.checkpoints.chatglm.dialogues.PromptRules`). An answer after one of its
published dialogues is encoded by itself, as in training. ChatGLM-6B's special tokens come behind the context and before
the answer; ids before them are those of the texts without special tokens.

Not here: truncation to the context length, which depends on the kind of request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from harness.checkpoints import tokenizer_files
from harness.checkpoints.chatglm.dialogues import PLAIN, PromptRules
from harness.checkpoints.types import Tokenizer
from harness.engine.requests import Pair
from harness.errors import HarnessError

T = TypeVar("T")
BATCH = 256
"""Number of texts that are tokenised at once."""


class _Parts(NamedTuple):
    """The texts of a pair."""

    context: str
    continuation: str
    is_apart: bool
    """Whether the continuation is encoded by itself."""

    @property
    def text(self) -> str:
        """Both texts as one."""
        return self.context + self.continuation


class Encoder:
    """A tokenizer that encodes texts for requests."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.rules: PromptRules = getattr(tokenizer, "prompt_rules", PLAIN)
        """What the tokenizer's model expects of prompts."""
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.prefix_id: int | None = bos if bos is not None else eos
        """The token before a text that has no context: BOS, else EOS."""
        self._prefix = None if self.prefix_id is None else tokenizer.decode(self.prefix_id)
        self._interned: dict[int, int] = {}
        self._bare_questions: set[int] = set()  # hashes of the texts

    def encode(self, texts: Iterable[str], *, special: bool = True) -> dict[str, list[int]]:
        """Return the ids of every distinct text; with `special`, the tokenizer adds its own BOS (or EOS).

        Equal ids are one and the same Python integer, because an integer takes four times the memory of a reference.
        Raises HarnessError if a text that gets special tokens spells one that would end the context.
        """
        if special and self.rules.reserved:
            texts = list(texts)
            self._require_unreserved(texts)
        return {text: self._intern(ids) for text, ids in self._encode(texts, special=special)}

    def _intern(self, ids: list[int]) -> list[int]:
        intern = self._interned.setdefault
        return [intern(i, i) for i in ids]

    def _encode(self, texts: Iterable[str], *, special: bool = True) -> Iterator[tuple[str, list[int]]]:
        """Yield every distinct text with its ids."""
        without_special: list[str] = []
        with_special: list[str] = []
        for text in dict.fromkeys(texts):
            (with_special if special and not self.begins_itself(text) else without_special).append(text)
        yield from self._tokenize(without_special, special=False)
        yield from self._tokenize(with_special, special=True)

    def begins_itself(self, text: str) -> bool:
        """Return whether `text` begins with the token that the tokenizer would put before it."""
        return bool(self._prefix and text.startswith(self._prefix))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Return the ids of (context, continuation) texts, in order.

        Spaces at the end of a context move to the continuation, except behind a published dialogue, whose continuation
        is encoded by itself; an empty context becomes the prefix token. If the tokenizer merges the whole continuation
        into the context's last token, this token is scored. Raises HarnessError on an empty continuation, on an empty
        context if the tokenizer has neither BOS nor EOS, or on a context that spells a token that would end it.
        """
        parts = [self._parts(context, continuation) for context, continuation in pairs]
        self._require_unreserved([part.context for part in parts])
        special = not self.rules.ending
        contexts = self.encode((part.context for part in parts if part.context), special=special)
        apart = self.encode((part.continuation for part in parts if part.is_apart), special=False)
        result = []
        # Only the end of a joined text is kept, so they are encoded in batches and never held all at once.
        for batch in _batches(parts, BATCH):
            joined = dict(self._encode((part.text for part in batch if not part.is_apart), special=special))
            for part in batch:
                if not part.context:
                    pair = self._pair_without_context(apart[part.continuation])
                elif part.is_apart:
                    pair = self._pair(part, contexts[part.context], apart[part.continuation])
                else:
                    pair = self._split(part, contexts[part.context], joined[part.text])
                result.append(pair)
        ending = list(self.rules.ending)
        if ending:
            return [Pair(pair.context + ending, pair.continuation) for pair in result]
        return [pair._replace(lead=self.lead(pair.context)) for pair in result] if self.rules.beginning else result

    def lead(self, ids: Sequence[int]) -> int:
        """Return how many of the first `ids` of a prompt are special tokens that stay if the prompt is cut on its left.

        These are `[gMASK] sop` of ChatGLM2 and ChatGLM3. As in lm-eval, a BOS is cut away.
        """
        beginning = self.rules.beginning
        return len(beginning) if not self.reads_behind and tuple(ids[: len(beginning)]) == beginning else 0

    def _parts(self, context: str, continuation: str) -> _Parts:
        """Return the texts to encode for a pair.

        Behind a dialogue, the space that lm-eval puts before an answer is left out.
        """
        stripped, moved = _move_spaces(context, continuation)
        is_bare = hash(context) in self._bare_questions
        if is_bare or self.rules.is_dialogue(stripped):
            return _Parts(context if is_bare else stripped, continuation.lstrip(" ") or continuation, is_apart=True)
        return _Parts(stripped, moved, is_apart=not stripped)

    def wholes(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Return the ids of each prompt and its answer as one text, with special tokens unless `reads_behind`."""
        special = not self.reads_behind
        parts = [self._parts(prompt, answer) for prompt, answer in pairs]
        texts = [
            part.context if part.context and part.is_apart else "".join(pair)
            for part, pair in zip(parts, pairs, strict=True)
        ]
        ids = self.encode(texts, special=special)
        apart = self.encode((part.continuation for part in parts if part.context and part.is_apart), special=False)
        return [
            ids[text] + apart[part.continuation] if part.context and part.is_apart else ids[text]
            for part, text in zip(parts, texts, strict=True)
        ]

    @property
    def reads_behind(self) -> bool:
        """Whether whole texts are read behind `beginning()`, because each token before it would see the whole text."""
        return bool(self.rules.ending)

    def note_rendered(self, prompt: str) -> None:
        """Remember that the chat template rendered `prompt`, if nothing in the text itself may say so."""
        if self.rules.has_bare_questions:
            self._bare_questions.add(hash(prompt))

    def _require_unreserved(self, texts: Iterable[str]) -> None:
        for token in self.rules.reserved:
            for text in texts:
                place = text.find(token)
                if place >= 0:
                    around = text[max(0, place - 40) : place + len(token) + 40]
                    raise HarnessError(
                        f"a document contains {around!r}, where the tokenizer of {self.tokenizer.name_or_path} reads "
                        f"{token!r} as the end of the context: change that document (its prompt begins {text[:40]!r})"
                    )

    def _pair(self, part: _Parts, context_ids: list[int], ids: list[int]) -> Pair:
        if not ids:
            raise HarnessError(f"a task scores an empty continuation after {part.context[-60:]!r}")
        return Pair(context_ids, ids)

    def _split(self, part: _Parts, context_ids: list[int], joined: list[int]) -> Pair:
        if not part.continuation or not joined:
            raise HarnessError(f"a task scores an empty continuation after {part.context[-60:]!r}")
        rest = joined[len(context_ids) :]
        if not rest:  # the tokenizer merged the continuation into the context's last token: score that token
            context_ids, rest = joined[:-1], joined[-1:]
        return Pair(context_ids, rest) if context_ids or self.rules.ending else Pair(self.beginning(), rest)

    def _pair_without_context(self, ids: list[int]) -> Pair:
        if not ids:
            raise HarnessError("a task scores an empty continuation after an empty context")
        if len(ids) > 1 and ids[0] == self.prefix_id and not self.rules.beginning:
            return Pair(ids[:1], ids[1:])
        return Pair([] if self.rules.ending else self.beginning(), ids)

    def beginning(self) -> list[int]:
        """Return the tokens before a text without a context. Raises HarnessError if the tokenizer has none."""
        return list(self.rules.beginning) or [self.start()]

    def start(self) -> int:
        """Return the token before a text without a context. Raises HarnessError if the tokenizer has none."""
        if self.prefix_id is None:
            raise HarnessError("a task has an empty context, and this tokenizer has neither a BOS nor an EOS token")
        return self.prefix_id

    def eos_text(self) -> str | None:
        """Return the end-of-text token as text, or None if the tokenizer has none."""
        eos = self.tokenizer.eos_token_id
        return None if eos is None else str(self.tokenizer.decode(eos))

    def _tokenize(self, texts: list[str], *, special: bool) -> Iterator[tuple[str, list[int]]]:
        # A tokenizer keeps offsets, words and masks of all texts of a call: a hundred bytes for each token.
        for batch in _batches(texts, BATCH):
            ids = tokenizer_files.ids(self.tokenizer, batch, add_special_tokens=special)
            yield from zip(batch, ids, strict=True)


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation
