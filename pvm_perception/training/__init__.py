"""Training: clips to learn from, the training loop, its validation and calibration, and teaching targets."""
