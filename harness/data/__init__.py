"""Files and data sets: rows of files, where data sets are, and how to read them. No lm-eval, no torch."""
