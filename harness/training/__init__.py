"""The reference trainer: recipes, whose stages become the checkpoints that are compared."""
