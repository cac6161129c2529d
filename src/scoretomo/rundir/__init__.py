"""A run directory: the names, columns and formats of its files."""
