"""The files of a tokenizer, checked before a library reads them: sizes, nesting, ids, and settings that name code.

Not here: whether the tokenizer belongs to the base (`harness.checkpoints.probe.check_vocabulary`), and what its chat
template does (`harness.checkpoints.templates`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.checkpoints import contents, files, foreign_code, limits
from harness.checkpoints.chatglm import recognition
from harness.checkpoints.types import Tokenizer
from harness.common import patterns
from harness.errors import HarnessError

VOCABULARY_BYTES = 96 << 20
"""Largest file of a vocabulary: that of 262,000 tokens with their merges takes 33 MB."""
TEMPLATE_BYTES = 1 << 20
"""Largest chat template."""
_ADDED_TOKENS = "added_tokens.json"
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", _ADDED_TOKENS)
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Settings that are a token. Others end in `_token` too, such as `add_bos_token`, which is true or false."""
_VOCABULARIES = ("*.model", "*.tiktoken", "tokenizer*.json", "vocab.json", "vocab.txt", "merges.txt")
_ADDED, _TEXT, _PIECES = 300_000, 1_000, 64
"""`_ADDED` is the largest number of added tokens, `_TEXT` of characters of an added token or a replacement, and
`_PIECES` of pieces that a step puts a text into."""
_IDS = 1 << 31
"""All ids of tokens are smaller than this."""


def checked(folder: Path, *, is_trusted: bool) -> Path:
    """Return the tokenizer's `folder` after checking its files. With `is_trusted`, its settings may name code.

    Raises HarnessError if a file is out of all bounds, names code, or is a git-lfs pointer.
    """
    for name in contents.tokenizer_files(folder):
        files.check_no_pointer(folder / name)
    for pattern in _VOCABULARIES:
        for file in folder.glob(pattern):
            if file.is_file():
                limits.require_size(file, VOCABULARY_BYTES)
    for file in folder.glob("tokenizer*.json"):
        if file.name != "tokenizer_config.json" and file.is_file():
            _check_backend(file)
    for file in (folder / "chat_template.jinja", *folder.glob("additional_chat_templates/*.jinja")):
        if file.is_file():
            limits.require_size(file, TEMPLATE_BYTES)
    for name in _SETTINGS:
        file = folder / name
        if file.is_file():
            content = files.read_json(file)
            if name != _ADDED_TOKENS:  # whose names are texts
                foreign_code.check(file, content, is_trusted=is_trusted)
            _check_values(file, content)
            kind = content.get("tokenizer_class")
            # With an auto_map, transformers itself says that the class is code of the checkpoint's own.
            if (
                not is_trusted
                and "auto_map" not in content
                and kind is not None
                and not re.fullmatch(r"\w*(Tokeniz\w*|Backend)", str(kind))
            ):
                raise HarnessError(f"{file} names the tokenizer_class {limits.shown(kind)}, which is none: correct it")
    return folder


def load(folder: Path, *, is_trusted: bool, generation: int | None = None, default_generation: int = 2) -> Tokenizer:
    """Return the tokenizer in `folder`. With `is_trusted`, its own code may run. Raises what the library raises.

    `generation` is that of a ChatGLM (2 or 3), and overrides what the tokenizer's files say. `default_generation`
    counts if they say nothing.
    """
    from transformers import AutoTokenizer

    if not is_trusted and (chatglm := recognition.recognize(folder)) is not None:
        from harness.checkpoints.chatglm import tokenizer as chatglm_tokenizer

        return chatglm_tokenizer.load(chatglm, generation, default_generation)
    names = contents.tokenizer_files(folder, code=is_trusted)
    with foreign_code.no_hub(is_trusted=is_trusted), contents.alone(folder, names, code=is_trusted) as alone:
        tokenizer = AutoTokenizer.from_pretrained(str(alone), trust_remote_code=is_trusted)
    tokenizer.name_or_path = str(folder)
    return tokenizer


def ids(tokenizer: Tokenizer, texts: Sequence[str], **settings: Any) -> list[list[int]]:
    """Return the token ids of each of `texts`; `settings` are those of the tokenizer's call.

    Raises HarnessError as `encodings` does.
    """
    result: list[list[int]] = encodings(tokenizer, texts, **settings)["input_ids"]
    return result


def encodings(tokenizer: Tokenizer, texts: Sequence[str], **settings: Any) -> Mapping[str, Any]:
    """Return what the tokenizer's call returns for `texts`, with its `settings`.

    Raises HarnessError if the tokenizer fails with anything at all, even with a panic of a library in Rust, which
    `except Exception` does not catch.
    """
    try:
        result: Mapping[str, Any] = tokenizer(list(texts), verbose=False, **settings)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise HarnessError(
            f"the tokenizer {tokenizer.name_or_path} fails on a text ({files.reason(error)}): fetch or save it again, "
            "or name another with tokenizer="
        ) from error
    return result


def _check_backend(file: Path) -> None:
    """Raise HarnessError if a step or an added token in `file`, which the tokenizers library reads, is out of bounds.

    A file that is no JSON is left for the library to report.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return
    if not isinstance(content, dict):
        return
    added = content.get("added_tokens")
    if isinstance(added, list) and len(added) > _ADDED:
        raise HarnessError(f"{file} has {len(added):,} added tokens, more than {_ADDED:,}: fetch or save it again")
    steps = {key: content.get(key) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    for setting in limits.settings({**steps, "added_tokens": added}):
        name, value = setting.name, setting.value
        fault = ""
        if name in ("content", "prepend", "replacement") and isinstance(value, str) and len(value) > _TEXT:
            fault = f"longer than {_TEXT:,} characters"
        elif name == "Regex" and isinstance(value, str) and patterns.may_hang(value):
            fault = "a pattern that takes for ever to match"
        elif name in ("single", "pair") and isinstance(value, list) and len(value) > _PIECES:
            fault = f"of more than {_PIECES} pieces"
        if fault:
            raise HarnessError(f"{file} states {setting.path} as {limits.shown(value)}, {fault}: correct it")


def _check_values(file: Path, content: dict[str, Any]) -> None:
    """Raise HarnessError if a value in a tokenizer's settings `content` is of a type that no tokenizer has."""
    if file.name == _ADDED_TOKENS:
        _require_ids(file, content.values())
        return
    decoder = content.get("added_tokens_decoder") or {}
    _require_ids(file, decoder if isinstance(decoder, dict) else [decoder])
    length = content.get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int | float) or length != length):
        raise HarnessError(f"{file} states model_max_length as {limits.shown(length)}: correct it")
    template = content.get("chat_template")
    if not isinstance(template, str | list | dict | None):
        raise HarnessError(f"{file} has a chat_template that is no text: correct it")
    if len(str(template)) > TEMPLATE_BYTES:
        raise HarnessError(f"{file} has a chat_template of more than {TEMPLATE_BYTES:,} characters: correct it")
    for name in _SPECIAL:
        value = content.get(name)
        if not isinstance(value, str | dict | None):
            raise HarnessError(f"{file} states {name} as {limits.shown(value)}, which is no token: correct it")


def _require_ids(file: Path, ids: Iterable[Any]) -> None:
    """Raise HarnessError if one of the `ids` of added tokens in `file` is none."""
    for i in ids:
        if not (str(i).isdecimal() and len(str(i)) <= 10 and int(i) < _IDS):
            raise HarnessError(f"{file} gives an added token the id {limits.shown(i)}: correct it")
