"""Light and colours of surfaces: the same numbers for thumbnails, movies and figures, and the viewer in the page."""

# Coordinates of a view: x right, y down, z into the page. Lengths in box sides; colours red, green and blue, 0 to 1.
SURFACE = (0.16, 0.42, 0.62)  # blue, of a volume
TRUTH = (0.66, 0.42, 0.16)  # brown, of its truth
PALE = (0.84, 0.85, 0.87)  # of parts that stay, where moving parts are coloured
ORANGE = (1.00, 0.42, 0.03)  # of parts that move
TINTED = (0.1, 0.6)  # share of the largest motion: nothing is orange below the first, all is above the second
LIGHT = (-0.45, -0.70, -0.60)  # towards the key light
POWER = 1 / 1.5  # of all colours once they are shaded: brighter

AMBIENT = 0.42  # light of the sky
FACING = 0.16  # light from the viewer
KEY = 0.62  # key light
SHINE = 0.10  # its reflection
SHININESS = 40.0  # power
KEY_IN_CREVICES = 0.75  # of the key light, where the sky is hidden
SKY_HIDDEN = 0.45  # of the light of the sky, where all of it is hidden
SKY_MIDDLE, SKY_SLOPE = 0.80, -0.20  # of the light of the sky, by the y of the normal: more from above
DEPTH_CUE = 0.35  # of the light that is lost …
DEPTH_RANGE = (-0.35, 0.45)  # … from this depth to that

OPENNESS_STEPS = (0.063, 0.108, 0.153)  # along each direction of the sky
OPENNESS_DIRECTIONS = 5  # around the normal, besides the normal itself
OPENNESS_RANGE = (0.6, 1.2)  # of the surface's level: density that hides nothing, and all

TURN, NOD = 30.0, -25.0  # degrees about y, then about x, in which surfaces are first shown


def constants() -> dict[str, object]:
    """All of them by their names, for the viewer in the page."""
    return {name.lower(): value for name, value in globals().items() if name.isupper()}
