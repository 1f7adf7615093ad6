"""A recipe: a YAML file that declares corpora and a DAG of stages, each of which trains one checkpoint.

    seed: 0
    corpora:
      statutes: corpora/statutes.txt
      consultations: {file: corpora/consultations.jsonl, template: lawyer-llama, learn: last_answer}
    defaults: {per_device_train_batch_size: 16, lr_scheduler_type: cosine}
    stages:
      cpt: {from: ../base, corpora: [statutes], num_train_epochs: 1, learning_rate: 1.0e-4}
      sft: {from: cpt, corpora: {consultations: 9, statutes: 1}, max_steps: 500, learning_rate: 2.0e-5}
      lora: {from: sft, method: lora, r: 8, corpora: [consultations], max_steps: 100, learning_rate: 1.0e-3}
      merged: {from: lora, method: merge}

`from` names another stage, or a checkpoint as `harness run` takes it. Files are relative to the recipe. Every other
setting of a stage is one of this project's own (the fields of `Stage`), or an argument of transformers'
TrainingArguments or of the method's PEFT configuration under its own name (`harness.training.settings`).

Not here: reading corpora (`harness.training.examples`), or training (`harness.training.stages`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.checkpoints.reference import CheckpointReference, parse
from harness.common import paths, safe_load
from harness.common.limits import Limit
from harness.errors import HarnessError, did_you_mean
from harness.tasks.own_files import file_tasks
from harness.training import recipe_mistakes, settings
from harness.training.dialogues import Format, Learned

Method = Literal["full", "lora", "prefix", "p-tuning", "prompt", "merge"]
_STRICT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Corpus(BaseModel):
    """A file of examples, or a folder of documents, and what is learned of them."""

    model_config = _STRICT

    file: Path
    template: Format | None = None
    """The format of conversations (`harness.training.dialogues`). None: the tokenizer's chat template."""
    learn: Learned = "answers"
    """What is learned of a conversation: all answers, the last one, or everything."""
    system: str = ""
    """The system prompt of conversations that have none."""
    invalid_rows: Literal["refuse", "drop"] = "refuse"
    """Whether a row that is no example ends the training before it begins, or is left out and counted."""


