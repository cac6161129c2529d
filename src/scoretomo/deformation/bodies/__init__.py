"""Rigid bodies: a molecule whose parts move as wholes, each with its own density, fitted to all images at once.

A learned deformation field is smooth: it has no joints, and where parts pass through each other, it counts their matter
twice. `grouping` finds the parts among the paths of its points, and `modes` how they move. `fit` goes on from there
with their densities (`densities`), poses and motion (`gauss_newton`) from coarse shells to fine ones.
"""
