"""The deformation model: one model of all conformations, learned from all images at once."""
