"""What deserves a second look about the files of a checkpoint, although nothing in them is wrong."""

from __future__ import annotations

from harness.checkpoints import files, origin
from harness.checkpoints.chatglm import dialogues, recognition
from harness.checkpoints.chatglm.layout import GENERATIONS
from harness.checkpoints.located import Located


def on_files(located: Located) -> list[str]:
    """Return one sentence for each remark on the files of `located`."""
    sentences = []
    stated = located.adapter_config.base if located.adapter_config else None
    if stated and located.reference.adapter is None and located.base_name != stated:
        sentences.append(f"the adapter's base {stated} is not here: {located.base_name}, the same model, replaces it")
    elif stated and not origin.same_model(stated, located.base_name):
        sentences.append(f"the adapter says it was trained on {stated}, not on {located.base_name}")
    if located.adapter_config and located.adapter_config.defaults:
        names = " and ".join(name for name, _ in located.adapter_config.defaults)
        values = " and ".join(f"{name} = {value}" for name, value in located.adapter_config.defaults)
        sentences.append(f"the adapter's {files.ADAPTER_CONFIG} states no {names}: peft's default is used, {values}")
    sentences += _on_chatglm(located)
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


def _on_chatglm(located: Located) -> list[str]:
    """Return the remarks on a folder in a published ChatGLM layout, and on a prefix that ChatGLM's scripts trained."""
    sentences = []
    layout, adapter, quantized = located.layout, located.adapter_config, located.quantization
    if layout is not None and layout.rope_ratio != 1:
        effect = "divides positions" if layout.generation == 2 else "multiplies the base of its angles"
        name = GENERATIONS[layout.generation]
        sentences.append(f"as a {name}, it {effect} by {layout.rope_ratio:g} (rope_ratio)")
    tokenizer = None if located.tokenizer.is_file() else recognition.recognize(located.tokenizer)
    if layout is not None and layout.is_guess and tokenizer is not None and tokenizer.generation is None:
        sentences.append(
            "no file says whether this is a ChatGLM2 or a ChatGLM3, or files contradict each other: dialogues and the "
            "ends of answers are ChatGLM2's, unless chatglm=3 is set"
        )
    number = 2 if layout is None else layout.generation
    decided = number if tokenizer is None else tokenizer.decided(located.reference.chatglm, number)
    if layout is not None and decided != number and not layout.is_guess:
        sentences.append(
            f"the model is a {GENERATIONS[number]}, and its tokenizer that of a {GENERATIONS[decided]}, whose "
            "dialogues and ends of answers it gets: name another with tokenizer=, or set chatglm="
        )
    stated = layout.settings.get("quantization_bit") if layout is not None else None
    if layout is not None and stated and not layout.saved_bits and adapter is None:
        sentences.append(
            f"config.json states quantization_bit = {stated}, but the weights are plain and evaluated as they are: "
            f"quantize=chatglm-int{stated} quantises them"
        )
    if tokenizer is not None and tokenizer.template is not None:
        is_ours = tokenizer.template == dialogues.template(decided)  # in a merged folder
        if not is_ours and not dialogues.is_readable(tokenizer.template, decided):
            sentences.append(
                "the folder's chat template writes special tokens, which ChatGLM's tokenizer puts itself: the "
                "published dialogue is used in its place"
            )
    label = str(located.dtype).removeprefix("torch.")
    if located.reference.rope == "published" and label == "float32":
        sentences.append("rope=published changes hardly anything in float32: it computes angles in the model's dtype")
    elif located.reference.rope == "published":
        sentences.append(
            f"rotary angles are computed in {label}, as ChatGLM's own code does, and not in float32 (rope=published)"
        )
    name = "unquantised weights" if quantized is None else f"weights in {quantized.name}"
    if adapter is not None and adapter.trained_bits and not name.endswith(f" chatglm-int{adapter.trained_bits}"):
        sentences.append(
            f"the prefix was trained on weights of {adapter.trained_bits} bits, and is put on {name}: "
            f"quantize=chatglm-int{adapter.trained_bits} gives those that it was trained on"
        )
    return sentences
