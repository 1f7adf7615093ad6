"""A checkpoint that answers requests in token ids, on a walk (way through the model) that it supports.

All requests are planned together, and requests already answered are skipped only after that. A resumed run thus
computes exactly the same packs (the tokens of one forward pass) as an uninterrupted one. After the device has run out
of memory, a caller can halve the tokens that go through the model at once (`Engine.shrink`) and ask for the missing
answers again.

Not here: text, the journal, lm-eval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from harness.checkpoints import configs
from harness.checkpoints.checkpoint import Checkpoint
from harness.engine import scoring, walks
from harness.engine.decoding import continuous, plain
from harness.engine.decoding.lanes import LaneBudget
from harness.engine.decoding.stopping import Continuation, Stopper
from harness.engine.decoding.thinking import KNOWN, Marks
from harness.engine.device_limits import device_limits, free_bytes
from harness.engine.packing import contexts, packs, prepacked, tree
from harness.engine.packing.last_layer import SkippablePart
from harness.engine.packing.packs import Context, Walker
from harness.engine.packing.padding import LONG, PaddingSupport, probe
from harness.engine.packing.trunks import KeepingContext, Trunks
from harness.engine.requests import Generation, LogLikelihood, Pair, Prompt, require_room
from harness.engine.walks import Walk, WalkChoice
from harness.errors import HarnessError


class AnswerBatch(NamedTuple):
    """Answers that became known together, and how many tokens were processed for them."""

    answers: Sequence[tuple[int, LogLikelihood | Generation]]
    """(index of the request, its answer)."""
    tokens_fed: int
    """Tokens of prompts and continuations that went through the model."""
    tokens_generated: int = 0
    """Tokens decoded."""


def pack_tokens(hidden_size: int, device: str) -> int:
    """Return how many tokens a pack should have on a torch `device` type, a multiple of 64.

    Each of a pack's n tokens costs 24·h² in a layer's matrices (h: hidden size), ridge/n times as much for reading the
    matrices, and about 4·n·h for attention to the rest of the pack. The sum is smallest at n = √(6·h·ridge): 443 for a
    hidden size of 512 on a CPU.
    """
    best = math.sqrt(6 * hidden_size * device_limits(device).ridge_tokens)
    return max(64, round(best / 64) * 64)


CACHE_WEIGHTS = 4
"""The most memory that keys and values of rows decoded side by side may take, as a multiple of the weights.

