"""Commands, options, and sentences for mistakes."""

from .entry import main

__all__ = ["main"]
