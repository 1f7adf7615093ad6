"""What deserves a second look about the files of a checkpoint, although nothing in them is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkpoints import ancestry, files, history, identity, origin
from harness.checkpoints.chatglm import remarks as chatglm
from harness.checkpoints.located import Located
from harness.common import hashes


def on_files(located: Located, sha256: identity.Sha256 = hashes.sha256) -> list[str]:
    """Return one sentence for each remark on the files of `located`; `sha256` hashes files."""
    sentences = ancestry.remarks(located, sha256)
    trained = history.of(located) if located.adapter is not None else None
    if trained is not None and trained.quantize and located.quantization is None:
        sentences.append(
            f"the adapter was trained on {trained.quantize} weights, and is put on others here: "
            f"quantize={trained.quantize} gives the same"
        )
    stated = located.adapter_config.base if located.adapter_config else None
    if located.adapter is not None and ancestry.is_known(located, sha256):
        stated = None  # the record counts, whatever the base is called
    if stated and located.reference.adapter is None and located.base_name != stated:
        sentences.append(f"the adapter's base {stated} is not here: {located.base_name}, the same model, replaces it")
    elif stated and not origin.same_model(stated, located.base_name):
        sentences.append(f"the adapter says it was trained on {stated}, not on {located.base_name}")
    if located.adapter_config and located.adapter_config.defaults:
        names = " and ".join(name for name, _ in located.adapter_config.defaults)
        values = " and ".join(f"{name} = {value}" for name, value in located.adapter_config.defaults)
        sentences.append(f"the adapter's {files.ADAPTER_CONFIG} states no {names}: peft's default is used, {values}")
    sentences += chatglm.on_files(located)
    if unread := files.unread_weights(located.base):
        read = ", ".join(file.name for file in files.weight_files(located.base)[:1])
        sentences.append(f"{located.base} also has {', '.join(unread)}, which is not read: the weights are {read}")
    file = located.base / "generation_config.json"
    penalty = files.read_json(file).get("repetition_penalty") if file.is_file() else None
    if penalty not in (None, 1, 1.0):
        sentences.append(
            f"the checkpoint's own repetition penalty of {penalty} is not applied, because no task sets it; lm-eval "
            "applies it"
        )
    return sentences


def on_ignored(names: Sequence[str]) -> list[str]:
    """Return a sentence about weights in the files, with these `names`, that have no place in the model; [] if none."""
    if not names:
        return []
    more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
    return [f"weights without a place in the model were ignored ({', '.join(names[:2])}{more}): allow_unexpected_keys"]
