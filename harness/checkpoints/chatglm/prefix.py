"""P-tuning v2 prefixes as ChatGLM's training scripts save them: weights named `transformer.prefix_encoder.*`.

A folder holds only the prefix (THUDM/ChatGLM-6B and ChatGLM2-6B, ptuning/), or a whole model and its prefix (ChatGLM3's
finetune_demo, and the former scripts). Its config.json states the base, `pre_seq_len` and, if the base was quantised
during the training, `quantization_bit`.

The prefix encoder is an embedding, or an embedding and two linear layers with a tanh between them
(`prefix_projection`). What it yields has the layout of PEFT's prefix tuning, with one difference: the text begins at
position 0, not behind the virtual tokens.

Not here: the root cache that is made of it (`harness.checkpoints.adapters.prompt_learning`).
"""

from __future__ import annotations

from pathlib import Path

import torch

from harness.checkpoints import files
from harness.checkpoints.chatglm import layout, weights
from harness.checkpoints.chatglm.layout import PREFIX
from harness.checkpoints.chatglm.weights import Shards
from harness.common import places
from harness.errors import HarnessError

EMBEDDING = f"{PREFIX}embedding.weight"
_PROJECTION = tuple(f"{PREFIX}trans.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias"))


def has_prefix(folder: Path) -> bool:
    """Return whether the weights in `folder` include a P-tuning v2 prefix of ChatGLM."""
    return any(name.startswith(PREFIX) for name in _names(folder))


def is_only_prefix(folder: Path) -> bool:
    """Return whether the weights in `folder` are a P-tuning v2 prefix of ChatGLM and nothing else."""
    names = _names(folder)
    return bool(names) and all(name.startswith(PREFIX) for name in names)


def require_config(folder: Path) -> None:
    """Raise HarnessError if `folder` holds a prefix without the config.json that says how long it is."""
    is_prefix = any(name.startswith(PREFIX) for name in weights.names_in(folder))
    if is_prefix and not places.is_file(folder / "config.json"):
        raise HarnessError(
            f"{folder} holds a prefix of ChatGLM but no config.json: copy that of the training that wrote it"
        )


def require_stated(base: Path, published: layout.Layout | None, *, adds_prefix: bool) -> None:
    """Raise HarnessError if the config.json of a published `base` says that it has a prefix, and there is none.

    `adds_prefix` says whether a prefix is put on it. The published code would put a random prefix there.
    """
    tokens = None if published is None else published.settings.get("pre_seq_len")
    if tokens and not adds_prefix:
        raise HarnessError(
            f"{base / 'config.json'} sets pre_seq_len to {tokens}, but no weights of a prefix are there: name the "
            "folder that has them with adapter=, or, for the base alone, set pre_seq_len to null"
        )


def _names(folder: Path) -> list[str]:
    """Return the names of the weights in a ChatGLM's `folder`; [] for other folders and folders without weights."""
    config = folder / "config.json"
    if folder.is_file() or not places.is_file(config) or not layout.is_chatglm(files.read_json(config)):
        return []
    return weights.names_in(folder)


def tensors(folder: Path, virtual_tokens: int) -> dict[str, torch.Tensor]:
    """Return the weights of the prefix encoder in `folder` by their published names, in float32.

    Raises HarnessError if any are missing, surplus or empty, or if they are not of `virtual_tokens` learned tokens.
    """
    shards = Shards(files.weight_files(folder))
    names = {name for name in shards if name.startswith(PREFIX)}
    expected = {EMBEDDING, *_PROJECTION} if names - {EMBEDDING} else {EMBEDDING}
    if names != expected:
        lacking, surplus = sorted(expected - names), sorted(names - expected)
        fault = f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(surplus[:2])}, which has no place"
        raise HarnessError(f"the prefix in {folder} {fault}: save the checkpoint again")
    parts = {name: shards.rows(name).float() for name in sorted(names)}
    rows = len(parts[EMBEDDING])
    if rows != virtual_tokens:
        raise HarnessError(
            f"{folder / 'config.json'} sets pre_seq_len to {virtual_tokens:,}, but the prefix there has {rows:,} "
            "tokens: copy the config.json of the training that wrote the prefix"
        )
    return parts


def read(folder: Path, virtual_tokens: int) -> torch.Tensor:
    """Return the numbers of `virtual_tokens` learned tokens, (tokens, 2 · layers · heads · head size), in float32.

    Raises HarnessError if `tensors` does, or if weights of the prefix encoder have sizes that do not fit together.
    """
    parts = tensors(folder, virtual_tokens)
    learned = parts[EMBEDDING]
    if len(parts) > 1:
        first, first_bias, second, second_bias = (parts[name] for name in _PROJECTION)
        try:
            learned = torch.nn.functional.linear(learned, first, first_bias).tanh()
            learned = torch.nn.functional.linear(learned, second, second_bias)
        except RuntimeError as error:
            sizes = ", ".join(" × ".join(map(str, part.shape)) for part in (parts[EMBEDDING], first, second))
            raise HarnessError(
                f"the prefix in {folder} has layers that do not fit together ({sizes}): save the checkpoint again"
            ) from error
    return learned
