"""What a report states about the evaluated checkpoint, and about its training.

Not here: the rest of the manifest (`harness.reports.report`).
"""

from __future__ import annotations

from pydantic import Field

from harness.common.validation import Strict


class TrainedCorpus(Strict):
    """A corpus that a checkpoint learned."""

    name: str
    sha256: str
    """The sha256 of the corpus's content."""
    examples: int
    """The number of examples that were read; repetitions count."""
    tokens: int
    """The number of tokens of these examples, prompts included."""
    epochs: float
    """How often each example was read, on average."""


class BestStep(Strict):
    """The measurement in a training whose weights were kept."""

    step: int
    metric: str
    value: float


class TrainingInfo(Strict):
    """How `harness train` made a checkpoint, as the checkpoint's own record states it."""

    stage: str
    """The name of the stage in its recipe."""
    method: str
    """What was trained: `full`, `lora`, …, or `merge`."""
    recipe: str
    """The sha256 of the recipe."""
    seed: int
    parent: str
    """The stage or the checkpoint that the stage started from."""
    parent_fingerprint: str
    """The parent's fingerprint, as a run on the machine of the training reports it."""
    steps: int
    """The number of optimizer steps."""
    tokens: int
    """The number of tokens that were read, prompts included."""
    loss: float | None
    """The mean loss over about the last tenth of the steps, in nats per learned token; None for a merge."""
    corpora: list[TrainedCorpus]
    curve: list[tuple[int, float]] = Field(default_factory=list)
    """Steps, in order, with the mean loss of the stretch that ends there."""
    evaluations: list[dict[str, float | None]] = Field(default_factory=list)
    """Measurements in the training: each `step`, with the losses of its validation corpora and its scores on tasks.
    None for a number that was not finite."""
    best: BestStep | None = None
    """The measurement whose weights were kept; None for those of the last step."""


class CheckpointInfo(Strict):
    """The checkpoint that was evaluated."""

    name: str
    """The checkpoint's name in tables."""
    reference: str
    """The checkpoint reference; for recorded predictions, the file or folder that contains them."""
    kind: str
    """The kind of checkpoint: `base`, `lora`, …; `recorded` for predictions of unknown origin, `rated` for ratings."""
    quantization: str | None = None
    """`int8`, `nf4`, `gptq`, …; None for plain weights."""
    base: str
    """The name of the base model."""
    adapter: str | None = None
    """The folder of the adapter; None for a base."""
    fingerprint: str
    """The sha256 of everything that decides the answers: weights, adapter, tokenizer, configuration, dtype; for
    recorded predictions, the sha256 of the predictions."""
    architecture: str | None = None
    """The class of the model. None for recorded predictions; so are `parameters`, `memory_bytes` and `max_length`."""
    dtype: str | None = None
    device: str | None = None
    parameters: int | None = None
    """The number of parameters, without the adapter's."""
    trainable_share: float | None = None
    """The adapter's share of all parameters, in [0, 1]; None for a base."""
    memory_bytes: int | None = None
    """Bytes of memory for weights, adapter and root cache (the keys and values of virtual tokens)."""
    max_length: int | None = None
    """Context length in tokens, without the virtual tokens of an adapter (in the root cache)."""
    virtual_tokens: int = 0
    """Number of context tokens that an adapter's virtual tokens (in the root cache) occupy."""
    adapter_effect: float | None = None
    """The largest absolute logit difference that the adapter makes on a probe; None for a base."""
    training: TrainingInfo | None = None
    """How `harness train` made the checkpoint; None if its folder has no record of a training."""
