"""What deserves a second look about a ChatGLM's files: what was guessed, replaced, or is computed in another way.

Not here: what cannot be computed at all (`harness.checkpoints.chatglm.layout` refuses it).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.checkpoints.chatglm import dialogues, recognition
from harness.checkpoints.chatglm.layout import GENERATIONS, Layout
from harness.checkpoints.chatglm.recognition import TokenizerFolder
from harness.checkpoints.located import Located


def on_files(located: Located) -> Iterator[str]:
    """Yield one sentence for each remark on the model, tokenizer, prefix and settings of `located`; none for others."""
    if located.layout is not None:
        yield from _on_model(located, located.layout)
    tokenizer = None if located.tokenizer.is_file() else recognition.recognize(located.tokenizer)
    if tokenizer is not None:
        yield from _on_tokenizer(located, tokenizer)
    yield from _on_angles(located)
    yield from _on_prefix(located)


def _on_model(located: Located, layout: Layout) -> Iterator[str]:
    """Yield the remarks on positions and quantised weights."""
    if layout.rope_ratio != 1:
        effect = "divides positions" if layout.generation == 2 else "multiplies the base of its angles"
        yield f"as a {GENERATIONS[layout.generation]}, it {effect} by {layout.rope_ratio:g} (rope_ratio)"
    bits = layout.settings.get("quantization_bit")
    if bits and not layout.saved_bits and located.adapter_config is None:
        yield (
            f"config.json states quantization_bit = {bits}, but the weights are plain and evaluated as they are: "
            f"quantize=chatglm-int{bits} quantises them"
        )


def _on_tokenizer(located: Located, tokenizer: TokenizerFolder) -> Iterator[str]:
    """Yield the remarks on the generation by which prompts and answers are encoded, and on the chat template."""
    layout = located.layout
    generation = 2 if layout is None else layout.generation
    decided = tokenizer.decided(located.reference.chatglm, generation)
    if layout is not None and layout.is_guess and tokenizer.generation is None:
        yield (
            "no file says whether this is a ChatGLM2 or a ChatGLM3, or files contradict each other: dialogues and the "
            "ends of answers are ChatGLM2's, unless chatglm=3 is set"
        )
    elif layout is not None and not layout.is_guess and decided != generation:
        yield (
            f"the model is a {GENERATIONS[generation]}, and its tokenizer that of a {GENERATIONS[decided]}, whose "
            "dialogues and ends of answers it gets: name another with tokenizer=, or set chatglm="
        )
    template = tokenizer.template
    is_own = template == dialogues.template(decided)  # of this project, in a merged folder
    if template is not None and not is_own and not dialogues.is_readable(template, decided):
        yield (
            "the folder's chat template writes special tokens, which ChatGLM's tokenizer puts itself: the published "
            "dialogue is used in its place"
        )


def _on_angles(located: Located) -> Iterator[str]:
    """Yield the remark on `rope=published`."""
    if located.reference.rope is None:
        return
    dtype = str(located.dtype).removeprefix("torch.")
    if dtype == "float32":
        yield "rope=published changes hardly anything in float32: it computes angles in the model's dtype"
    else:
        yield f"rotary angles are computed in {dtype}, as ChatGLM's own code does, and not in float32 (rope=published)"


def _on_prefix(located: Located) -> Iterator[str]:
    """Yield the remark on a prefix that was trained on other weights than it is put on."""
    bits = located.adapter_config.trained_bits if located.adapter_config is not None else 0
    name = located.quantization.name if located.quantization is not None else None
    if bits and name != f"chatglm-int{bits}":
        weights = "unquantised weights" if name is None else f"weights in {name}"
        yield (
            f"the prefix was trained on weights of {bits} bits, and is put on {weights}: quantize=chatglm-int{bits} "
            "gives those that it was trained on"
        )
