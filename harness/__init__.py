"""Evaluate, compare and gate families of language-model checkpoints.

The command line (`harness --help`) is a thin layer over this library:

    harness.checkpoints   load checkpoints from references
    harness.engine        answer requests
    harness.tasks         find tasks and their data
    harness.metrics       score answers
    harness.runs          evaluate checkpoints on tasks, write reports
    harness.verdicts      compare and judge reports
    harness.training      train the stages of a recipe
    harness.leaderboard   build a static site from reports
    harness.demo          try it all on a small invented world

Importing `harness` imports none of them: torch and lm-eval take seconds.
"""

__version__ = "0.1.0"
