"""Texts beside reference texts: overlap scores, BLEU, n-grams, word segmentation."""
