"""Sources of frames: simulated scenes, videos, folders, labelled stills."""
