"""All volumes in one frame: consensus, poses, refinement."""
