"""design.md's tolerances, stated once; no test has its own."""

from __future__ import annotations

FP32_LOGLIKELIHOOD = 1e-4
"""Absolute difference of a request's log-likelihood, any batch and order, against batch size 1."""
BF16_LOGLIKELIHOOD = 2e-2
"""Relative difference in bf16 and fp16, the same request in any batch."""

GOLDEN_LOGITS = 1e-4
"""Absolute difference of a logit in float32 from the one that a published model's own code computed."""
FUSED_LORA = 1e-5
"""Difference of a logit between a LoRA on split layers and the same sum on the fused layer, per largest logit."""

PUBLISHED_ALPHA = 5e-4
"""Published to three decimals."""
PUBLISHED_SCORE = 1e-9
"""Between a published score and ours of the same answers."""
DERIVATIVE = 1e-5
"""Relative difference between a derivative and a difference quotient."""
BM25 = 1e-12
"""Relative difference of a BM25 score between the index and the formula, both in float64."""
PUBLISHED_PROOFREADING = 3e-3
"""The same in LawBench's 2-1, where upstream has tables of alike characters and breaks off after some time."""
CLOSED_FORM = 1e-12
"""Relative difference between a formula in numpy and the same in plain Python."""
ALMOST_EQUAL = 1e-9
"""Relative difference of the same number in another unit, after thousands of roundings."""
SUMS = 1e-9
"""Relative difference between a metric of sums and of the values themselves: sums and logarithms round otherwise."""
PUBLISHED_POWER = 0.02
"""Between a share of simulated tests and one that was simulated elsewhere and is told to two decimals."""
