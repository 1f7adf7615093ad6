"""A recipe: a YAML file that declares corpora and a DAG of stages, each of which trains one checkpoint.

    seed: 0
    corpora:
      statutes: corpora/statutes.jsonl
      consultations: corpora/consultations.jsonl
    stages:
      cpt: {from: ../base, corpora: {statutes: 1}, steps: 200, learning_rate: 1e-4}
      lora: {from: cpt, method: lora, corpora: {consultations: 9, statutes: 1}, steps: 100, learning_rate: 1e-3}

`from` names another stage or a checkpoint's folder. Files are relative to the recipe.

Not here: reading corpora (`harness.training.corpora`), or training (`harness.training.stages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.common import safe_load, validation
from harness.errors import HarnessError, did_you_mean

_MERGE = "merge that ('harness merge') and start from the result"
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class Stage(BaseModel):
    """One training stage, which makes a checkpoint from another."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: str = Field(alias="from")
    """The name of another stage, or the folder of a checkpoint."""
    method: Literal["full", "lora", "prefix"] = "full"
    corpora: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Weights by corpus: examples are drawn from each corpus in proportion to its weight."""
    steps: int = Field(ge=1)
    batch: int = Field(default=32, ge=1)
    """Examples per step."""
    learning_rate: float = Field(gt=0)
    """The peak learning rate, from which it decays to zero along a cosine."""
    warmup: int = Field(default=0, ge=0)
    """Steps until the learning rate reaches its peak."""
    weight_decay: float = Field(default=0.0, ge=0)
    rank: int = Field(default=16, ge=1)
    """Rank of a LoRA; its alpha is twice the rank."""
    virtual_tokens: int = Field(default=16, ge=1)
    """Length of a prefix in tokens."""


class Recipe(BaseModel):
    """The content of a recipe file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the initial weights of adapters and of the order of examples."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; with a number, all machines of one kind compute the same sums. None is torch's default."""
    max_length: int = Field(default=1024, ge=2)
    """Maximum length of an example in tokens; longer ones are cut."""
    corpora: dict[Name, Path]
    """Files of rows, by the names of the corpora."""
    stages: dict[Name, Stage] = Field(min_length=1)
    """Stages by name."""

    def order(self, names: Sequence[str] = ()) -> list[str]:
        """Return the stages called `names` (default: all) and all stages they start from, in the order of training.

        Raises HarnessError if a name is not a stage.
        """
        for name in names:
            if name not in self.stages:
                raise HarnessError(f"the recipe has no stage '{name}'{did_you_mean(name, self.stages)}")
        needed: dict[str, None] = {}
        waiting = list(names or self.stages)
        while waiting:
            name = waiting.pop()
            needed[name] = None
            if (start := self.stages[name].start) in self.stages and start not in needed:
                waiting.append(start)
        in_file = list(self.stages)
        return sorted(needed, key=lambda name: (len(self.ancestors(name)), in_file.index(name)))

    def ancestors(self, name: str) -> list[str]:
        """Return the stages from which the stage `name` descends, the nearest first."""
        result: list[str] = []
        while (name := self.stages[name].start) in self.stages:
            result.append(name)
        return result


def load(file: Path) -> Recipe:
    """Return the recipe in `file`, with its paths resolved against the folder of `file`.

    Raises HarnessError if the file cannot be read or is not a recipe, or if a stage names a missing corpus or
    checkpoint.
    """
    try:
        content = safe_load.yaml_file(file, strict=True)
    except OSError as error:
        raise HarnessError(f"cannot read the recipe {file} ({error}): name a YAML file") from error
    except safe_load.ContentError as error:
        raise HarnessError(f"{file} is not valid YAML ({error}): correct it") from error
    try:
        return _checked(Recipe.model_validate(content), file)
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(f"{file}: {problem.path or 'the file'}: {problem.message}; correct the recipe") from error


def _checked(recipe: Recipe, file: Path) -> Recipe:
    """Return `recipe` with resolved paths. Raises HarnessError if a stage names a missing corpus or checkpoint."""
    stages: dict[str, Any] = {}
    for name, stage in recipe.stages.items():
        for corpus in stage.corpora:
            if corpus not in recipe.corpora:
                hint = did_you_mean(corpus, recipe.corpora)
                raise HarnessError(f"{file}: stage {name} learns from '{corpus}', which is none of its corpora{hint}")
        if stage.start in recipe.stages:
            if recipe.stages[stage.start].method != "full":
                raise HarnessError(f"{file}: stage {name} starts from the adapter {stage.start}: {_MERGE}")
            stages[name] = stage
            continue
        folder = file.parent / Path(stage.start).expanduser()
        if not folder.is_dir():
            hint = did_you_mean(stage.start, recipe.stages)
            raise HarnessError(
                f"{file}: stage {name} starts from '{stage.start}', which is neither a stage nor a folder{hint}"
            )
        if (folder / "adapter_config.json").is_file():
            raise HarnessError(f"{file}: stage {name} starts from the adapter {folder}: {_MERGE}")
        stages[name] = stage.model_copy(update={"start": str(folder.resolve())})
    try:
        TopologicalSorter({name: {stage.start} for name, stage in recipe.stages.items()}).prepare()
    except CycleError as error:
        raise HarnessError(f"{file}: stages start from one another in a circle: {' → '.join(error.args[1])}") from error
    corpora = {name: file.parent / path.expanduser() for name, path in recipe.corpora.items()}
    return recipe.model_copy(update={"stages": stages, "corpora": corpora})
