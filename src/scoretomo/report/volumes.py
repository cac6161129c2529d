"""A sheet for every volume: its pictures, curves and densities."""

from collections.abc import Iterator
from typing import NamedTuple

from ..files import read_map
from ..graphics import charts, surfaces
from ..rundir.results import Run, Volume
from .embedded import Embedded, of_volumes
from .pictures import THUMBNAIL, Fit, Picture, central_slices, fit_of, grey_uri, projections

_BUDGET = 4_500_000  # pixels of all pictures of the volumes
_PICTURES = 9  # of a volume
_SMALLEST, _LARGEST = 64, 192  # pixels of a picture


class Sheet(NamedTuple):
    """All that the page has about one volume."""

    volume: Volume
    thumbnail: str
    image: str  # where it has no volume
    fit: Fit | None
    projections: list[Picture]
    slices: list[Picture]
    convergence: charts.Chart | None
    fsc: charts.Chart | None
    densities: list[Embedded]


def sheets_of(run: Run, reach: float, budget: int) -> Iterator[Sheet]:
    """A sheet for every volume; the first by `embedded.priority` carry a density until the budget is spent."""
    done = run.with_status("done")
    packed = of_volumes(run, done, budget)
    mean = charts.mean_curve(run.fsc_results)
    side = _picture_side(len(done), run.size)
    lossy = len(done) * _PICTURES * side**2 > _BUDGET
    for volume in run.volumes:
        sheet = _pictures(run, volume, reach, side, lossy=lossy)
        yield sheet._replace(
            convergence=charts.convergence(volume.convergence),
            fsc=charts.fsc_of_volume(run, volume, mean),
            densities=packed.get(volume.number, []),
        )


def _pictures(run: Run, volume: Volume, reach: float, side: int, *, lossy: bool) -> Sheet:
    pixels = next((image.pixels for image in run.images if image.number == volume.number), None)
    if volume.path is None:
        image = "" if pixels is None else grey_uri(pixels, surfaces.common_scale(pixels), side)
        return Sheet(volume, "", image, None, [], [], None, None, [])
    density = read_map(volume.path).density
    return Sheet(
        volume=volume,
        thumbnail=surfaces.thumbnail(density, reach, THUMBNAIL),
        image="",
        fit=None if pixels is None else fit_of(pixels, density, volume.pose, side, lossy=lossy),
        projections=projections(density, side, lossy=lossy),
        slices=central_slices(density, side, lossy=lossy),
        convergence=None,
        fsc=None,
        densities=[],
    )


def _picture_side(count: int, size: int) -> int:
    """Pictures keep their size up to a point: for many large volumes they are Fourier-cropped, not below 64 pixels."""
    fitting = int((4 * _BUDGET / (_PICTURES * max(count, 1))) ** 0.5)
    return min(size, max(_SMALLEST, fitting), _LARGEST)
