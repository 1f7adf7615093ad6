"""Evaluate, compare and gate families of language-model checkpoints.

The command line (`harness --help`) is a thin layer over this library:

    harness.checkpoints   what can be evaluated: reference → loaded checkpoint
    harness.engine        how requests are answered
    harness.tasks.catalogue         finding tasks and their data
    harness.metrics       text and samples in, numbers out
    harness.runs          checkpoints × tasks → reports
    harness.leaderboard   reports → a static site
    harness.demo          a small synthetic world to try it on

Importing `harness` imports none of them: torch and lm-eval cost seconds.
"""

__version__ = "0.1.0"
