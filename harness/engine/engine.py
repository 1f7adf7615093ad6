"""Requests in token ids → answers, on the walk that the checkpoint bears, as they come.

Both kinds of requests are planned over all of them, and only then are those passed over whose answers are not missing,
so that a resumed run computes in the very packs of an uninterrupted one. `Engine.shrink` halves what goes through the
model at once, for a caller whose device ran out of memory: he asks again for what is still missing.

Not here: text, the journal, lm-eval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from harness.checkpoints import configs
from harness.checkpoints.checkpoint import Checkpoint
from harness.engine import scoring, walks
from harness.engine.decoding import continuous, plain
from harness.engine.decoding.lanes import Room
from harness.engine.decoding.stopping import Stopper
from harness.engine.packing import packs, tree
from harness.engine.packing.last_layer import End
from harness.engine.packing.packs import Context, Walker
from harness.engine.packing.padding import LONG, Padding, probe
from harness.engine.packing.trunks import KeepingContext, Trunks
from harness.engine.requests import Pair, Prompt, require_room
from harness.engine.walks import Choice, Walk
from harness.errors import HarnessError

# Padded tokens of a plain batch. On a CPU long batches gain nothing and cost memory; a GPU wants them.
BATCH_TOKENS = {"cpu": 1024}
BATCH_TOKENS_ELSEWHERE = 16384
# Tokens whose arithmetic takes as long as reading the weights they meet.
RIDGE = {"cpu": 64}
RIDGE_ELSEWHERE = 512
# Answers decoded side by side at most: more gain little.
ROWS = {"cpu": 64}
ROWS_ELSEWHERE = 256
# Bytes of their keys and values that are always granted, however small the model; else as much as its weights take: a
# step reads both, and where keys and values are most of it, more company makes it hardly cheaper for each.
CACHE = {"cpu": 64 * 2**20}
CACHE_ELSEWHERE = 2**30
# Bytes of float32 logits at once; their logarithms as probabilities take as much again.
LOGITS = {"cpu": 128 * 2**20}
LOGITS_ELSEWHERE = 2**30


class AnswerBatch(NamedTuple):
    """Some answers, by request, and the work they took."""

    answers: list[tuple[int, Any]]
    tokens_fed: int
    tokens_generated: int = 0


def pack_tokens(hidden_size: int, device: str) -> int:
    """Return how many tokens a pack should have, in steps of 64.

    Of n tokens, each costs 24·h² in a layer's matrices, more by ridge/n for reading them, and about 4·n·h for attending
    to what the others of its pack hold. The sum is least at n = √(6·h·ridge): 443 for a hidden size of 512 on a CPU.
    """
    best = math.sqrt(6 * hidden_size * RIDGE.get(device, RIDGE_ELSEWHERE))
    return max(64, round(best / 64) * 64)


def cache_bytes(weights: int, device: str) -> int:
    """Return how much keys and values of rows decoded side by side may take beside so many bytes of weights."""
    return max(weights, CACHE.get(device, CACHE_ELSEWHERE))


class Engine:
    """A checkpoint that answers requests in token ids."""

    def __init__(
        self, checkpoint: Checkpoint, *, seed: int = 0, batch_tokens: int | None = None, walk: Walk | None = None
    ) -> None:
        """Answer with `checkpoint`; `batch_tokens` bounds one forward pass, `walk` is taken unproved."""
        self.checkpoint, self.seed = checkpoint, seed
        device = checkpoint.device.type
        text = configs.text_config(checkpoint.located.config)
        self.pack_tokens = batch_tokens or pack_tokens(int(getattr(text, "hidden_size", 1024)), device)
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(device, BATCH_TOKENS_ELSEWHERE)
        self.pack_rows = max(1, LOGITS.get(device, LOGITS_ELSEWHERE) // (4 * int(getattr(text, "vocab_size", 1))))
        self.rows = ROWS.get(device, ROWS_ELSEWHERE)
        self._walk = walk
        self.trunks: Trunks | None = None
        self._beyond = self._is_shrunk = False

    @cached_property
    def weights(self) -> int:
        """Bytes of weights that every forward pass reads; of an embedding it looks at a few rows only."""
        model = self.checkpoint.model
        every: int = sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
        table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
        return every - (0 if head is None or head.weight is table else int(table.nbytes))

    @cached_property
    def cache(self) -> int:
        """Bytes that keys and values of rows decoded side by side may take."""
        return cache_bytes(self.weights, self.checkpoint.device.type)

    @cached_property
    def choice(self) -> Choice:
        """The walk this checkpoint bears, asked of it once."""
        return walks.choose(self.checkpoint) if self._walk is None else Choice(self._walk)

    @cached_property
    def end(self) -> End | None:
        """What of this checkpoint need not be computed where nothing is read; nothing on a walk taken unproved."""
        here = self.checkpoint
        return walks.shortened(self.choice.walk, here.model, here.root) if self._walk is None else None

    @cached_property
    def padding(self) -> Padding:
        """What padding this checkpoint bears, asked of it once."""
        here = self.checkpoint
        if here.rounds_activations:
            return Padding(right=False, left=False)
        vocabulary = here.model.get_input_embeddings().weight.shape[0]
        return probe(here.model, vocabulary, here.max_length, here.device, here.root)

    @property
    def limits(self) -> tree.Limits:
        """How much goes into one pack."""
        return tree.Limits(self.pack_tokens, self.pack_rows)

    def notes(self) -> list[str]:
        """Return what a reader of the answers should know of how they came about."""
        walk, why = self.choice
        found = []
        if self._beyond:
            found.append(
                f"positions change in texts of more than {self.checkpoint.position_switch:,} tokens, so tasks with "
                "such texts took the plain walk, beside rows of one length only"
            )
        if self._is_shrunk:
            found.append(
                f"{self.checkpoint.device} ran out of memory, so at last {self.pack_tokens:,} tokens went through the "
                f"model at once, and {self.rows:,} answers side by side at most"
            )
        if walk == Walk.PACK:
            return found
        found.append(f"prompts took the {walk} walk, slower than packs: {why}")
        if walk == Walk.SNAPSHOT:
            found.append("answers were decoded on the plain walk")
        if not self.checkpoint.rounds_activations and self.checkpoint.max_length > LONG:
            bears = self.padding
            apart = (("scored", bears.right or walk != Walk.PLAIN), ("decoded", bears.left))
            found += [
                f"padding changes this architecture's answers, so only rows of one length were {what} together"
                for what, together in apart
                if not together
            ]
        return found

    def shrink(self) -> bool:
        """Halve what goes through the model at once; tell whether that was possible."""
        if max(self.pack_tokens, self.batch_tokens, self.rows) <= 1:
            return False
        self._is_shrunk = True
        for name in ("pack_tokens", "batch_tokens", "pack_rows", "rows", "cache"):
            setattr(self, name, max(1, getattr(self, name) // 2))
        return True

    def scale(self, times: float) -> None:
        """Send `times` as much through the model at once, and decode as many more answers side by side."""
        for name in ("pack_tokens", "batch_tokens", "rows"):
            setattr(self, name, max(1, round(getattr(self, name) * times)))

    def score(self, pairs: Sequence[Pair], missing: Sequence[bool]) -> Iterator[AnswerBatch]:
        """Yield the log-likelihoods of the `missing` pairs as they are computed."""
        here = self.checkpoint
        fed = max((len(pair.context) + len(pair.continuation) - 1 for pair in pairs), default=0)
        longest = min(fed, here.max_length)
        if not self._bears_packs(longest, Walk.PACK, Walk.SNAPSHOT):
            mixed = self.padding.right and longest <= self._reach()
            for batch in scoring.plan(pairs, here.max_length, self._plain_tokens, mixed=mixed):
                if any(missing[i] for row in batch for i in row.readers):
                    answers = scoring.score(here.model, batch, pairs, here.device, here.root)
                    yield AnswerBatch([one for one in answers if missing[one[0]]], scoring.tokens_fed(batch))
            return
        walker: Walker
        if self.choice.walk == Walk.PACK:
            walker, planned = self._context(scoring.fed(pairs, here.max_length), [len(p.continuation) for p in pairs])
        else:
            planned = tree.plan(scoring.grow(pairs, here.max_length), self.limits, siblings=False)
            walker = walks.walker(self.choice.walk, here.model, here.root, planned, self.end)
        for ended, tokens in scoring.packed(walker, planned, pairs, missing):
            yield AnswerBatch(ended, tokens - self._spared())

    def decode(self, prompts: Sequence[Prompt], missing: Sequence[bool]) -> Iterator[AnswerBatch]:
        """Yield the texts of the `missing` prompts as they end."""
        here = self.checkpoint
        require_room(prompts, here.max_length)
        longest = max((len(p.fed(here.max_length)) + p.settings.max_tokens for p in prompts), default=0)
        if not self._bears_packs(longest, Walk.PACK):
            yield from self._decode_plainly(prompts, missing, longest)
            return
        by_manner: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_manner.setdefault(prompt.settings.batch_key, []).append(index)
        for indices in by_manner.values():
            asked = [prompts[i] for i in indices]
            fed = [prompt.fed(here.max_length) for prompt in asked]
            stopper = Stopper(here.tokenizer, asked[0].settings.until, here.eos_ids)
            context, planned = self._context(fed, [1] * len(fed))
            wanted = [missing[i] for i in indices]
            room = Room(self.rows, self.cache, self.weights)
            job = continuous.Job(here.model, context, planned, asked, fed, stopper, self.seed, room)
            for step in continuous.decode(job, wanted):
                answers = [(indices[i], found.text) for i, found in step.ended]
                yield AnswerBatch(
                    answers, step.tokens_fed - self._spared(), sum(found.tokens for _, found in step.ended)
                )

    def keep_trunks(self) -> Trunks | None:
        """Keep, from now on, beginnings that are told of between calls, in as many bytes of the host as weights take.

        None on a walk that cannot take them up again.
        """
        if self.choice.walk == Walk.PACK and self.trunks is None:
            self.trunks = Trunks(self.cache)
        return self.trunks

    def _context(self, fed: Sequence[Sequence[int]], wanted: Sequence[int]) -> tuple[Context, list[tree.Pack]]:
        """Return what computes the packs of what requests feed, each reading its last `wanted` tokens, and those."""
        here = self.checkpoint
        if self.trunks is None:
            planned = tree.plan(tree.grow(fed, wanted), self.limits)
            return walks.context(here.model, here.root, planned, self.end), planned
        plan = self.trunks.plan(fed, wanted, self.limits)
        shape = packs.layout(here.model.config)
        assert shape is not None, "the pack walk needs layers whose sight is known"
        return KeepingContext(here.model, here.root, shape, plan, self.trunks, self.end), plan.packs

    def _spared(self) -> int:
        """Return how many tokens of the last step were not read, since they were kept."""
        return 0 if self.trunks is None else self.trunks.spared()

    def _decode_plainly(
        self, prompts: Sequence[Prompt], missing: Sequence[bool], longest: int
    ) -> Iterator[AnswerBatch]:
        here = self.checkpoint
        mixed = self.padding.left and longest <= self._reach(here.padding_switch)
        for batch in plain.plan(prompts, here.max_length, self._plain_tokens, mixed=mixed):
            if any(missing[i] for i in batch):
                rows = [prompts[i] for i in batch]
                how = (here.eos_ids, here.max_length, self.seed, here.root)
                found = list(plain.decode(here.model, here.tokenizer, rows, *how))
                answers = [(i, one.text) for i, one in zip(batch, found, strict=True) if missing[i]]
                fed = sum(len(row.fed(here.max_length)) for row in rows)
                yield AnswerBatch(answers, fed, sum(one.tokens for one in found))

    @property
    def _plain_tokens(self) -> int:
        """Tokens of a plain batch; 1 keeps all rows apart.

        Beside rows of its own length each row's int8 products are the same to the last bit, and so is what is rounded
        next. The products of a LoRA in float32 are not.
        """
        apart = self.checkpoint.rounds_activations and self.checkpoint.located.adapter is not None
        return 1 if apart else self.batch_tokens

    def _bears_packs(self, longest: int, *walks_: Walk) -> bool:
        """Tell whether one of these walks may be taken for sequences of up to `longest` tokens."""
        if self.choice.walk not in walks_:
            return False
        beyond = longest > self._reach()
        self._beyond = self._beyond or beyond
        return not beyond

    def _reach(self, *switches: int | None) -> float:
        """Return the length beyond which a row's company or its length would change its answer."""
        here = self.checkpoint
        known = (here.position_switch, configs.selection_limit(here.located.config), *switches)
        return min((float(switch) for switch in known if switch is not None), default=math.inf)


def out_of_memory_error(checkpoint: Checkpoint) -> HarnessError:
    """Return what to tell a person whose device cannot hold the smallest pass."""
    return HarnessError(
        f"{checkpoint.device} ran out of memory: try dtype=bfloat16 or a smaller max_length=; the same command goes on "
        "from the answers it has"
    )
