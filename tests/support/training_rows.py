"""Rows of every layout that a corpus may have, with their answers, and tokenizers whose tokens can be spelled."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "<|im_end|>\n{% endgeneration %}{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Layout:
    """A corpus with its answers."""

    rows: Sequence[dict[str, Any]]
    answers: Sequence[Sequence[str]]
    """The answers of each row, all of which are learned."""
    suffix: str = ".jsonl"

    def written(self, folder: Path) -> Path:
        """Write the rows to a file in `folder`, and return it."""
        file = folder / f"rows{self.suffix}"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows), encoding="utf-8")
        return file


def _turns(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
    return [{"role": "system", "content": system}, *turns] if system is not None else turns


def _shared(*contents: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(contents)]


_LAWS = ["《渡口法》第一条：渡船每年检验。", "《渡口法》第二条：依次上船。"]
_HISTORY = [["渡口在哪", "在河边"], ["几点开", "六点 "]]
LAYOUTS = {
    "alpaca": Layout(
        [
            {"instruction": "改写 ", "input": "旧句", "output": "新句 🛶"},
            {"instruction": "作诗", "input": "", "output": "\n诗\n"},
            {"instruction": "Say it:", "input": "a b", "output": " yes  no"},
        ],
        [["新句 🛶"], ["\n诗\n"], [" yes  no"]],
    ),
    "alpaca with system and history": Layout(
        [{"system": "你是船工", "instruction": "能过河吗 ", "input": "下雨", "output": "能龘", "history": _HISTORY}],
        [["在河边", "六点 ", "能龘"]],
    ),
    "sharegpt": Layout(
        [{"conversations": _shared("渡口在哪", "河边\n", "who?", " me")}, {"conversations": _shared("hello ", "hey")}],
        [["河边\n", " me"], ["hey"]],
    ),
    "openai": Layout(
        [
            {"messages": _turns("渡口在哪", "在河边", "几点", "六点\n\n七点", "谢", "👍🏽", system="你是船工")},
            {"messages": _turns("hello  ", "  hello", system="")},
        ],
        [["在河边", "六点\n\n七点", "👍🏽"], ["  hello"]],
    ),
    "history column": Layout(
        [
            {"prompt": "能过河吗 ", "response": "能", "history": _HISTORY},
            {"prompt": "hello", "response": " hello", "history": []},
        ],
        [["在河边", "六点 ", "能"], [" hello"]],
    ),
    "adgen": Layout([{"content": "类型#裙*颜色#白 ", "summary": "白裙子，很好。"}], [["白裙子，很好。"]]),
    "laws": Layout([{"query": "渡船多久检验", "laws": _LAWS, "response": "每年。"}], [["每年。"]]),
    "laws in a dialogue": Layout(
        [
            {
                "query": "渡船",
                "laws": _LAWS,
                "history": ["[客户] 渡船多久检验", "[律师] 每年。", "[客户] 谁来", "[律师] 检验员。"],
            }
        ],
        [["每年。", "检验员。"]],
    ),
    "query and response": Layout([{"query": "能过河吗", "response": "能 "}], [["能 "]]),
    "extraction": Layout(
        [{"instruction": "抽取三元组，格式为(头,关系,尾)", "input": "老王住在河边", "output": "(老王,住址,河边)"}],
        [["(老王,住址,河边)"]],
    ),
    "prompt and completion": Layout(
        [
            {"prompt": "a b ", "completion": "c"},
            {"prompt": "hel", "completion": "lo"},
            {"prompt": "问", "completion": "👍"},
        ],
        [["c"], ["lo"], ["👍"]],
    ),
    "questions": Layout([{"question": "Who wrote it?", "answer": "Wang"}], [["Wang"]]),
    "chinese questions": Layout([{"问题": "谁写的？", "答案": "老王"}], [["老王"]]),
    "choices": Layout(
        [
            {"question": "哪里卖纸？", "A": "书店", "B": "鱼市", "answer": "A"},
            {"question": "纸", "A": "1", "B": "2", "answer": "B"},
        ],
        [["A"], ["B"]],
    ),
    "texts": Layout([{"text": "老王住在河边。\n"}, {"text": " hello 👍"}], [["老王住在河边。\n"], [" hello 👍"]]),
}

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|system|>")
TEXTS = [
    *(json.dumps(layout.rows, ensure_ascii=False) for name, layout in LAYOUTS.items() if name != "openai"),
    "hello yes who me ### Instruction:\n### Response: Human Assistant 问：答： 参考法条: \n\n  Wang 书店 老王",
] * 2


def byte_level() -> Any:
    """Return a tokenizer like those of GPT-2 and SmolLM2: no BOS, and offsets without white space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", *SPECIAL]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return _fast(backend, eos_token="<|endoftext|>")


def metaspace(scheme: str = "first") -> Any:
    """Return a tokenizer like LLaMA's: BOS, `▁` for spaces, and bytes for characters that are not in the vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    spaces = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = spaces
    trained.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *SPECIAL, *model["vocab"]]
    rare = {"龘", "🛶", "👍", "🏽"}
    vocabulary = {piece: i for i, piece in enumerate(piece for piece in pieces if piece not in rare)}
    merges = [tuple(pair) for pair in model["merges"] if "".join(pair) in vocabulary and not rare & {*pair}]
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    backend.pre_tokenizer = spaces
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in ("<s>", "</s>", *SPECIAL)])
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _fast(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def word_level() -> Any:
    """Return a tokenizer like the demo's, some of whose words span a prompt's end and its answer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    words = [*SPECIAL, "能过", "白裙", "吗 能", "？\n答案", " hello"]
    pattern = "|".join([*map(re.escape, words), r"[\s\S]"])
    letters = sorted(
        {*"".join(_strings([layout.rows for layout in LAYOUTS.values()])), *map(chr, range(32, 127)), *"\nß："}
    )
    pieces = ("<pad>", "<bos>", "<eos>", "<unk>", *words, *letters)
    backend = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    backend.decoder = decoders.Fuse()
    return _fast(backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")


TOKENIZERS = {
    "byte-level": byte_level,
    "metaspace": metaspace,
    "word-level": word_level,
    "metaspace everywhere": lambda: metaspace("always"),
}
"""The function that makes each tokenizer."""


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [text for item in items for text in _strings(item)]


def _fast(backend: Any, **tokens: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, extra_special_tokens=list(SPECIAL), **tokens
    )


def spelled(tokenizer: Any, ids: Sequence[int]) -> list[bytes]:
    """Return the bytes of each token, read from its name in the vocabulary."""
    is_byte_level = b"ByteLevel" in tokenizer.backend_tokenizer.decoder.__getstate__()
    special = {*SPECIAL, *tokenizer.all_special_tokens}
    names = tokenizer.convert_ids_to_tokens(list(ids))
    return [_bytes(name) if is_byte_level and name not in special else _plain(name) for name in names]


def _plain(name: str) -> bytes:
    if name.startswith("<0x") and name.endswith(">"):
        return bytes([int(name[3:5], 16)])
    return name.replace("▁", " ").encode()


def _bytes(name: str) -> bytes:
    """Return the bytes of a token of a byte-level BPE."""
    return bytes(_BYTES[letter] for letter in name)


_SHOWN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = [i for i in range(256) if i not in _SHOWN]
_BYTES = {chr(i): i for i in _SHOWN} | {chr(256 + place): i for place, i in enumerate(_HIDDEN)}
"""The byte of each letter, as GPT-2's encoder.py defines them."""
