"""The paper's settings and ours, as data; docs/method.md tells how they were chosen."""

from .reconstruction import Descent

# fmt: off
PRESETS: dict[str, Descent] = {
    #                   steps    t first, last    views first, last
    "paper":    Descent(2000,    (1.0, 1.0),      (2, 6),              anchor=1.0, rate=1.7),
    "annealed": Descent(2000,    (1.0, 0.5),      (2, 6),              anchor=1.0, rate=1.7),
}
# fmt: on
