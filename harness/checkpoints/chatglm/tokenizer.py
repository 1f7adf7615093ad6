"""ChatGLM's tokenizers as transformers' tokenizers, without running the code that comes with them.

The class has the published name, which a saved folder states, so that this project loads the folder again.

Not here: ids and texts (`harness.checkpoints.chatglm.vocabularies`), and which tokenizer a folder holds
(`harness.checkpoints.chatglm.recognition`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizer

from harness.checkpoints.chatglm import dialogues
from harness.checkpoints.chatglm.dialogues import PromptRules
from harness.checkpoints.chatglm.recognition import GENERATION_KEY, TokenizerFolder
from harness.checkpoints.chatglm.vocabularies import Vocabulary, Vocabulary2, Vocabulary6B, read_model


class ChatGLMTokenizer(PreTrainedTokenizer):  # type: ignore[misc]
    """The tokenizer of one generation of ChatGLM."""

    model_input_names = ("input_ids", "attention_mask")

    def __init__(self, vocabulary: Vocabulary, **settings: Any) -> None:
        self.vocabulary = vocabulary
        self.vocab_files_names = {"vocab_file": vocabulary.file_name}
        settings.setdefault("chat_template", dialogues.template(vocabulary.generation))
        settings |= vocabulary.names | {"clean_up_tokenization_spaces": vocabulary.cleans_text}
        super().__init__(padding_side="left", **settings)
        self.init_kwargs |= vocabulary.settings | {GENERATION_KEY: vocabulary.generation}

    @property
    def prompt_rules(self) -> PromptRules:
        """What the model expects of prompts."""
        return self.vocabulary.rules

    @property
    def ending_ids(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return self.vocabulary.ending_ids

    # -- what transformers calls

    def _encode_plus(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **settings: Any) -> Any:
        if not isinstance(text, str):
            return super()._encode_plus(text, text_pair, add_special_tokens=add_special_tokens, **settings)
        strategies = {key: settings.pop(f"{key}_strategy").value for key in ("padding", "truncation")}
        for name in ("is_split_into_words", "split_special_tokens"):
            settings.pop(name, None)
        ids, pair = self.vocabulary.ids(text), None if text_pair is None else self.vocabulary.ids(text_pair)
        return self.prepare_for_model(ids, pair, add_special_tokens, prepend_batch_axis=True, **strategies, **settings)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return a text's ids with the special tokens around them, and those of an answer with the one that ends it."""
        return self.vocabulary.surrounded(token_ids_0, token_ids_1)

    def tokenize(self, text: str, **_: Any) -> list[str]:
        """Return the tokens of `text`."""
        return [self.vocabulary.token(i) for i in self.vocabulary.ids(text)]

    def _decode(
        self,
        token_ids: int | Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **_: Any,
    ) -> str:
        ids = [token_ids] if isinstance(token_ids, int) else [int(i) for i in token_ids]
        text = self.vocabulary.text(ids, skips_special=skip_special_tokens)
        cleans = clean_up_tokenization_spaces
        cleans = self.clean_up_tokenization_spaces if cleans is None else cleans
        return str(self.clean_up_tokenization(text)) if cleans else text

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.vocabulary.size

    def __len__(self) -> int:
        return self.vocabulary.size

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token."""
        return {self.vocabulary.token(index): index for index in range(self.vocabulary.size)}

    def _convert_id_to_token(self, index: int) -> str:
        return self.vocabulary.token(index)

    def _convert_token_to_id(self, token: str) -> int:
        return self.vocabulary.index(token)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Write the SentencePiece model to a folder and return the path of its file."""
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        file = Path(save_directory, prefix + self.vocabulary.file_name)
        file.write_bytes(self.vocabulary.model.serialized_model_proto())
        return (str(file),)


def load(source: TokenizerFolder, generation: int | None = None, default: int = 2) -> ChatGLMTokenizer:
    """Return the tokenizer of `source`; `generation` (2 or 3) overrides what its files say of ChatGLM2 and ChatGLM3.

    Where nothing distinguishes them, `default` counts. A chat template in the folder is used if the tokenizer reads
    what it writes (`dialogues.is_readable`). Raises HarnessError if the vocabulary is damaged, or of another version
    than the model.
    """
    number = source.decided(generation, default)
    model = read_model(source.vocabulary)
    if number == 1:
        vocabulary: Vocabulary = Vocabulary6B(model, 0, source.settings)
        images = source.image_tokens(vocabulary.index("<sop>"))
        vocabulary = Vocabulary6B(vocabulary.model, images, source.settings)
    else:
        vocabulary = Vocabulary2(model, number)
    template = source.template
    is_used = template is not None and dialogues.is_readable(template, number)
    tokenizer = ChatGLMTokenizer(vocabulary, **({"chat_template": template} if is_used else {}))
    tokenizer.name_or_path = str(source.folder)
    return tokenizer
