"""The parts of generated scenes: what is painted, how it is lit, and what the camera makes of it."""
