"""Surfaces, charts, movies and figures."""
