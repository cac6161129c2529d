"""How the deformation model is fitted: sizes and schedule, level by level."""

import math
from dataclasses import dataclass, replace

_FEWEST_EPOCHS = 60
_FINER_BLUR = 1.0  # as the blur of a DeformationSettings, where Gaussians become smaller
_FINEST = 128  # side, in pixels, of the finest model


@dataclass(frozen=True)
class DeformationSettings:
    """How the model is fitted.

    Attributes:
        side: of the images it sees, in pixels, at most.
        points: at most.
        latent_dimensions: K, latent coordinates of an image.
        basis_functions: J, deformation fields that the amplitudes combine.
        width: of the hidden layers of the basis network.
        epochs: passes over all images; fewer where they are more than 300.
        batch: images of a step, at most a tenth of all.
        rate: of Adam, in units of what each kind of parameter is like.
        blur: of the images before the first epoch, standard deviation in pixels of the model's side; it falls to 0 in
            ``sharp`` of the epochs.
        sharp: see blur.
        trial: share of the epochs that the flexibility test takes; from then on rings are weighed.
        stiffness: weight of the squared latent coordinates.
        finer_epochs: the same as epochs, once the Gaussians are smaller.
    """

    side: int = 32
    points: int = 4000
    latent_dimensions: int = 3
    basis_functions: int = 12
    width: int = 96
    epochs: int = 720
    batch: int = 30
    rate: float = 3.0
    blur: float = 2.0
    sharp: float = 0.7
    trial: float = 0.125
    stiffness: float = 1e-4
    finer_epochs: int = 120

    def epochs_for(self, images: int) -> int:
        """Passes over so many images."""
        return max(min(_FEWEST_EPOCHS, self.epochs), round(self.epochs * min(1.0, math.sqrt(300 / images))))

    @property
    def finer(self) -> "DeformationSettings":
        """What comes after, for larger images: Gaussians of half the width, with the same basis."""
        return replace(self, side=2 * self.side, points=8 * self.points, epochs=self.finer_epochs, blur=_FINER_BLUR)

    def levels(self, size: int) -> "list[DeformationSettings]":
        """This and what comes after, up to images of a size."""
        finest = size <= self.side or 2 * self.side > _FINEST
        return [self] if finest else [self, *self.finer.levels(size)]

    def share(self, share: float) -> "DeformationSettings":
        """The same in a share of the epochs, for a quick and rough result."""
        few = max(_FEWEST_EPOCHS, round(share * self.epochs))
        return replace(self, epochs=few, finer_epochs=round(self.finer_epochs * few / self.epochs))

    def trial_epochs(self, images: int) -> int:
        """How many of them make a trial."""
        return round(self.trial * self.epochs_for(images))

    def blur_at(self, done: float) -> float:
        """Blur after a share of the epochs."""
        return self.blur * max(0.0, 1 - done / self.sharp)
