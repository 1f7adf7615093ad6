"""The base classes of the protocols' task classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask

from harness.errors import HarnessError
from harness.tasks.metadata import ProtocolMetadata


class ProtocolTask(ConfigurableTask):  # type: ignore[misc]
    """lm-eval's task, with a configuration that may name the task's class."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    @property
    def stated(self) -> ProtocolMetadata:
        """The metadata in the task's configuration as it is now."""
        return ProtocolMetadata.of(self.config.metadata, f"task {self.config.task}")

    def require(self, *keys: str) -> ProtocolMetadata:
        """Return the metadata; raise HarnessError if it lacks one of `keys`, which the protocol needs."""
        stated = self.stated
        for key in keys:
            if key not in stated.model_fields_set:
                kind = type(self).__name__
                raise HarnessError(f"task {self.config.task}: metadata.{key} is missing, which {kind} needs: add it")
        return stated


class FromFile(ProtocolTask):
    """A task made of a user's own file, whose documents are already in memory."""

    ids: Sequence[str] = ()
    """Each row's value of the column `id` in the file, an empty text if it has none; no values if no row has one."""
    questions: Sequence[str] = ()
    """The question of each document as the file has it, without cue and choices."""

    def __init__(self, config: dict[str, Any], documents: Sequence[dict[str, Any]]) -> None:
        self._documents = documents
        super().__init__(config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: object) -> None:
        """Use the documents as the data set, instead of one that lm-eval would load."""
        from datasets import Dataset

        self.dataset = {"test": Dataset.from_list(list(self._documents))}
