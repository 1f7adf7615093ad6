"""Which of ChatGLM's tokenizers a folder holds, by its files; Python files are read as text and never run.

ChatGLM-6B's vocabulary is `ice_text.model`. ChatGLM2 and ChatGLM3 have the same `tokenizer.model`. What distinguishes
them is whether a file of the folder names the role token `<|user|>`, or else the name under which the model was
published.

Not here: the model of a folder (`harness.checkpoints.chatglm.layout`), and the tokenizers themselves
(`harness.checkpoints.chatglm.tokenizer`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints import contents, files, limits
from harness.common import places
from harness.errors import HarnessError

CLASS = "ChatGLMTokenizer"
"""The published name of the class. `ChatGLM4Tokenizer` is GLM-4's, which has another vocabulary."""
GENERATION_KEY = "chatglm_generation"
"""Setting of tokenizer_config.json in which this project saves the generation."""
IMAGE_TOKENS = 20_000
"""Number of ids before those of the text in ChatGLM-6B's vocabulary until 6 April 2023; later there are none."""
_VOCABULARIES = {1: "ice_text.model", 2: "tokenizer.model", 3: "tokenizer.model"}
_CODE = "tokenization_chatglm.py"
_ROLE = "<|user|>"
_NAMES = {2: re.compile(r"chatglm2|codegeex2", re.IGNORECASE), 3: re.compile(r"chatglm3", re.IGNORECASE)}
_SHOWN = ("added_tokens.json", "special_tokens_map.json", "chat_template.jinja")


class TokenizerFolder(NamedTuple):
    """A folder that holds one of ChatGLM's tokenizers."""

    folder: Path
    generation: int | None
    """1, 2 or 3; None if nothing distinguishes 2 from 3."""
    settings: dict[str, Any]
    """Contents of tokenizer_config.json; empty if there is none."""
    config: dict[str, Any]
    """Contents of config.json; empty if there is none."""

    def decided(self, generation: int | None, default: int) -> int:
        """Return the generation: 1, else the `generation` that a person stated, the files' one, or `default`."""
        return 1 if self.generation == 1 else generation or self.generation or default

    @property
    def vocabulary(self) -> Path:
        """The file of the SentencePiece model."""
        return self.folder / _VOCABULARIES[self.generation or 2]

    @property
    def template(self) -> str | None:
        """The folder's own chat template, or None."""
        file = self.folder / "chat_template.jinja"
        text = _text(file) if places.is_file(file) else self.settings.get("chat_template")
        return text if isinstance(text, str) and text else None

    def image_tokens(self, sop: int) -> int:
        """Return the number of ids before those of the text, given the id of `<sop>` within the text's.

        The tokenizer's settings decide, else the model's. Raises HarnessError if the two contradict each other.
        """
        stated = self.settings.get("num_image_tokens")
        if stated is not None and (type(stated) is not int or not 0 <= stated <= IMAGE_TOKENS):
            file = self.folder / contents.TOKENIZER_CONFIG
            raise HarnessError(f"{file} states num_image_tokens as {limits.shown(stated)}: correct it to 0 or 20000")
        model = self.config.get("bos_token_id") if self.config.get("model_type") == "chatglm" else None
        if type(model) is not int:
            return IMAGE_TOKENS if stated is None else stated
        if model - sop not in (0, IMAGE_TOKENS) if stated is None else model - sop != stated:
            raise HarnessError(
                f"{self.folder}: the model's <sop> has the id {model:,} (bos_token_id in config.json), the tokenizer's "
                f"{sop + (stated or 0):,}: they are of different versions, so fetch all files of one"
            )
        return model - sop


def recognize(folder: Path) -> TokenizerFolder | None:
    """Return the ChatGLM tokenizer in `folder`, or None if there is none."""
    file, config = folder / contents.TOKENIZER_CONFIG, folder / contents.CONFIG
    settings = files.read_json(file) if places.is_file(file) else {}
    model = files.read_json(config) if places.is_file(config) else {}
    kind = settings.get("tokenizer_class")
    if kind != CLASS and (kind is not None or model.get("model_type") != "chatglm"):
        return None
    if places.is_file(folder / _VOCABULARIES[1]):
        return TokenizerFolder(folder, 1, settings, model)
    if not places.is_file(folder / _VOCABULARIES[2]):
        return None
    return TokenizerFolder(folder, generation(folder, settings, model), settings, model)


def generation(folder: Path, settings: dict[str, Any], model: dict[str, Any]) -> int | None:
    """Return 2 or 3, or None if nothing in `folder` distinguishes them.

    `settings` and `model` are the contents of its tokenizer_config.json and config.json.
    """
    saved = settings.get(GENERATION_KEY)
    if type(saved) is int and saved in (2, 3):
        return saved
    code = folder / _CODE
    if places.is_file(code):
        return 3 if _ROLE in _text(code) else 2
    if _ROLE in str(settings) or any(_ROLE in _text(folder / name) for name in _SHOWN if places.is_file(folder / name)):
        return 3
    names = [str(content.get(key)) for content, key in ((settings, "name_or_path"), (model, "_name_or_path"))]
    matches = {number for number, pattern in _NAMES.items() if any(map(pattern.search, names))}
    return matches.pop() if len(matches) == 1 else None


def _text(file: Path) -> str:
    limits.require_size(file, limits.CONFIG_BYTES)
    return file.read_text(encoding="utf-8", errors="replace")
