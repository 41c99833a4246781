"""Training, evaluation and their measures."""
