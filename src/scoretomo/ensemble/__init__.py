"""All volumes in one frame: consensus, poses, motion, refinement."""
