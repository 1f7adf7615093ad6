"""The folder that a run leaves; no torch, no lm-eval."""
