"""D(y, t) of the images themselves, in closed form.

With rotations and flips as augmentation, the smoothed density p_t of a finite set of images is a mixture of Gaussians,
so

    D(y, t) = Σ w_{kθs} T_{kθs},    w = softmax(−‖y − T_{kθs}‖² / 2t²),

over every image k, in-plane turn θ and flip s.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..harmonics import TurnedImages, circle_top

_NEGLIGIBLE = 20.0  # images whose exponent is this far below the best one's have weights under e⁻²⁰


class Nearest(NamedTuple):
    """The template nearest to each of v views: an image, flipped (x → −x) or not, then turned."""

    image: Tensor  # (v,): place of the image
    angle: Tensor  # (v,): degrees, positive from x to y
    flipped: Tensor  # (v,), bool
    template: Tensor  # (v, d, d)


class ExactScore:
    """The denoiser of a finite set of images with all their in-plane turns and flips.

    Args:
        images: normalised images, shape (n, d, d), equal to ``background`` outside the circular mask.
        background: value of empty space, −μ / s of the normalisation.
        mask: circular mask, shape (d, d); only what is inside counts.
        tolerance: largest share of an image's squared norm that the compression may lose.
        working_memory: bytes that a call may use for inner products; views are worked off in tiles, small ones stay in
            cache.
    """

    def __init__(
        self, images: Tensor, background: float, mask: Tensor, *, tolerance: float = 1e-5, working_memory: float = 2e7
    ) -> None:
        self.background, self.mask = background, mask
        self.images = TurnedImages((images - background) * mask, tolerance=tolerance)
        self.tile = self.images.views_in(working_memory)

    def __call__(self, views: Tensor, t: float) -> Tensor:
        """Denoise normalised views, shape (v, d, d), at noise level t."""
        return torch.cat([self._denoise(tile, t) for tile in views.split(self.tile)])

    def nearest(self, views: Tensor, *, other_than: Tensor | None = None) -> Nearest:
        """The nearest of all turned and flipped images.

        Args:
            views: normalised, shape (v, d, d).
            other_than: place of an image that does not count, for each view, shape (v,); all count if not given.
        """
        ignored = torch.full((len(views),), -1, device=views.device) if other_than is None else other_than
        tiles = zip(views.split(self.tile), ignored.split(self.tile), strict=True)
        nearest = [self._nearest(*tile) for tile in tiles]
        return Nearest(*(torch.cat(parts) for parts in zip(*nearest, strict=True)))

    def _nearest(self, views: Tensor, ignored: Tensor) -> Nearest:
        closeness = self._likeness(views) - self.images.half_norm[:, None, None]  # (v, n, 2, turns)
        closeness[torch.arange(self.images.count, device=views.device) == ignored[:, None]] = -torch.inf
        best = closeness.flatten(1).argmax(1)
        row = best // self.images.turns
        turn = best % self.images.turns
        circle = closeness.flatten(1, 2)[torch.arange(len(views), device=views.device), row]  # (v, turns)
        image = row // 2
        flip = row % 2
        angle = circle_top(circle, turn)
        return Nearest(image, angle.rad2deg(), flip.bool(), self._inside(self.images.turned(image, flip, angle)))

    def _denoise(self, views: Tensor, t: float) -> Tensor:
        exponents = self._likeness(views).sub_(self.images.half_norm[:, None, None]).div_(t**2)
        best = exponents.amax((1, 2, 3), keepdim=True)
        view, image, flip = (exponents.amax(3) > best[..., 0] - _NEGLIGIBLE).nonzero(as_tuple=True)
        weights = (exponents[view, image, flip] - best[view, 0, 0]).exp_()  # (rows, turns)
        total = weights.new_zeros(len(views)).index_add_(0, view, weights.sum(1))
        return self._inside(self.images.sums(len(views), view, image, flip, weights / total[view, None]))

    def _likeness(self, views: Tensor) -> Tensor:
        return self.images.products((views - self.background) * self.mask)

    def _inside(self, images: Tensor) -> Tensor:
        """Images with empty space outside the mask."""
        return images * self.mask + self.background
