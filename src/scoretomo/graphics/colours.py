"""Colours of charts, in hexadecimal; those of surfaces are in `shading`."""

INK = "#1d2125"  # text, means
SOFT = "#5c646c"  # axes, thresholds
VOLUME = "#2f6f9f"  # volumes
OTHER = "#a9651a"  # noise floors, medians
RESTING = "#b8bfc5"  # the rigid body that rests
STATES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # distinct to the colour-blind


def of_body(number: int) -> str:
    """The colour of a rigid body, from 1; after six moving ones colours come again."""
    return RESTING if number == 1 else STATES[(number - 2) % len(STATES)]
