"""Principal components of volumes, and their noise floor.

The volumes v_i of one frame, inside a mask and low-passed to what their replicates agree in, minus their mean, have
principal components. The two replicates of a volume give the noise floor: their half difference has the spread of their
mean. Variance below the noise floor is no motion.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt
from torch import Tensor

from ..fourier import low_pass

_COMPONENTS = 20  # at most
_BRIGHT = 0.15  # of the highest value: what counts as the molecule
_GROWN = 2  # voxels that the mask is wider
_EDGE = 3  # voxels of its soft edge


@dataclass(frozen=True)
class ComponentCriteria:
    """When a component is significant; source: chosen without a benchmark.

    Attributes:
        significant: times the highest variance of the noise floor, which its variance exceeds.
    """

    significant: float = 2.0


COMPONENTS = ComponentCriteria()


class Components(NamedTuple):
    """Principal components of volumes, and their noise floor."""

    mean: Tensor  # (d, d, d)
    maps: Tensor  # (k, d, d, d), of norm 1
    coordinates: np.ndarray  # (n, k): volume = mean + Σ coordinate × map
    variances: np.ndarray  # (k,)
    noise_floor: np.ndarray  # (k,): variances of the components of the differences of replicates
    total: float  # variance of all components together
    criteria: ComponentCriteria = COMPONENTS

    @property
    def significant(self) -> int:
        """Leading components whose variance is above the noise floor of every component."""
        above = self.variances > self.criteria.significant * self.noise_floor.max(initial=0.0)
        return int(np.argmin(above)) if not above.all() else len(above)


def soft_mask(volumes: Tensor) -> Tensor:
    """Where any of the volumes is bright, a little wider and with a soft edge; (n, d, d, d) to (d, d, d)."""
    mean = volumes.mean(0)
    bright = low_pass(mean + 2 * (volumes - mean).square().mean(0).sqrt(), volumes.shape[-1] / 4, 3)
    inside = binary_dilation((bright > _BRIGHT * bright.max()).cpu().numpy(), iterations=_GROWN)
    outside = torch.from_numpy(distance_transform_edt(~inside)).to(volumes)
    edge = 0.5 * (1 + torch.cos(math.pi * (outside / _EDGE).clamp(0, 1)))
    return torch.where(outside < _EDGE, edge, 0.0)  # 0 on every processor, where a cosine is rounded


def principal_components(volumes: Tensor, differences: Tensor, mask: Tensor) -> Components:
    """What volumes differ in most, and the noise floor.

    Args:
        volumes: in one frame, shape (n, d, d, d), at least two.
        differences: half the difference of the replicates of each, shape (n, d, d, d).
        mask: shape (d, d, d).
    """
    from sklearn.decomposition import PCA  # not earlier: it takes a while

    place = mask > 0
    count = min(_COMPONENTS, len(volumes) - 1)
    inside = (volumes * mask)[:, place].numpy()
    with np.errstate(invalid="ignore"):  # of volumes that are all the same it divides by their variance
        analysis = PCA(count, svd_solver="full").fit(inside)
    noise = (differences * mask)[:, place].double().numpy()
    noise_floor = np.linalg.eigvalsh(noise @ noise.T / len(noise))[::-1][:count]
    maps = torch.zeros(count, *mask.shape)
    maps[:, place] = torch.from_numpy(analysis.components_).float()
    mean = torch.zeros(mask.shape)
    mean[place] = torch.from_numpy(analysis.mean_).float()
    coordinates, variances = analysis.transform(inside), analysis.explained_variance_
    total = float(inside.var(0, ddof=1, dtype=np.float64).sum())
    if total == 0:  # what is there is rounding
        coordinates, variances = np.zeros_like(coordinates), np.zeros_like(variances)
    return Components(mean, maps, coordinates, variances, np.maximum(noise_floor, 0.0), total)


def variability_map(volumes: Tensor, differences: Tensor) -> Tensor:
    """Standard deviation of each voxel beyond the noise floor; (n, d, d, d) twice to (d, d, d)."""
    return (volumes.var(0) - differences.square().mean(0)).clamp_min(0).sqrt()