class Stage(BaseModel):
    """One training stage, which makes a checkpoint from another."""

    model_config = _STRICT

    start: str = Field(alias="from")
    """The name of another stage, or a checkpoint reference."""
    method: Method = "full"
    """What is trained: all weights, an adapter, or nothing (`merge` puts an adapter into its base's weights)."""
    corpora: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | list[str] = {}
    """Weights by corpus. A list: each example of these corpora equally often."""
    mix: Literal["examples", "tokens"] = "examples"
    """Whether weights are shares of examples or of tokens."""
    validation: list[str] = []
    """Corpora whose loss is measured during the training, and that no stage may learn from."""
    max_length: int = Field(default=1024, ge=2)
    """Length of an example in tokens; longer ones are shortened (`harness.training.store`)."""
    packing: bool = False
    """Whether examples share rows of `max_length` tokens."""
    evaluate: list[str] = []
    """Tasks whose scores are measured during the training, as `harness run` measures them."""
    evaluate_limit: Annotated[Limit, Field(gt=0, allow_inf_nan=False)] | None = None
    """The number of documents of each task, from the first, or, below 1, their share; None is all."""
    evaluate_metric: list[str] = []
    """How answers in words to a file of questions are compared (`own_files.question_files.COMPARISONS`)."""
    evaluate_num_fewshot: Annotated[int, Field(ge=0)] | None = None
    """The number of few-shot examples; None is each task's own."""
    evaluate_max_gen_toks: Annotated[int, Field(ge=1)] | None = None
    """The largest number of new tokens of an answer; None is each task's own."""
    evaluate_apply_chat_template: bool = False
    """Whether their prompts are rendered by the tokenizer's chat template."""
    arguments: dict[str, Any] = {}
    """Arguments of transformers' TrainingArguments."""
    adapter: dict[str, Any] = {}
    """Settings of the method's PEFT configuration."""
    parent: str | None = None
    """The stage that it starts from; None for a checkpoint that no stage of the recipe trains."""
    options: str = ""
    """What `from` says besides the name of that stage: `quantize=int4`."""

    @field_validator("validation", "evaluate", "evaluate_metric", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @property
    def names(self) -> list[str]:
        """The corpora that the stage learns from."""
        return list(self.corpora)


OWN = (
    *("from", "method", "corpora", "mix", "validation", "max_length", "packing"),
    *("evaluate", "evaluate_limit", "evaluate_metric", "evaluate_num_fewshot", "evaluate_max_gen_toks"),
    "evaluate_apply_chat_template",
)
"""The settings of a stage that belong to no library."""
_PROMPT_LEARNING = ("prefix", "p-tuning", "prompt")
FILES = ("deepspeed", "fsdp_config")
"""Arguments of transformers that may name a file."""


class Recipe(BaseModel):
    """The content of a recipe file."""

    model_config = _STRICT

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights of adapters and of the order of examples."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; with a number, all machines of one kind compute the same sums. None is torch's default."""
    corpora: dict[str, Corpus]
    """Corpora by name."""
    stages: dict[str, Stage] = Field(min_length=1)
    """Stages by name."""
    sha256: str = ""
    """Hash of the file."""
    folder: Path = Path()
    """The folder of the file."""
    stated: dict[str, str] = {}
    """The corpora's paths as the file states them."""

    @field_validator("corpora", mode="before")
    @classmethod
    def _files(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {name: {"file": item} if isinstance(item, str) else item for name, item in value.items()}

    def order(self, names: Sequence[str] = (), until: str | None = None) -> list[str]:
        """Return the stages called `names` (default: all) and all stages they start from, in the order of training.

        The order is the recipe's, except that a stage comes after the one that it starts from. With `until`, the stages
        after that one in this order are left out. Raises HarnessError if a name is not a stage.
        """
        for name in (*names, *([until] if until is not None else [])):
            if name not in self.stages:
                raise HarnessError(f"the recipe has no stage '{name}'{did_you_mean(name, self.stages)}")
        in_file = (name for name in self.stages if not names or name in names)
        order = list(dict.fromkeys(stage for name in in_file for stage in (*self.ancestors(name)[::-1], name)))
        if until is None:
            return order
        if until not in order:
            raise HarnessError(f"the stage '{until}' is not among those to be trained: {', '.join(order)}")
        return order[: order.index(until) + 1]

    def resolved(self, stage: Stage) -> Stage:
        """Return `stage` with the paths of its tasks and of its libraries' configurations resolved."""
        tasks = [name for task in stage.evaluate for name in self.task(task)]
        files = {name: self._path(stage.arguments[name]) for name in FILES if name in stage.arguments}
        return stage.model_copy(update={"evaluate": tasks, "arguments": {**stage.arguments, **files}})

    def task(self, name: str) -> list[str]:
        """Return a task's name as a run takes it: a path from the recipe's folder, or all that a pattern matches.

        Raises HarnessError if a pattern matches nothing.
        """
        if not file_tasks.names_files(name):
            return [name]
        if paths.is_pattern(name) and not (self.folder / name).exists():
            return file_tasks.matching(str(self.folder / Path(name).expanduser()))
        return [str(self._path(name))]

    def _path(self, value: Any) -> Any:
        if not isinstance(value, str):  # a configuration itself
            return value
        prefix = file_tasks.PREFIX if value.startswith(file_tasks.PREFIX) else ""
        place = self.folder / Path(value.removeprefix(prefix)).expanduser()
        return f"{prefix}{place}" if place.exists() else value

    def ancestors(self, name: str) -> list[str]:
        """Return the stages from which the stage `name` descends, the nearest first."""
        result: list[str] = []
        while (parent := self.stages[name].parent) is not None:
            result.append(name := parent)
        return result


def load(file: Path) -> Recipe:
    """Return the recipe in `file`, with its paths resolved against the folder of `file`.

    Raises HarnessError, naming the line, if the file cannot be read or is not a recipe, or if a stage names a missing
    corpus, or a setting that does not exist or does not apply.
    """
    try:
        text = safe_load.read_yaml(file)
        content = safe_load.yaml_text(text, strict=True)
    except OSError as error:
        raise HarnessError(f"cannot read the recipe {file} ({error}): name a YAML file") from error
    except safe_load.ContentError as error:
        raise HarnessError(f"{file} is not valid YAML ({error}): correct it") from error
    return _Reader(file, text).recipe(content)


class _Reader:
    """Reads one recipe; its errors name the line."""

    def __init__(self, file: Path, text: bytes) -> None:
        self._file, self._text = file, text

    def recipe(self, content: object) -> Recipe:
        try:
            recipe = Recipe.model_validate(self._with_settings(content))
        except ValidationError as error:
            mistake = recipe_mistakes.first(error)
            self._fail(*mistake)
        return self._checked(recipe)

    def _fail(self, path: Sequence[str], problem: str) -> NoReturn:
        path = [part for part in path if part not in ("arguments", "adapter")]
        line = safe_load.yaml_line(self._text, path)
        parts = [part if len(part) <= 60 else f"{part[:60]}…" for part in path]
        place = f", {'.'.join(parts)}" if path else ""
        raise HarnessError(f"{self._file}, line {line}{place}: {problem}")

    def _with_settings(self, content: object) -> object:
        """Return the recipe's `content` with the settings of each stage by library, those in `defaults` included."""
        if not isinstance(content, Mapping):
            return content
        self._require_known((), content, ("seed", "threads", "corpora", "stages", "defaults"))
        in_corpora = recipe_mistakes.in_corpora(content, Corpus.model_fields)
        if mistake := recipe_mistakes.in_names(content) or in_corpora:
            self._fail(*mistake)
        if not isinstance(content.get("stages"), Mapping):
            return content
        defaults = content.get("defaults") or {}
        if not isinstance(defaults, Mapping):
            self._fail(("defaults",), "it is not a mapping of settings to values; correct it")
        stages = {name: self._stage(name, content["stages"], defaults) for name in content["stages"]}
        self._check_defaults(defaults)
        return {**{key: value for key, value in content.items() if key != "defaults"}, "stages": stages}

    def _require_known(self, path: Sequence[str], content: Mapping[str, Any], known: Collection[str]) -> None:
        for name in content:
            if name not in known:
                self._fail(
                    (*path, str(name)), f"there is no '{name}'{did_you_mean(str(name), known)}; correct the recipe"
                )

    def _stage(self, name: str, stages: Mapping[str, Any], defaults: Mapping[str, Any]) -> object:
        stage = stages[name]
        if not isinstance(stage, Mapping):
            return stage
        method = _method(stage, defaults)
        if method not in get_args(Method):  # which the validation reports
            return {key: value for key, value in stage.items() if key in OWN}
        continues = self._continues(stage.get("from", defaults.get("from")), method, stages, defaults)
        applicable = {key: value for key, value in defaults.items() if _applies(str(key), method, continues=continues)}
        values = {str(key): value for key, value in {**applicable, **stage}.items()}
        own = {key: value for key, value in values.items() if key in OWN}
        try:
            others = settings.checked({k: v for k, v in values.items() if k not in OWN}, method, OWN)
        except settings.SettingError as error:
            self._fail(("stages", name, error.name), f"{error}; correct the recipe")
        return {**own, "arguments": others.arguments, "adapter": others.adapter}

    def _continues(self, start: object, method: str, stages: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
        """Return whether a stage of the `method` that starts from `start` learns an adapter further."""
        if method not in settings.ADAPTERS or not isinstance(start, str):
            return False
        if start in stages:
            return isinstance(stages[start], Mapping) and _method(stages[start], defaults) == method
        from harness.checkpoints.adapters.config import holds_adapter  # which imports torch

        try:
            reference = parse(start)
            place = self._file.parent / Path(reference.path).expanduser()
            return reference.adapter is not None or (place.is_dir() and holds_adapter(place))
        except (HarnessError, OSError, RuntimeError):  # which is reported where the checkpoint is located
            return False

    def _check_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Raise HarnessError if a setting in `defaults` does not exist for any method."""
        for name in defaults:
            if not any(_applies(str(name), method) for method in get_args(Method)):
                try:
                    settings.checked({str(name): defaults[name]}, "full", OWN)
                except settings.SettingError as error:
                    self._fail(("defaults", str(name)), f"{error}; correct the recipe")

    def _checked(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with resolved paths. Raises HarnessError if its parts do not fit together."""
        stages: dict[str, Any] = {}
        for name, stage in recipe.stages.items():
            self._check_corpora(name, stage, recipe)
            reference = self._reference(name, stage, recipe)
            parent = reference.path if reference.path in recipe.stages else None
            options = str(reference).removeprefix(reference.path).removeprefix(",") if parent else ""
            stages[name] = stage.model_copy(update={"start": str(reference), "parent": parent, "options": options})
            self._check_method(name, stages[name], recipe)
        try:
            TopologicalSorter({name: {stage.parent} for name, stage in stages.items()}).prepare()
        except CycleError as error:
            self._fail(("stages",), f"stages start from one another in a circle: {' → '.join(error.args[1])}")
        folder = self._file.parent
        corpora = {
            name: corpus.model_copy(update={"file": folder / corpus.file.expanduser()})
            for name, corpus in recipe.corpora.items()
        }
        stated = {name: str(corpus.file) for name, corpus in recipe.corpora.items()}
        sha256 = hashlib.sha256(self._text).hexdigest()
        changes = {"stages": stages, "corpora": corpora, "stated": stated, "sha256": sha256, "folder": folder}
        return recipe.model_copy(update=changes)

    def _check_corpora(self, name: str, stage: Stage, recipe: Recipe) -> None:
        for key, names in (("corpora", stage.names), ("validation", stage.validation)):
            for corpus in names:
                if corpus not in recipe.corpora:
                    hint = did_you_mean(corpus, recipe.corpora)
                    self._fail(("stages", name, key), f"'{corpus}' is none of the recipe's corpora{hint}")
            if len(set(names)) < len(names):
                self._fail(("stages", name, key), "it names a corpus twice; remove one")
        if both := [corpus for corpus in stage.validation if corpus in stage.names]:
            self._fail(("stages", name, "validation"), f"the stage learns from '{both[0]}'; name another corpus")
        if (stage.method == "merge") == bool(stage.names):
            problem = (
                "a merge learns from no corpus; remove them" if stage.names else "it learns from no corpus; name one"
            )
            self._fail(("stages", name, "corpora"), problem)

    def _check_method(self, name: str, stage: Stage, recipe: Recipe) -> None:
        """Raise HarnessError if the stage cannot start from the stage that it names."""
        unused = [*stage.arguments, *stage.adapter, *(key for key in OWN if key in stage.model_fields_set)]
        unused = [key for key in unused if not _applies(key, "merge")]
        if stage.method == "merge" and unused:
            self._fail(("stages", name), f"a merge trains nothing: remove {', '.join(unused)}")
        if stage.packing and stage.method in _PROMPT_LEARNING:
            self._fail(
                ("stages", name, "packing"),
                f"only the first of packed examples would see what method: {stage.method} learns; remove it",
            )
        if stage.parent is None:
            return
        if "adapter=" in stage.options:
            self._fail(("stages", name, "from"), "a stage has its own adapter; remove adapter=")
        parent = recipe.stages[stage.parent].method
        is_adapter = parent in settings.ADAPTERS
        if stage.method == "merge" and parent != "lora":
            self._fail(("stages", name, "from"), f"'{stage.parent}' has method: {parent}, which cannot be merged")
        if is_adapter and stage.method not in ("merge", parent):
            self._fail(
                ("stages", name, "from"),
                f"'{stage.parent}' is an adapter: continue it with method: {parent}, or merge it first by a stage "
                f"{{from: {stage.parent}, method: merge}}",
            )

    def _reference(self, name: str, stage: Stage, recipe: Recipe) -> CheckpointReference:
        """Return the stage's checkpoint reference with paths resolved against the recipe's folder."""
        try:
            reference = parse(stage.start)
        except HarnessError as error:
            self._fail(("stages", name, "from"), str(error))

        def resolved(path: str) -> str:
            if path in recipe.stages:
                return path
            place = self._file.parent / Path(path).expanduser()
            return str(place.resolve()) if place.exists() else path

        absolute = reference.with_paths(resolved)
        is_known = absolute.path != reference.path or absolute.path in recipe.stages
        if not is_known and "/" not in stage.start and did_you_mean(stage.start, recipe.stages):
            hint = did_you_mean(stage.start, recipe.stages)
            self._fail(("stages", name, "from"), f"'{stage.start}' is neither a stage nor a folder{hint}")
        return absolute


def _method(stage: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the method that a stage states, or that `defaults` state for it."""
    return str(stage.get("method", defaults.get("method", "full")))


def _applies(name: str, method: str, *, continues: bool = False) -> bool:
    """Return whether stages of the `method` have the setting `name`.

    With `continues`, they learn an adapter further, which keeps its own settings.
    """
    if method == "merge" or name in ("from", "method"):
        return name in ("from", "method")
    if name in OWN:
        return name != "packing" or method not in _PROMPT_LEARNING
    return name in settings.argument_types() or (not continues and name in settings.adapter_types(method))
