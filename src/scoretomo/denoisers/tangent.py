"""D(y, t) of images and of the directions in which they vary, in closed form.

Images of a moving molecule from unknown directions lie on a smooth surface, of which class averages are a sparse
sample. The exact score knows the samples only. Here each image stands for a patch of the surface: the differences to
the images nearest to it, turned and flipped onto it, span its tangents B and say how far it reaches along each, Λ. The
density is a mixture of Gaussians, flat ones in place of round ones,

    p_t = mean over k, θ, s of N(T_{kθs}, BΛBᵀ + t²),      D(y, t) = Σ w ( T + B Λ / (Λ + t²) Bᵀ(y − T) ),

as in mixtures of probabilistic principal components (Tipping & Bishop, 1999); the sum is over the patches nearest to y,
at their best turns. Everything happens in the components of the harmonics, where turning is a phase.
"""

import torch
from torch import Tensor

from ..harmonics import TurnedImages, circle_top, flipped, turn

_NEIGHBOURS = 40  # images by which the variation of an image is measured
_TANGENTS = 30  # directions of variation
_CANDIDATES = 4  # patches that a view may belong to


class TangentScore:
    """The denoiser of a finite set of images that vary smoothly, with all their in-plane turns and flips.

    Args:
        images: normalised images, shape (n, d, d), equal to ``background`` outside the circular mask.
        background: value of empty space, −μ / s of the normalisation.
        mask: circular mask, shape (d, d); only what is inside counts.
        tolerance: largest share of an image's squared norm that the compression may lose.
        working_memory: bytes that a call may use for inner products; views are worked off in tiles.
    """

    def __init__(
        self, images: Tensor, background: float, mask: Tensor, *, tolerance: float = 1e-5, working_memory: float = 2e7
    ) -> None:
        self.background, self.mask = background, mask
        inside = (images - background) * mask
        self.images = TurnedImages(inside, tolerance=tolerance)
        self.tile = self.images.views_in(working_memory)
        components = self.images.components(inside)
        self.metric = images.new_full((len(components), 1, 1), 2.0).sqrt()  # components times this are orthonormal
        self.metric[0] = 1
        self.centres = _flat(components * self.metric)
        count = min(_TANGENTS, _NEIGHBOURS, len(images) - 1)
        # (n, p, r); filled in place: they are large
        self.tangents = images.new_empty(len(images), self.centres.shape[1], count)
        self.reach = images.new_empty(len(images), count)
        for rows in torch.arange(len(images), device=images.device).split(self.tile):
            self.tangents[rows], self.reach[rows] = self._tangents(rows, inside[rows])

    def __call__(self, views: Tensor, t: float) -> Tensor:
        """Denoise normalised views, shape (v, d, d), at noise level t."""
        return torch.cat([self._denoise(tile, t) for tile in views.split(self.tile)])

    def _tangents(self, rows: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Orthonormal tangents of some of the images, and how far they reach along each, as variances."""
        products = self.images.products(images)  # (rows, n, 2, turns)
        norms = 2 * self.images.half_norm
        distances = norms[rows][:, None, None] + norms[:, None] - 2 * products.amax(3)  # (rows, n, 2)
        distances[torch.arange(len(rows), device=rows.device), rows] = torch.inf
        count = min(_NEIGHBOURS, distances.shape[1] - 1)
        nearest = distances.amin(2).topk(count, largest=False).indices
        here = torch.arange(len(rows), device=rows.device)[:, None].expand_as(nearest)
        flip = distances[here, nearest].argmin(2)
        circle = products[here, nearest, flip].flatten(0, 1)
        angle = circle_top(circle, circle.argmax(1))
        neighbours = self._placed(self.centres[nearest.flatten()], flip.flatten(), angle)
        differences = neighbours.reshape(*nearest.shape, -1) - self.centres[rows][:, None]
        power, mixing = torch.linalg.eigh(differences @ differences.mT)  # (rows, count)
        power, mixing = power[:, -_TANGENTS:].clamp_min(1e-12), mixing[:, :, -_TANGENTS:]
        return differences.mT @ mixing / power.sqrt()[:, None], power / count

    def _denoise(self, views: Tensor, t: float) -> Tensor:
        components = self.images.components((views - self.background) * self.mask)
        closeness = self.images.products_of_components(components) - self.images.half_norm[:, None, None]
        best = closeness.amax(3).flatten(1).topk(min(_CANDIDATES, 2 * self.images.count), 1).indices  # (v, candidates)
        view = torch.arange(len(views), device=views.device)[:, None].expand_as(best).flatten()
        image = best.flatten() // 2
        flip = best.flatten() % 2
        circle = closeness[view, image, flip]
        angle = circle_top(circle, circle.argmax(1))
        seen = _flat(components * self.metric)[view]
        # A flip after a turn by θ is a flip before a turn by −θ: this undoes the placing of the image.
        away = self._placed(seen, flip, torch.where(flip > 0, angle, -angle)) - self.centres[image]
        along = torch.einsum("vp,vpr->vr", away, self.tangents[image])
        reach = self.reach[image]
        shrink = reach / (reach + t**2)
        fit = away.square().sum(1) - (shrink * along.square()).sum(1)
        exponent = -fit / (2 * t**2) - 0.5 * (1 + reach / t**2).log().sum(1)
        weights = torch.softmax(exponent.reshape(best.shape), 1).flatten()
        clean = self.centres[image] + torch.einsum("vr,vpr->vp", shrink * along, self.tangents[image])
        placed = self._placed(clean, flip, angle) * weights[:, None]
        total = placed.new_zeros(len(views), placed.shape[1]).index_add_(0, view, placed)
        return self.images.image(self._components(total) / self.metric) * self.mask + self.background

    def _placed(self, flat: Tensor, flip: Tensor, angle: Tensor) -> Tensor:
        """Flip images where flip is 1, then turn them; flat components, shape (rows, p)."""
        return _flat(turn(flipped(self._components(flat), flip), angle))

    def _components(self, flat: Tensor) -> Tensor:
        """Components (m, rows, components) of flat ones."""
        return torch.view_as_complex(flat.reshape(len(flat), len(self.metric), -1, 2)).transpose(0, 1)


def _flat(components: Tensor) -> Tensor:
    """Components (m, rows, components) as real vectors (rows, p)."""
    return torch.view_as_real(components.transpose(0, 1)).flatten(1)
