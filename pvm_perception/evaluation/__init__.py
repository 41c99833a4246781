"""Measuring: accuracy on labelled sequences, other trackers to compare with, time, traffic and memory."""
