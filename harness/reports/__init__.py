"""The folder that a run leaves behind: its format, reading, writing. No torch, no lm-eval."""
