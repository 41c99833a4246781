"""Sources of frames: generated scenes, videos, folders, labelled stills."""
