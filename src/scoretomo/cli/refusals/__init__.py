"""What a command refuses before anything heavy is loaded: by settings, headers and tables, without reading many pixels.

The functions have the names of the commands, and run before the work is loaded, which takes seconds. The work does
not rely on them: it calls the same functions that these are made of.
"""

from .others import evaluate, figures, info, landscape, reproduce, simulate
from .runs import import_, reconstruct, run, train

__all__ = [
    "evaluate",
    "figures",
    "import_",
    "info",
    "landscape",
    "reconstruct",
    "reproduce",
    "run",
    "simulate",
    "train",
]
