"""The paper's settings and ours, as data."""

from .reconstruction import Descent

PRESETS: dict[str, Descent] = {
    #                   steps    t first, last    views first, last    anchor       rate
    "paper":    Descent(300,     (0.5, 0.5),      (2, 4),              anchor=1.0,  rate=1.7),
    "annealed": Descent(300,     (1.0, 0.5),      (2, 4),              anchor=1.0,  rate=1.7),
}  # fmt: skip
