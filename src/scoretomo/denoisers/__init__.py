"""Denoisers D(x, t), whose score is (D(x, t) - x) / t²: exact, tangent, network."""
