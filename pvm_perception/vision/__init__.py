"""Frames to network input, readouts to tracks, and pictures for people."""
