"""Metrics of generated texts: overlap with references, BLEU, n-grams, word segmentation, ranking."""
