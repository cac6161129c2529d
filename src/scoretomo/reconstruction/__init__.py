"""Algorithm 1, refinement of a posed start, and the support of the score."""
