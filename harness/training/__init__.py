"""Training the stages of a recipe; each stage makes a checkpoint."""
