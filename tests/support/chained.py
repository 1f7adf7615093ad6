"""A tiny LLaMA whose next token depends only on the last one, so that its answers are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

CHARACTERS = (
    "".join(map(chr, range(32, 127))) + "\n\t问题答案：，。？！、；（）一二三四五六七八九十加减是的不对错选项正确"
)


def model(
    folder: Path,
    chain: Mapping[str, str],
    *,
    template: str | None = None,
    tokens: Sequence[str] = (),
    special: bool = True,
    adds_bos: bool = False,
    context: int = 2048,
) -> Path:
    """Save a checkpoint that follows each token by that of `chain`; return its `folder`.

    A token is a character, `<s>`, `</s>`, `<unk>` or one of `tokens`, which are `special` in tokenizer.json alone.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    texts = list(dict.fromkeys(["<s>", "</s>", "<unk>", *tokens, *CHARACTERS, *chain, *chain.values()]))
    ids = {text: i for i, text in enumerate(texts)}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    words.decoder = decoders.Fuse()
    words.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ("<s>", "</s>", "<unk>")])
    added = [AddedToken(text, special=special, normalized=False) for text in tokens]
    words.add_special_tokens(added) if special else words.add_tokens(added)
    if adds_bos:
        words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=template
    )
    config: dict[str, Any] = {
        "vocab_size": len(texts),
        "hidden_size": -(-len(texts) // 16) * 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "bos_token_id": ids["<s>"],
        "eos_token_id": ids["</s>"],
    }
    llama = LlamaForCausalLM(LlamaConfig(**config))
    with torch.no_grad():
        size = llama.config.hidden_size
        llama.model.embed_tokens.weight.copy_(torch.eye(len(texts), size))
        llama.model.layers[0].self_attn.o_proj.weight.zero_()
        llama.model.layers[0].mlp.down_proj.weight.zero_()
        head = torch.zeros(len(texts), size)
        for last, following in chain.items():
            head[ids[following], ids[last]] = 12 / size**0.5
        llama.lm_head.weight.copy_(head)
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def saying(text: str, *, after: str, tokens: Sequence[str] = ()) -> dict[str, str]:
    """Return the chain that writes `text`, whose tokens all differ, `after` a token, and then ends."""
    parts: list[str] = []
    while text:
        token = next((token for token in tokens if text.startswith(token)), text[0])
        parts.append(token)
        text = text.removeprefix(token)
    assert len(set(parts)) == len(parts), "a chain cannot write a token twice"
    return dict(zip([after, *parts], [*parts, "</s>"], strict=True))
