"""Finding tasks and their data: the one seam to lm-eval's task machinery."""
