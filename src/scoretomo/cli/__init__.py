"""Commands, options, and sentences for mistakes."""

from .app import main

__all__ = ["main"]
