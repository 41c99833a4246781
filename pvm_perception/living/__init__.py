"""A memory of moments, and what a network learns from it while it sleeps."""