A decoding step reads both. At four times the weights, a step costs each row a quarter more than with unlimited rows."""


def cache_bytes(weights: int, device: str, free: int) -> int:
    """Return how many of `free` bytes of memory the keys and values of rows decoded side by side may take.

    This is a share of the free memory, at most `CACHE_WEIGHTS` times the `weights`, but at least the device's minimum.
    """
    limits = device_limits(device)
    return max(limits.cache_bytes, min(CACHE_WEIGHTS * weights, int(limits.cache_share * free)))


class Engine:
    """A checkpoint that answers requests in token ids."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        seed: int = 0,
        batch_tokens: int | None = None,
        walk: Walk | None = None,
        marks: Sequence[Marks] = KNOWN,
    ) -> None:
        """Answer with `checkpoint`, which writes its thoughts between `marks`.

        `batch_tokens` limits the tokens of one forward pass. If `walk` is not None, it is taken without being probed.
        """
        self.checkpoint, self.seed, self.marks = checkpoint, seed, marks
        device = checkpoint.device.type
        limits = device_limits(device)
        text = configs.text_config(checkpoint.located.config)
        self.pack_tokens = batch_tokens or pack_tokens(int(getattr(text, "hidden_size", 1024)), device)
        self.batch_tokens = batch_tokens or limits.batch_tokens
        self.pack_rows = max(1, limits.logits_bytes // (4 * int(getattr(text, "vocab_size", 1))))
        self.rows = limits.rows
        self.step_tokens = min(limits.step_tokens, self.batch_tokens)
        self._walk = walk
        self.trunks: Trunks | None = None
        self._is_beyond_reach = self._is_shrunk = False

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of weights that every forward pass reads.

        An input embedding with a table of its own is left out, because a pass reads only a few rows of that table.
        """
        model = self.checkpoint.model
        total: int = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
        table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
        return total - (0 if head is None or head.weight is table else int(table.nbytes))

    @cached_property
    def cache_bytes(self) -> int:
        """Bytes that keys and values of rows decoded side by side may take, once the checkpoint is loaded."""
        device = self.checkpoint.device
        return cache_bytes(self.weight_bytes, device.type, free_bytes(device))

    @cached_property
    def walk_choice(self) -> WalkChoice:
        """The walk that this checkpoint takes, probed once."""
        if self._walk is not None:
            return WalkChoice(self._walk)
        prepacked.prepare(self.checkpoint.model)
        return walks.choose(self.checkpoint)

    @cached_property
    def skippable(self) -> SkippablePart | None:
        """The part of the model that is skipped where no logits are read, probed once; None for an unprobed walk."""
        checkpoint = self.checkpoint
        if self._walk is not None:
            return None
        return walks.skippable_part(self.walk_choice.walk, checkpoint.model, checkpoint.root)

    @cached_property
    def padding(self) -> PaddingSupport:
        """The padding that this checkpoint supports, probed once."""
        checkpoint = self.checkpoint
        if checkpoint.rounds_activations:
            return PaddingSupport(right=False, left=False)
        vocabulary = checkpoint.model.get_input_embeddings().weight.shape[0]
        return probe(checkpoint.model, vocabulary, checkpoint.max_length, checkpoint.device, checkpoint.root)

    @property
    def limits(self) -> tree.Limits:
        """How much goes into one pack, the tokens of one forward pass."""
        return tree.Limits(self.pack_tokens, self.pack_rows)

    def notes(self) -> list[str]:
        """Return what a reader of the answers should know about how they were computed."""
        walk, reason = self.walk_choice
        notes = []
        if self._is_beyond_reach:
            notes.append(
                f"positions change in texts of more than {self.checkpoint.position_switch:,} tokens, so tasks with "
                "such texts took the plain walk, in batches of rows of one length"
            )
        if self._is_shrunk:
            notes.append(
                f"{self.checkpoint.device} ran out of memory, so in the end {self.pack_tokens:,} tokens went through "
                f"the model at once, and at most {self.rows:,} answers side by side"
            )
        if configs.context_marks(self.checkpoint.model.config) is not None:
            notes.append("whole texts, whose perplexity a task asks for, are read behind [gMASK] <sop>")
        if walk == Walk.PACK:
            return notes
        notes.append(f"prompts took the {walk} walk, slower than packs: {reason}")
        if walk == Walk.SNAPSHOT:
            notes.append("answers were decoded on the plain walk")
        if not self.checkpoint.rounds_activations and self.checkpoint.max_length > LONG:
            is_scored_mixed, is_decoded_mixed = self.padding.right or walk != Walk.PLAIN, self.padding.left
            notes += [
                f"padding changes this architecture's answers, so only rows of one length were {activity} together"
                for activity, is_mixed in (("scored", is_scored_mixed), ("decoded", is_decoded_mixed))
                if not is_mixed
            ]
        return notes

    def shrink(self) -> bool:
        """Halve the tokens that go through the model at once; return whether that was possible."""
        if max(self.pack_tokens, self.batch_tokens, self.rows) <= 1:
            return False
        self._is_shrunk = True
        for name in ("pack_tokens", "batch_tokens", "pack_rows", "rows", "step_tokens", "cache_bytes"):
            setattr(self, name, max(1, getattr(self, name) // 2))
        return True

    def scale(self, factor: float) -> None:
        """Send `factor` times as many tokens through the model, and decode `factor` times as many rows, at once."""
        for name in ("pack_tokens", "batch_tokens", "step_tokens", "rows"):
            setattr(self, name, max(1, round(getattr(self, name) * factor)))

    def score(self, pairs: Sequence[Pair], missing: Sequence[bool]) -> Iterator[AnswerBatch]:
        """Yield the log-likelihoods of the `missing` pairs as they are computed."""
        checkpoint = self.checkpoint
        longest = max((len(pair.context) + len(pair.continuation) - 1 for pair in pairs), default=0)
        longest = min(longest, checkpoint.max_length)
        if not self._takes(longest, Walk.PACK, Walk.SNAPSHOT):
            yield from self._score_plainly(pairs, missing, longest)
            return
        walker: Walker
        if self.walk_choice.walk == Walk.PACK:
            fed = scoring.fed_tokens(pairs, checkpoint.max_length)
            walker, planned = self._context(fed, [len(pair.continuation) for pair in pairs])
        else:
            marks = configs.context_marks(checkpoint.model.config)
            grown = scoring.grow(pairs, checkpoint.max_length, marks)
            # A context that is read both ways goes through the model in one pass.
            tokens = max(self.pack_tokens, longest) if marks else self.pack_tokens
            planned = tree.plan(grown, self.limits._replace(tokens=tokens), siblings=False)
            walker = walks.walker(self.walk_choice.walk, checkpoint.model, checkpoint.root, planned, self.skippable)
        for answers, tokens in scoring.packed(walker, planned, pairs, missing):
            yield AnswerBatch(answers, tokens - self._take_skipped())

    def decode(self, prompts: Sequence[Prompt], missing: Sequence[bool]) -> Iterator[AnswerBatch]:
        """Yield the continuations of the `missing` prompts as they end."""
        checkpoint = self.checkpoint
        require_room(prompts, checkpoint.max_length)
        longest = max((len(p.fed_tokens(checkpoint.max_length)) + p.settings.max_tokens for p in prompts), default=0)
        if not self._takes(longest, Walk.PACK):
            yield from self._decode_plainly(prompts, missing, longest)
            return
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(prompt.settings.batch_key, []).append(index)
        for indices in groups.values():
            group = self._prompt_group([prompts[i] for i in indices])
            for step in continuous.decode(group, [missing[i] for i in indices]):
                answers = [(indices[i], _generation(continuation)) for i, continuation in step.ended]
                generated = sum(continuation.tokens for _, continuation in step.ended)
                yield AnswerBatch(answers, step.tokens_fed - self._take_skipped(), generated)

    def keep_trunks(self) -> Trunks | None:
        """Return a store that keeps shared beginnings of prompts between calls, in as many bytes as the weights take.

        The beginnings have to be stated in advance. Returns None on a walk that cannot continue kept beginnings.
        """
        if self.walk_choice.walk == Walk.PACK and self.trunks is None:
            least = device_limits(self.checkpoint.device.type).cache_bytes
            self.trunks = Trunks(max(self.weight_bytes, least))
        return self.trunks

    def _prompt_group(self, prompts: Sequence[Prompt]) -> continuous.PromptGroup:
        """Return `prompts`, which share a batch key, with everything that is needed to decode them."""
        checkpoint = self.checkpoint
        fed = [prompt.fed_tokens(checkpoint.max_length) for prompt in prompts]
        stopper = Stopper(checkpoint.tokenizer, prompts[0].settings.until, checkpoint.eos_ids, self.marks)
        context, planned = self._context(fed, [1] * len(fed))
        budget = LaneBudget(self.rows, self.cache_bytes, self.weight_bytes, self.step_tokens)
        return continuous.PromptGroup(checkpoint.model, context, planned, prompts, fed, stopper, self.seed, budget)

    def _context(self, fed: Sequence[Sequence[int]], read_counts: Sequence[int]) -> tuple[Context, list[tree.Pack]]:
        """Return the context for the requests' `fed` tokens, and their packs.

        `read_counts[i]` is the number of final positions of request i whose logits are needed.
        """
        checkpoint = self.checkpoint
        if self.trunks is None:
            planned = tree.plan(tree.grow(fed, read_counts), self.limits)
            return walks.context(checkpoint.model, checkpoint.root, planned, self.skippable), planned
        plan = self.trunks.plan(fed, read_counts, self.limits)
        layout = packs.layout(checkpoint.model.config)
        assert layout is not None, "the pack walk needs layers whose layout is known"
        context = KeepingContext(checkpoint.model, checkpoint.root, layout, plan, self.trunks, self.skippable)
        return context, plan.packs

    def _take_skipped(self) -> int:
        """Return how many tokens were not fed since the last call because their keys and values were kept."""
        return 0 if self.trunks is None else self.trunks.take_skipped()

    def _score_plainly(self, pairs: Sequence[Pair], missing: Sequence[bool], longest: int) -> Iterator[AnswerBatch]:
        checkpoint = self.checkpoint
        self._require_contexts(scoring.fed_tokens(pairs, checkpoint.max_length))
        mixed = self.padding.right and longest <= self._reach()
        for batch in scoring.plan(pairs, checkpoint.max_length, self._plain_tokens, mixed=mixed):
            if any(missing[i] for row in batch for i in row.requests):
                answers = scoring.score(checkpoint.model, batch, pairs, checkpoint.device, checkpoint.root)
                yield AnswerBatch([answer for answer in answers if missing[answer[0]]], scoring.tokens_fed(batch))

    def _decode_plainly(
        self, prompts: Sequence[Prompt], missing: Sequence[bool], longest: int
    ) -> Iterator[AnswerBatch]:
        checkpoint = self.checkpoint
        if not self.padding.generates:
            raise HarnessError(
                f"generate() of transformers gives other logits than a forward pass of {checkpoint.name}, a "
                f"{checkpoint.model.config.model_type}, so that texts would be wrong: try another transformers"
            )
        self._require_contexts([prompt.fed_tokens(checkpoint.max_length) for prompt in prompts])
        mixed = self.padding.left and longest <= self._reach(checkpoint.padding_switch)
        for batch in plain.plan(prompts, checkpoint.max_length, self._plain_tokens, mixed=mixed):
            if any(missing[i] for i in batch):
                rows = [prompts[i] for i in batch]
                continuations = list(
                    plain.decode(
                        checkpoint.model,
                        checkpoint.tokenizer,
                        rows,
                        checkpoint.eos_ids,
                        checkpoint.max_length,
                        self.seed,
                        checkpoint.root,
                        self.marks,
                    )
                )
                answers = [(i, _generation(text)) for i, text in zip(batch, continuations, strict=True) if missing[i]]
                fed = sum(len(row.fed_tokens(checkpoint.max_length)) for row in rows)
                yield AnswerBatch(answers, fed, sum(continuation.tokens for continuation in continuations))

    def _require_contexts(self, sequences: Sequence[Sequence[int]]) -> None:
        """Raise HarnessError if one of `sequences` has lost the special tokens that this model's texts hold."""
        contexts.lengths(sequences, configs.context_marks(self.checkpoint.model.config))

    @property
    def _plain_tokens(self) -> int:
        """The limit on the tokens of a batch on the plain walk; 1 puts every row into a batch of its own.

        If all rows of a batch have one length, each row's int8 products equal those of the row alone to the last bit.
        The activations computed from them, which are rounded next, are then equal, too. None of this holds for the
        products of a LoRA in float32.
        """
        separate = self.checkpoint.rounds_activations and self.checkpoint.located.adapter is not None
        return 1 if separate else self.batch_tokens

    def _takes(self, longest: int, *candidates: Walk) -> bool:
        """Return whether the walk is one of `candidates`, and sequences of up to `longest` tokens can take it."""
        if self.walk_choice.walk not in candidates:
            return False
        is_beyond = longest > self._reach()
        self._is_beyond_reach = self._is_beyond_reach or is_beyond
        return not is_beyond

    def _reach(self, *switches: int | None) -> float:
        """Return the length beyond which an answer would depend on other rows of its forward pass, or their lengths."""
        checkpoint = self.checkpoint
        limits = (checkpoint.position_switch, configs.selection_limit(checkpoint.located.config), *switches)
        return min((float(switch) for switch in limits if switch is not None), default=math.inf)


def _generation(continuation: Continuation) -> Generation:
    return Generation(continuation.text, continuation.is_cut)


def out_of_memory_error(checkpoint: Checkpoint) -> HarnessError:
    """Return the error for a device without enough memory for even the smallest forward pass."""
    return HarnessError(
        f"{checkpoint.device} ran out of memory: try dtype=bfloat16 or a smaller max_length=; the same command "
        "continues from the answers computed so far"
    )
