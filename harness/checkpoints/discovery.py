"""What a training run leaves behind: every checkpoint of it, who wrote it, and where its base is to be had.

    out/checkpoint-*                    all its checkpoints, in step order
    out/base,adapter=out/checkpoint-*   the same, of adapters put on a base by name

Recognised are folders as LLaMA-Factory, ms-swift, TRL, transformers' Trainer and PEFT's `save_pretrained` write them.
Nothing here reads a weight, executes a pickle or asks the network.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints import files
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError

STATE = "trainer_state.json"
ARGUMENTS = "training_args.bin"
_STEP = re.compile(r"checkpoint-(\d+)")
_UNFINISHED = "tmp-"  # transformers before 4.46 saved into tmp-checkpoint-N and renamed that in the end
# Packages whose arguments class is pickled in training_args.bin. ms-swift and LLaMA-Factory build on TRL, all on
# transformers, so the first that is found counts.
_PACKAGES = {
    "swift": "ms-swift",
    "llamafactory": "LLaMA-Factory",
    "llmtuner": "LLaMA-Factory",  # as it was called before version 0.8
    "trl": "TRL",
    "transformers": "transformers' Trainer",
}
_TAGS = {"llama-factory": "LLaMA-Factory", "trl": "TRL"}  # of the model card, which is at the top of an output folder


class Origin(NamedTuple):
    """Who left a folder, and when in the training; None is what nothing there tells."""

    trainer: str
    """`LLaMA-Factory`, `ms-swift`, `TRL`, `transformers' Trainer` or `PEFT`."""
    step: int | None = None
    epoch: float | None = None

    def __str__(self) -> str:
        """Return it in words: `LLaMA-Factory, step 300, epoch 1.5`."""
        step = [] if self.step is None else [f"step {self.step:,}"]
        return ", ".join([self.trainer, *step, *([] if self.epoch is None else [f"epoch {self.epoch:.4g}"])])


class Known(NamedTuple):
    """A model as a hub knows it."""

    name: str
    """`ORG/NAME`."""
    hub: str
    """`Hugging Face` or `ModelScope`: the same name may be another model on the other."""
    revision: str | None = None


# --- several checkpoints by one reference


def expand(references: Iterable[CheckpointReference]) -> list[CheckpointReference]:
    """Return `references` with each pattern (`*`, `?`, `[`) replaced by the folders it matches, every name its own.

    A pattern stands in the path or in `adapter=`; a folder of that very name comes first. Matches are in natural
    order, checkpoint-9 before checkpoint-100; files and unfinished saves are passed over. Of several matches,
    `name=X` becomes X-300 and so on. What is named twice, in whatever spelling of its path, comes once.
    Raises HarnessError on a pattern without a match, and on two checkpoints that were given the same name.
    """
    found: dict[CheckpointReference, CheckpointReference] = {}
    for one in (match for reference in references for match in _matches(reference)):
        found.setdefault(replace(one, path=_real(one.path) or one.path, adapter=_real(one.adapter)), one)
    return _told_apart(list(found.values()))


def _real(path: str | None) -> str | None:
    """Return the one spelling of a path that is here, and anything else as it is."""
    return str(Path(path).expanduser().resolve()) if path is not None and _exists(path) else path


def _matches(reference: CheckpointReference) -> list[CheckpointReference]:
    patterns = [key for key in ("path", "adapter") if _is_pattern(getattr(reference, key))]
    if not patterns:
        return [reference]
    if len(patterns) > 1:
        raise HarnessError(f"'{reference}' has a pattern in its path and in adapter=: write one of them out")
    key = patterns[0]
    folders = _folders(getattr(reference, key))
    found = [replace(reference, path=x) if key == "path" else replace(reference, adapter=x) for x in folders]
    if reference.name is None or len(found) == 1:
        return found
    ends = _different(lambda depth: [_end(folder, depth) for folder in folders], max(map(_depth, folders)))
    return [replace(one, name=f"{reference.name}-{end}") for one, end in zip(found, ends or folders, strict=True)]


def _is_pattern(path: str | None) -> bool:
    return path is not None and glob.has_magic(path) and not _exists(path)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # too long for a file system, or no such user
        return False


def _folders(pattern: str) -> list[str]:
    matches = [match.rstrip("/") for match in glob.glob(os.path.expanduser(pattern), recursive=True)]  # noqa: PTH111, PTH207 - as typed: Path drops a leading ./
    found = [match for match in matches if Path(match).is_dir() and not Path(match).name.startswith(_UNFINISHED)]
    if not found:
        raise HarnessError(f"no folder matches '{pattern}': {_instead(pattern, matches)}")
    # A link such as `latest` beside what it leads to is the same checkpoint.
    plain = {Path(match).resolve() for match in found if not Path(match).is_symlink()}
    once = [match for match in found if not Path(match).is_symlink() or Path(match).resolve() not in plain]
    return sorted(once, key=_natural)


def _natural(path: str) -> list[list[Any]]:
    """Return a key that sorts numbers as numbers, in every part of the path."""
    return [[int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", part)] for part in Path(path).parts]


def _instead(pattern: str, matches: Sequence[str]) -> str:
    """Say what is there in place of a folder that matches."""
    if matches:
        return f"only files and unfinished saves do ({_listed(Path(match).name for match in matches)}); check the path"
    parts = Path(os.path.expanduser(pattern)).parts  # noqa: PTH111 - leaves the home of nobody as it is
    literal = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    parent = Path(*parts[:literal])
    if not os.path.isdir(parent):  # noqa: PTH112 - False for a name too long for a file system
        return f"there is no folder {parent}, and models on the hub have no patterns; check the path"
    try:
        inside = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        return f"{parent} cannot be read ({error.strerror}); check the path"
    if not inside:
        return f"{parent} is empty; check the path"
    deeper = Path(parent, "*", *parts[literal:])
    if glob.glob(str(deeper)):  # noqa: PTH207
        return f"'{deeper}' does; {parent} holds {_listed(inside)}"
    return f"{parent} holds {_listed(inside)}; check the pattern"


def _listed(names: Iterable[str], most: int = 6) -> str:
    ordered = sorted(names, key=_natural)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most:,} more" if len(ordered) > most else "")


def _told_apart(references: list[CheckpointReference]) -> list[CheckpointReference]:
    """Give each reference a label of its own: more of its path, or the keys in which it differs."""
    found = list(references)
    for label, count in Counter(one.label for one in references).items():
        if count == 1:
            continue
        same = [place for place, one in enumerate(found) if one.label == label]
        free = [place for place in same if found[place].name is None]
        named = [found[place] for place in same if found[place].name is not None]
        taken = {one.label for place, one in enumerate(found) if place not in free}
        names = _names([found[place] for place in free], taken) if len(named) < 2 else None
        if names is None:
            one, other = (named if len(named) > 1 else [found[place] for place in same])[:2]
            raise HarnessError(f"'{one}' and '{other}' are both called '{label}': give each a name= of its own")
        for place, name in zip(free, names, strict=True):
            found[place] = found[place] if name == label else replace(found[place], name=name)
    return found


def _names(references: list[CheckpointReference], taken: set[str]) -> list[str] | None:
    """Return names for `references`, which have one label, that are all different and not taken; None if none are."""
    keys = [f for f in fields(CheckpointReference) if f.name not in ("name", "path", "adapter", "quantize")]
    differ = [f for f in keys if len({getattr(one, f.name) for one in references}) > 1]

    def name(one: CheckpointReference, depth: int) -> str:
        ends = [_end(part, depth, whole=True) for part in (one.path, one.adapter) if part]
        given = [(f.name, value) for f in differ if (value := getattr(one, f.name)) != f.default]
        said = [{True: key, False: f"{key}=false"}[value] if isinstance(value, bool) else value for key, value in given]
        return "+".join(map(str, [*ends, *([one.quantize] if one.quantize else []), *said]))

    deepest = max(_depth(part) for one in references for part in (one.path, one.adapter) if part)
    return _different(lambda depth: [name(one, depth) for one in references], deepest, taken)


def _different(names: Callable[[int], list[str]], deepest: int, taken: Iterable[str] = ()) -> list[str] | None:
    """Return the shortest names, by how many parts of a path they take, that are all different and not taken."""
    for depth in range(1, deepest + 1):
        found = names(depth)
        if len(set(found)) == len(found) and not set(found) & set(taken):
            return found
    return None


def _depth(path: str) -> int:
    return len(_parts(path))


def _parts(path: str) -> list[str]:
    return list(Path(path).expanduser().resolve().parts[1:]) if _exists(path) else path.split("/")


def _end(path: str, depth: int, *, whole: bool = False) -> str:
    """Return the last `depth` parts of `path` as a name; a checkpoint-300 is a 300 unless `whole`, and then has run."""
    parts = _parts(path)
    step = _STEP.fullmatch(parts[-1])
    if step and whole:
        depth += 1  # as a label has it: checkpoint-300 alone names every training run's
    last = parts[-1] if whole or not step else step[1]
    return "-".join([*parts[-depth:-1], last])


# --- who left a folder


def origin(folder: Path) -> Origin | None:
    """Return who left `folder`, and at which step and epoch; None where nothing tells.

    The files read are those of the trainers' own source: ms-swift's args.json, the class pickled in training_args.bin
    (its name is read, nothing is executed), LLaMA-Factory's trainer_log.jsonl, the tags of a model card, and
    transformers' trainer_state.json. A damaged one counts as none.
    """
    state = _json(folder / STATE)
    step, epoch = state.get("global_step"), state.get("epoch")
    if step is None and (named := _STEP.fullmatch(folder.resolve().name)):
        step = int(named[1])
    trainer = _trainer(folder)
    if trainer is None:
        return None
    return Origin(
        trainer, step if isinstance(step, int) else None, float(epoch) if isinstance(epoch, int | float) else None
    )


def _trainer(folder: Path) -> str | None:
    if _is_swift(_json(folder / "args.json")):
        return "ms-swift"
    packages = {name.partition(".")[0] for name in files.pickled_classes(folder / ARGUMENTS)}
    found = next((trainer for package, trainer in _PACKAGES.items() if package in packages), None)
    if found not in (None, _PACKAGES["transformers"]):
        return found
    # Older LLaMA-Factory used transformers' arguments; its log is in the output folder, above the checkpoints.
    inside = _STEP.fullmatch(folder.resolve().name)
    places = [folder, folder.resolve().parent] if inside else [folder]
    if any((place / "trainer_log.jsonl").is_file() for place in places):
        return "LLaMA-Factory"
    tags = _tags(folder / "README.md")
    by_card = next((trainer for tag, trainer in _TAGS.items() if tag in tags), None)
    if by_card or found:
        return by_card or found
    if (folder / STATE).is_file():
        return _PACKAGES["transformers"]
    return "PEFT" if (folder / files.ADAPTER_CONFIG).is_file() else None


def _is_swift(arguments: dict[str, Any]) -> bool:
    # Before swift_version was written, no other trainer's args.json had these two.
    return "swift_version" in arguments or ("model_dir" in arguments and "template" in arguments)


def _json(file: Path) -> dict[str, Any]:
    try:
        return files.read_json(file)
    except (HarnessError, OSError):
        return {}


def _tags(card: Path) -> list[str]:
    """Return the tags in the header of a model card."""
    import yaml

    try:
        header = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
        content = yaml.safe_load(header[1]) if header else None
    except (OSError, ValueError, yaml.YAMLError):
        return []
    tags = content.get("tags") if isinstance(content, dict) else None
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


# --- a base that is not where the training had it


def base_here(adapter: Path, stated: str, revision: str | None) -> tuple[str, str | None]:
    """Return where the base that `adapter` names as `stated` is to be had, as (path or hub name, revision).

    A path of another machine is replaced only by what is certainly the same model: the Hugging Face name and commit
    in a path of that hub's cache, the name ms-swift trained from that hub, or the ModelScope cache of this machine.
    """
    known = None if _exists(stated) else known_as(stated, adapter)
    if known is None:
        return stated, revision
    if known.hub == "Hugging Face":
        return known.name, known.revision
    here = next((folder for folder in _modelscope(known) if folder.is_dir()), None)
    return (str(here), None) if here else (stated, revision)


def advice(adapter: Path, stated: str) -> str:
    """Return what to do about a base that is not to be had, in words that follow `; `."""
    known = known_as(stated, adapter)
    if known is None:
        return f"name its base, as BASE,adapter={adapter}"
    return f"it is {known.name} on {known.hub}: if you have that, name it, as BASE,adapter={adapter}"


def known_as(path: str, adapter: Path | None = None) -> Known | None:
    """Return the model that lies at `path`, of this machine or another, where the path or ms-swift's files tell."""
    cached = re.search(r"/models--([\w.-]+)/snapshots/([0-9a-f]+)/?$", path)
    if cached:
        return Known(cached[1].replace("--", "/", 1), "Hugging Face", cached[2])
    arguments = _json(adapter / "args.json") if adapter is not None else {}
    if _is_swift(arguments) and path == arguments.get("model_dir") != arguments.get("model"):
        model, revision = arguments.get("model"), arguments.get("model_revision")
        if isinstance(model, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            hub = "Hugging Face" if arguments.get("use_hf") is True else "ModelScope"
            return Known(model, hub, revision if isinstance(revision, str) else None)
    # ModelScope's cache now has folders of snapshots; before, the dots of a name became `___`.
    cached = re.search(r"/models/([\w.-]+?)--([\w.-]+)/snapshots/([\w.-]+)/?$", path)
    if cached:
        return Known(f"{cached[1]}/{cached[2]}", "ModelScope", cached[3])
    masked = re.search(r"/(?:modelscope/hub|models)/(?:models/)?([\w.-]+)/([\w.-]+)/?$", path)
    if masked and ("/modelscope/" in path or "___" in masked[2]):
        return Known(f"{masked[1]}/{masked[2]}".replace("___", "."), "ModelScope")
    return None


def same_model(one: str, other: str) -> bool:
    """Tell whether two paths or names of models agree in their last part, a cache's own spelling aside."""
    return len({Path(known.name if (known := known_as(path)) else path).name for path in (one, other)}) == 1


def _modelscope(known: Known) -> list[Path]:
    """Return where ModelScope's client on this machine may keep a model, its newest layout first."""
    owner, _, model = known.name.partition("/")
    cache = os.environ.get("MODELSCOPE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "modelscope"
    older = [root / part / owner / model.replace(".", "___") for part in ("hub/models", "models", "hub", ".")]
    return [root / "models" / f"{owner}--{model}" / "snapshots" / (known.revision or "master"), *older]
