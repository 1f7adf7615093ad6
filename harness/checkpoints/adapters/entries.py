"""Check that the base has each module and layer that an entry of an adapter's configuration names.

PEFT refuses a configuration only if nothing at all matches. A single entry without a match has no effect in PEFT: the
default rank or scale is used, or a module keeps the base's weights.

Names in `target_modules` and `modules_to_save` without a match only lead to a note. Lists for several architectures are
common, and names change with transformers' versions. Besides, every key of the adapter must find its place in any case.

Not here: the keys of the adapter's weights (`harness.checkpoints.adapters.attach`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch

from harness.checkpoints.adapters import limits
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm import lora
from harness.checkpoints.types import Model
from harness.errors import HarnessError

_OTHER_PATTERNS = ("ADALORA", "OSF")
"""Methods in whose `rank_pattern` keys are of another kind, so that they are not checked here."""
_LAYER = r".*?\.[^.]*\.(\d+)\."
"""Pattern by which PEFT finds a layer's index in the name of a module if there is no `layers_pattern`."""

Matches = Callable[[str, str], object]
"""Function that says whether an entry (first) matches the name of a module (second), as PEFT compares them."""


def require_matches(adapter: AdapterConfig, config: Any, base: torch.nn.Module) -> None:
    """Raise HarnessError if an entry of PEFT's `config` matches no module or layer of `base`, naming the entry.

    `target_modules` without any match, and values of unsuitable types, are not checked here: PEFT refuses them itself.
    """
    names = [name for name, _ in base.named_modules(remove_duplicate=False)]
    parameters = [name for name, _ in base.named_parameters(remove_duplicate=False)]
    require_matches_in(adapter, config, names, parameters)


def require_matches_in(
    adapter: AdapterConfig, config: Any, names: Sequence[str], parameters: Sequence[str] = ()
) -> None:
    """Raise HarnessError if an entry of PEFT's `config` matches no module in `names`, or none of the `parameters`."""
    limits.require_quick_patterns(adapter.file, config, [*names, *parameters])
    unmatched = _unmatched(_texts(config, "trainable_token_indices"), names, _is_end)
    _require_none(adapter, "trainable_token_indices", unmatched, "module")
    unmatched = _not_ends(_texts(config, "target_parameters"), parameters)
    _require_none(adapter, "target_parameters", unmatched, "parameter")
    if getattr(config, "layer_replication", None):
        return  # PEFT numbers the layers anew
    for setting in ("rank_pattern", "alpha_pattern") if adapter.method not in _OTHER_PATTERNS else ():
        _require_none(adapter, setting, _unmatched(_texts(config, setting), names, _is_pattern), "module")
    _require_layers(adapter, config, names)


def notes(adapter: AdapterConfig, base: Model) -> list[str]:
    """Return a note for each of `target_modules` and `modules_to_save` with names of modules that `base` lacks."""
    names = [name for name, _ in base.named_modules(remove_duplicate=False)]
    if getattr(base.config, "chatglm_generation", None):
        names += lora.published_modules(base.config)
    unmatched = [(setting, _not_ends(entries, names)) for setting, entries in adapter.named_modules]
    return [
        f"{setting} in the adapter's {adapter.file.name} names {', '.join(entries)}, which the base lacks"
        for setting, entries in unmatched
        if entries
    ]


def _require_layers(adapter: AdapterConfig, config: Any, names: Sequence[str]) -> None:
    lists = _texts(config, "layers_pattern")
    _require_none(adapter, "layers_pattern", _unmatched(lists, names, _is_list_of_layers), "module")
    stated = getattr(config, "layers_to_transform", None)
    layers = stated if isinstance(stated, Collection) else [stated] if isinstance(stated, int) else []
    places = [match for name in names for text in lists or [""] if (match := _is_list_of_layers(text, name))]
    existing = {int(match[1]) for match in places}
    _require_none(adapter, "layers_to_transform", [str(i) for i in layers if i not in existing], "layer")


def _texts(config: Any, setting: str) -> list[str]:
    """Return the sorted texts in a setting: the items of a list, the keys of a mapping, or the setting itself."""
    value = getattr(config, setting, None)
    if isinstance(value, str):
        return [value]
    return sorted(text for text in value if isinstance(text, str)) if isinstance(value, Collection) else []


def _unmatched(entries: Sequence[str], names: Sequence[str], matches: Matches) -> list[str]:
    return [entry for entry in entries if not any(matches(entry, name) for name in names)]


def _not_ends(entries: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return those of `entries` that are neither one of `names` nor its end after a dot; there may be 100,000 each."""
    ends = {name.split(".", parts)[-1] for name in names for parts in range(name.count(".") + 1)}
    return [entry for entry in entries if entry not in ends]


def _is_end(entry: str, name: str) -> bool:
    return name.endswith(entry)


def _is_pattern(entry: str, name: str) -> object:
    return _match(rf"(.*\.)?({entry})$", name)


def _is_list_of_layers(entry: str, name: str) -> re.Match[str] | None:
    return _match(rf"(?:^|.*?\.){entry}\.(\d+)\." if entry else _LAYER, name)


def _match(pattern: str, name: str) -> re.Match[str] | None:
    """Return the match of `pattern` at the start of `name`, or None; an invalid pattern is left for PEFT to report."""
    try:
        return re.match(pattern, name)
    except re.error:
        return None


def _require_none(adapter: AdapterConfig, setting: str, entries: Sequence[str], noun: str) -> None:
    if entries:
        more = f" (and {', '.join(repr(entry) for entry in entries[1:4])})" if len(entries) > 1 else ""
        raise HarnessError(
            f"adapter {adapter.folder} does not fit this base: {setting} in its {adapter.file.name} names "
            f"{entries[0]!r}{more}, which is no {noun} of the base, so that peft would ignore it; name the base it was "
            "trained on, or, if it was trained on this one, remove the entry"
        )
