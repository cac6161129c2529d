"""The paper's experiments, as data: at its size, and small."""

from dataclasses import dataclass, replace

from .config import ReproduceSettings


@dataclass(frozen=True)
class Experiment:
    """One of the paper's four experiments, at some size.

    Attributes:
        simulated: object that is simulated where no images are given; None where that would prove nothing.
        realistic: whether the simulated images are realistic class averages.
        images: how many class averages.
        size: their side in pixels.
        network: of the score.
        volumes: how many images are reconstructed, from the first one on.
        method: preset of the descent.
    """

    simulated: str | None
    realistic: bool
    images: int
    size: int
    network: str
    volumes: int
    method: str


def experiment_named(name: str, settings: ReproduceSettings) -> Experiment:
    """The experiment of a name, at the size that the settings give."""
    preset = EXPERIMENTS[f"{'paper' if settings.full else 'small'}-{name}"]
    plan = replace(preset, size=settings.size or preset.size, images=settings.images or preset.images)
    return replace(plan, volumes=min(plan.volumes, plan.images))


# fmt: off
#: The paper's experiments, at its size and small.
EXPERIMENTS: dict[str, Experiment] = {
    #                               simulated     realistic  images  side  network            volumes  method
    "paper-box":         Experiment("box",        False,     300,    88,   "paper",           300,     "paper"),
    "paper-capsid":      Experiment("capsid",     False,     200,    88,   "paper",           200,     "paper"),
    "paper-ribosome":    Experiment("ribosome",   True,      100,    136,  "paper-ribosome",  1,       "paper"),
    "paper-betagal":     Experiment(None,         False,     34,     64,   "paper",           1,       "paper"),
    # Small enough for two cores and half an hour.
    "small-box":         Experiment("box",        False,     300,    32,   "fast",            8,       "paper"),
    "small-capsid":      Experiment("capsid",     False,     200,    32,   "fast",            8,       "paper"),
    "small-ribosome":    Experiment("ribosome",   True,      100,    32,   "fast",            4,       "paper"),
    "small-betagal":     Experiment(None,         False,     34,     32,   "fast",            4,       "paper"),
}
# fmt: on
