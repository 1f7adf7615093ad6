"""Short chat templates that behave like those of families of models, written for these tests."""

from __future__ import annotations

_LOOP = "{% for m in messages %}"
_END = "{% endfor %}"
PLAIN = (
    _LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n" + _END + "{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (  # may think; an empty thought with enable_thinking=false, and before the last answer
    _LOOP + "<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% if loop.last %}<think>\n{{ m.reasoning_content | default('') }}\n</think>\n\n"
    "{% endif %}{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    + _END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
QWEN3_THINKING = (  # always opens a thought
    _LOOP + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n" + _END + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
DEEPSEEK_R1 = (  # opens a thought, drops those of earlier answers and never writes an empty one
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "<|User|>{{ m.content }}{% else %}<|Assistant|>{{ m.content.split('</think>')[-1] }}{{ eos_token }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
DEEPSEEK_V3 = (  # opens or closes a thought by a variable
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "<|User|>{{ m.content }}{% else %}<|Assistant|></think>{{ m.content }}{{ eos_token }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}<|Assistant|>{% if thinking is defined and thinking %}<think>{% else %}</think>"
    "{% endif %}{% endif %}"
)
GLM = (  # opens a thought unless enable_thinking is false
    _LOOP
    + "<|{{ m.role }}|>{% if m.role == 'assistant' %}</think>{{ m.content }}{% else %}{{ m.content }}{% endif %}"
    + _END
    + "{% if add_generation_prompt %}<|assistant|>"
    "{{ '</think>' if enable_thinking is defined and not enable_thinking else '<think>' }}{% endif %}"
)
GPT_OSS = (  # the header of an answer is left to the model
    _LOOP + "<|start|>{% if m.role == 'assistant' %}assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last else '<|end|>' }}{% else %}{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}"
    + _END
    + "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    "{# <|channel|>analysis<|message|> #}"
)
MAGISTRAL = (
    "{{ bos_token }}[SYSTEM_PROMPT]{% if messages[0].role == 'system' %}{{ messages[0].content }}{% else %}"
    "Think inside [THINK]…[/THINK] first.{% endif %}[/SYSTEM_PROMPT]{% for m in messages %}{% if m.role == 'user' %}"
    "[INST]{{ m.content }}[/INST]{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% endif %}" + _END
)
COMMAND = (  # opens a thought unless reasoning is false
    _LOOP + "<|START_OF_TURN|>{{ m.role }}{% if m.role == 'assistant' %}<|START_RESPONSE|>{{ m.content }}"
    "<|END_RESPONSE|>{% else %}{{ m.content }}{% endif %}<|END_OF_TURN|>"
    + _END
    + "{% if add_generation_prompt %}<|START_OF_TURN|>assistant<|START_THINKING|>"
    "{% if reasoning is defined and not reasoning %}<|END_THINKING|>{% endif %}{% endif %}"
)
MISTRAL = (  # the end of a question is the beginning of an answer
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}{{ m.content }}\n\n{% endif %}" + _END
)
GEMMA = (  # trims, has another name for the assistant, and rejects a system role
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>"
    "\n" + _END + "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
RIGHT = {
    "plain": PLAIN,
    "qwen3": QWEN3,
    "qwen3-thinking": QWEN3_THINKING,
    "deepseek-r1": DEEPSEEK_R1,
    "deepseek-v3": DEEPSEEK_V3,
    "glm": GLM,
    "gpt-oss": GPT_OSS,
    "magistral": MAGISTRAL,
    "command": COMMAND,
    "mistral": MISTRAL,
    "gemma": GEMMA,
}
OWN_SYSTEM = {"magistral": "Think inside [THINK]…[/THINK] first."}
"""The system prompts of those that write one into conversations without any."""
"""Templates that spoil no conversation."""
