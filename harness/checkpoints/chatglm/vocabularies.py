"""The vocabularies of ChatGLM-6B, ChatGLM2 (and CodeGeeX2) and ChatGLM3: texts → ids → texts, by SentencePiece.

Ids and texts equal those of the published classes under the version of transformers for which these were written
(4.30): THUDM/chatglm-6b (v1.1), THUDM/chatglm2-6b and THUDM/chatglm3-6b, each tokenization_chatglm.py.

- ChatGLM-6B writes line ends, tabs and runs of spaces as tokens of their own, and puts `[gMASK] <sop>` behind a text.
- ChatGLM2 and ChatGLM3 put `[gMASK] sop` before a text, and no text can spell their special tokens, except that
  ChatGLM3 reads a rendered dialogue as messages (`harness.checkpoints.chatglm.dialogues`).

Not here: which vocabulary a folder holds (`harness.checkpoints.chatglm.recognition`), and the interface of
transformers' tokenizers (`harness.checkpoints.chatglm.tokenizer`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from harness.checkpoints import files
from harness.checkpoints.chatglm import dialogues
from harness.checkpoints.chatglm.dialogues import PromptRules
from harness.errors import HarnessError

_LINE_END, _TAB = "<n>", "<|tab|>"
_MOST_SPACES = 80
_SPACES = re.compile(rf" {{2,{_MOST_SPACES}}}")
_BLANK = re.compile(r"<\|blank_(\d{1,2})\|>")
_CONTROL, _USER_DEFINED, _BYTE = 3, 4, 6
"""Types of pieces in a SentencePiece model."""


class Vocabulary(ABC):
    """One generation's tokens."""

    file_name: ClassVar[str]
    """Name of the file of the SentencePiece model."""
    cleans_text: ClassVar[bool]
    """Whether decoding removes the spaces before English punctuation, which was transformers' default."""

    def __init__(self, model: SentencePieceProcessor, generation: int) -> None:
        self.model = model
        self.generation = generation

    @property
    @abstractmethod
    def names(self) -> dict[str, Any]:
        """transformers' names of special tokens, and the tokens."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of tokenizer_config.json from which the vocabulary can be made again."""
        return {}

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of ids."""

    @abstractmethod
    def ids(self, text: str) -> list[int]:
        """Return the ids of `text` without the special tokens around it."""

    @abstractmethod
    def surrounded(self, ids: Sequence[int], answer: Sequence[int] | None = None) -> list[int]:
        """Return a text's `ids` with the special tokens around them, and an answer's with the token that ends it."""

    @abstractmethod
    def text(self, ids: Sequence[int], *, skips_special: bool) -> str:
        """Return the text of `ids`; with `skips_special`, without special tokens."""

    @abstractmethod
    def token(self, index: int) -> str:
        """Return the token with the id `index`."""

    @abstractmethod
    def index(self, token: str) -> int:
        """Return the id of `token`, or that of the unknown token."""

    @property
    @abstractmethod
    def ending_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""

    @property
    def rules(self) -> PromptRules:
        """What the model expects of prompts."""
        rules = PromptRules(
            beginning=tuple(self.surrounded([])),
            is_dialogue=partial(dialogues.is_dialogue, generation=self.generation),
        )
        if self.generation != 3:
            return rules
        return rules._replace(as_read=dialogues.unguarded, messages=dialogues.message_starts)


class Vocabulary6B(Vocabulary):
    """ChatGLM-6B's tokens. Before April 2023, their ids began behind those of 20,000 images."""

    file_name = "ice_text.model"
    cleans_text = True
    _SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>")
    _NAMES = {"bos": "<sop>", "eos": "<eop>", "mask": "[MASK]", "pad": "<pad>", "unk": "<unk>"}  # noqa: RUF012

    def __init__(self, model: SentencePieceProcessor, images: int, settings: Mapping[str, Any]) -> None:
        super().__init__(model if _has(model, "<sop>") else self._completed(model), 1)
        self.images = images
        """Number of ids before those of the text."""
        self._removes_spaces, self._lowers = bool(settings.get("remove_space")), bool(settings.get("do_lower_case"))
        self._named = re.compile("(" + "|".join(map(re.escape, self._NAMES.values())) + ")")
        self._named_ids = frozenset(map(self.index, self._NAMES.values()))

    @property
    def names(self) -> dict[str, Any]:
        """transformers' names of special tokens, and the tokens."""
        return {f"{name}_token": token for name, token in self._NAMES.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of tokenizer_config.json from which the vocabulary can be made again."""
        flags = {"remove_space": self._removes_spaces, "do_lower_case": self._lowers}
        return {"num_image_tokens": self.images, **flags}

    @property
    def size(self) -> int:
        """Number of ids, those of images included."""
        return self.images + int(self.model.get_piece_size())

    def ids(self, text: str) -> list[int]:
        """Return the ids of `text` without the special tokens behind it.

        transformers 4.30 encodes what lies between the names of special tokens by itself, without spaces at its ends.
        """
        parts = self._named.split(text)
        if len(parts) > 1:
            parts[::2] = [parts[0].rstrip(), *(part.strip() for part in parts[2:-1:2]), parts[-1].lstrip()]
        pieces: list[int] = []
        for place, part in enumerate(parts):
            pieces += [self.model.piece_to_id(part)] if place % 2 else self.model.encode(self._prepared(part))
        return [piece + self.images for piece in pieces] if self.images else pieces

    def _prepared(self, text: str) -> str:
        """Return `text` with tokens in place of the white space that SentencePiece would lose."""
        text = " ".join(text.split()) if self._removes_spaces else text
        text = text.lower() if self._lowers else text
        text = text.replace("\n", _LINE_END).replace("\t", _TAB)
        return _SPACES.sub(lambda match: _blank(len(match[0])), text)

    def surrounded(self, ids: Sequence[int], answer: Sequence[int] | None = None) -> list[int]:
        """Return a text's `ids` with `[gMASK] <sop>` behind them, and those of an answer with `<eop>`."""
        context = [*ids, self.index("[gMASK]"), self.index("<sop>")]
        return context if answer is None else [*context, *answer, self.index("<eop>")]

    def text(self, ids: Sequence[int], *, skips_special: bool) -> str:
        """Return the text of `ids`; with `skips_special`, without the tokens that have one of transformers' names."""
        dropped = self._named_ids if skips_special else {self.index("<pad>")}
        text = str(self.model.decode_pieces([self.token(i) for i in ids if i not in dropped]))
        text = text.replace(_LINE_END, "\n").replace(_TAB, "\t")
        return _BLANK.sub(lambda match: " " * int(match[1]) if 2 <= int(match[1]) <= _MOST_SPACES else match[0], text)

    def token(self, index: int) -> str:
        """Return the token with the id `index`; "" for an id behind the last token's."""
        if index < self.images:
            return f"<image_{index}>"
        return str(self.model.id_to_piece(index - self.images)) if index < self.size else ""

    def index(self, token: str) -> int:
        """Return the id of `token`, or that of the unknown token."""
        image = re.fullmatch(r"<image_(\d{1,6})>", token)
        return int(image[1]) if image else int(self.model.piece_to_id(token)) + self.images

    @property
    def ending_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return (self.index("<eop>"),)

    @property
    def rules(self) -> PromptRules:
        """What the model expects of prompts: it reads the special tokens between a context and its answer."""
        rules = super().rules
        reserved = ("<sop>", "[gMASK]", "[MASK]")
        return rules._replace(ending=rules.beginning, reserved=reserved, has_bare_questions=True)

    @classmethod
    def _completed(cls, model: SentencePieceProcessor) -> SentencePieceProcessor:
        """Return the first published file's `model` with the tokens that its code added behind those of the file."""
        proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
        proto.ParseFromString(model.serialized_model_proto())
        white = [_TAB, *map(_blank, range(2, _MOST_SPACES + 1))]
        for kind, names in (
            (_CONTROL, cls._SPECIAL),
            (_USER_DEFINED, white),
            (_BYTE, [f"<0x{i:02X}>" for i in range(256)]),
        ):
            for name in names:
                proto.pieces.add(piece=name, score=0.0, type=kind)
        proto.trainer_spec.byte_fallback = True
        try:
            return SentencePieceProcessor(model_proto=proto.SerializeToString())
        except Exception as error:  # some of the tokens are there, and others are not
            reason = files.reason(error)
            raise HarnessError(
                f"{cls.file_name} is damaged, or not of a ChatGLM-6B: it has no <sop>, and tokens cannot be added "
                f"({reason}): fetch it again"
            ) from error


class Vocabulary2(Vocabulary):
    """The tokens of ChatGLM2 and CodeGeeX2, and, with tokens of roles, those of ChatGLM3."""

    file_name = "tokenizer.model"
    cleans_text = False
    _SPECIAL = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")

    def __init__(self, model: SentencePieceProcessor, generation: int) -> None:
        super().__init__(model, generation)
        roles = tuple(f"<|{role}|>" for role in dialogues.ROLES) if generation == 3 else ()
        self._first = int(model.get_piece_size())
        self._special = {token: self._first + i for i, token in enumerate((*self._SPECIAL, *roles))}
        self._special_tokens = list(self._special)
        self._silent = {model.bos_id(), model.eos_id(), model.unk_id()}
        # A piece that has the name of a special token becomes that token, as in the published code.
        pieces = {token: int(model.piece_to_id(token)) for token in self._special if _has(model, token)}
        self._replaced = {piece: self._special[token] for token, piece in pieces.items()}
        self._prefix = [self._special["[gMASK]"], self._special["sop"]]
        # Names of the published `get_command`.
        self._commands = self._special | {"<bos>": model.bos_id(), "<eos>": model.eos_id(), "<pad>": model.unk_id()}

    @property
    def names(self) -> dict[str, Any]:
        """transformers' names of special tokens, and the tokens."""
        named = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
        return {**named, "extra_special_tokens": self._special_tokens}

    @property
    def size(self) -> int:
        """Number of ids."""
        return self._first + len(self._special_tokens)

    def ids(self, text: str) -> list[int]:
        """Return the ids of `text` without the special tokens before it; a rendered dialogue has them in itself."""
        messages = dialogues.messages(text) if self.generation == 3 else None
        if messages is None:
            ids: list[int] = self.model.encode(text)
            return [self._replaced.get(i, i) for i in ids] if self._replaced else ids
        ids = list(self._prefix)
        for message in messages:
            ids.append(self._special[f"<|{message.role}|>"])
            ids += self.model.encode(message.header) + self.model.encode(message.content)
        return ids

    def surrounded(self, ids: Sequence[int], answer: Sequence[int] | None = None) -> list[int]:
        """Return a text's `ids` with `[gMASK] sop` before them, and those of an answer with `</s>`."""
        context = [*([] if list(ids[:2]) == self._prefix else self._prefix), *ids]
        return context if answer is None else [*context, *answer, int(self.model.eos_id())]

    def text(self, ids: Sequence[int], *, skips_special: bool) -> str:
        """Return the text of `ids`. ChatGLM2 never writes special tokens, ChatGLM3 unless `skips_special`."""
        pieces = []
        for i in ids:
            if i < self._first:
                pieces += [] if i in self._silent else [self.token(i)]
            elif self.generation == 3 and not skips_special:
                pieces.append(self.token(i))
        return str(self.model.decode_pieces(pieces))

    def token(self, index: int) -> str:
        """Return the token with the id `index`; "" for an id behind the last token's."""
        if 0 <= index < self._first:
            return str(self.model.id_to_piece(index))
        return self._special_tokens[index - self._first] if self._first <= index < self.size else ""

    def index(self, token: str) -> int:
        """Return the id of `token`, or that of the unknown token."""
        command = self._commands.get(token)
        return int(self.model.piece_to_id(token) if command is None else command)

    @property
    def ending_ids(self) -> tuple[int, ...]:
        """The ids that end an answer; ChatGLM3 also ends it where it would begin another role's message."""
        roles = ("<|user|>", "<|observation|>") if self.generation == 3 else ()
        return (int(self.model.eos_id()), *map(self.index, roles))


def read_model(file: Path) -> SentencePieceProcessor:
    """Return the SentencePiece model in `file`; raise HarnessError if it is none."""
    content = file.read_bytes()
    if not content:
        raise HarnessError(f"{file} is damaged (it is empty): fetch it again")
    try:
        model = SentencePieceProcessor(model_proto=content)
        pieces = [
            model.id_to_piece(index) for index in range(model.get_piece_size())
        ]  # fails on bytes that are no text
    except Exception as error:
        raise HarnessError(f"{file} is damaged ({files.reason(error)}): fetch it again") from error
    if not pieces:
        raise HarnessError(f"{file} is damaged (it has no tokens): fetch it again")
    return model


def _has(model: SentencePieceProcessor, token: str) -> bool:
    """Return whether `token` is a piece of `model`."""
    return bool(model.id_to_piece(model.piece_to_id(token)) == token)


def _blank(length: int) -> str:
    return f"<|blank_{length}|>"
