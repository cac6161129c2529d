"""The methods paragraph of a paper for this very run: its facts, and the works that it cites."""

from typing import NamedTuple

from ..rundir.results import Run
from .settings import last_start

_CITED = {
    "method": "Score-based Random Tomography of Dynamic Structures. Anonymous authors; manuscript under review.",
    "Karras": "Karras T, Aittala M, Aila T, Laine S (2022) Elucidating the design space of diffusion-based "
    "generative models. Advances in Neural Information Processing Systems 35.",
    "Vincent": "Vincent P (2011) A connection between score matching and denoising autoencoders. Neural Computation "
    "23, 1661–1674.",
    "Tipping": "Tipping ME, Bishop CM (1999) Mixtures of probabilistic principal component analyzers. Neural "
    "Computation 11, 443–482.",
    "Barnett": "Barnett AH, Magland J, af Klinteberg L (2019) A parallel nonuniform fast Fourier transform library "
    "based on an “exponential of semicircle” kernel. SIAM Journal on Scientific Computing 41, C479–C504.",
    "Sigworth": "Sigworth FJ (1998) A maximum-likelihood approach to single-particle image refinement. Journal of "
    "Structural Biology 122, 328–339.",
    "Chen": "Chen M, Ludtke SJ (2021) Deep learning-based mixed-dimensional Gaussian mixture model for "
    "characterizing variability in cryo-EM. Nature Methods 18, 930–936.",
    "Schwab": "Schwab J, Kimanius D, Burt A, Dendooven T, Scheres SHW (2024) DynaMight: estimating molecular "
    "motions with improved reconstruction from cryo-EM images. Nature Methods 21, 1855–1862.",
    "Nakane": "Nakane T, Kimanius D, Lindahl E, Scheres SHW (2018) Characterisation of molecular motions in cryo-EM "
    "single-particle data by multi-body refinement in RELION. eLife 7, e36861.",
    "Scheres": "Scheres SHW (2012) RELION: implementation of a Bayesian approach to cryo-EM structure determination."
    " Journal of Structural Biology 180, 519–530.",
    "Harauz": "Harauz G, van Heel M (1986) Exact filters for general geometry three dimensional reconstruction. "
    "Optik 73, 146–156.",
    "Rosenthal": "Rosenthal PB, Henderson R (2003) Optimal determination of particle orientation, absolute hand, and "
    "contrast loss in single-particle electron cryomicroscopy. Journal of Molecular Biology 333, 721–745.",
    "Levina": "Levina E, Bickel PJ (2004) Maximum likelihood estimation of intrinsic dimension. Advances in Neural "
    "Information Processing Systems 17.",
    "Tenenbaum": "Tenenbaum JB, de Silva V, Langford JC (2000) A global geometric framework for nonlinear "
    "dimensionality reduction. Science 290, 2319–2323.",
    "Hyvärinen": "Hyvärinen A (1999) Fast and robust fixed-point algorithms for independent component analysis. IEEE "
    "Transactions on Neural Networks 10, 626–634.",
    "McInnes": "McInnes L, Healy J, Melville J (2018) UMAP: uniform manifold approximation and projection for "
    "dimension reduction. arXiv:1802.03426.",
    "Pedregosa": "Pedregosa F et al. (2011) Scikit-learn: machine learning in Python. Journal of Machine Learning "
    "Research 12, 2825–2830.",
}


class Methods(NamedTuple):
    """Facts of the methods paragraph that no other section has."""

    method: str  # ensemble | annealed | paper
    denoiser: str  # tangent | exact | network
    seed: int
    steps: list[int]  # of the descents; empty where all volumes are those of rigid bodies
    cropped_from: tuple[
        int, ...
    ]  # height and width of the images in the file; empty where they were not Fourier-cropped
    inverted: bool
    recentred: bool
    umap: bool
    version: str  # of scoretomo; empty if it was not recorded
    libraries: list[str]


class Citations:
    """Numbers of the works that a text cites, in the order in which it names them."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def __call__(self, *names: str) -> str:
        """Numbers of works by their names, in brackets: [1][4]."""
        self._names += [name for name in names if name not in self._names]
        return "".join(f"[{self._names.index(name) + 1}]" for name in names)

    @property
    def works(self) -> list[tuple[int, str]]:
        """Number and reference of every work that was cited."""
        return [(number, _CITED[name]) for number, name in enumerate(self._names, start=1)]


def methods_of(run: Run) -> Methods | None:
    """Facts of the methods paragraph of a run; None before there are volumes."""
    settings = run.settings.get("run", {})
    done = run.with_status("done")
    if not done or "method" not in settings:
        return None
    start = last_start(run.records)
    original = run.imported.original_size if run.imported else ()
    request = run.imported.request if run.imported else {}
    named = (("python", "Python"), ("torch", "PyTorch"), ("finufft", "FINUFFT"))
    return Methods(
        method=str(settings["method"]),
        denoiser=str(settings.get("denoiser", "exact")),
        seed=int(settings.get("seed", 0)),
        steps=sorted({volume.row.steps for volume in done if volume.row and volume.row.steps}),
        cropped_from=original if original and original[0] != run.size else (),
        inverted=bool(request.get("invert")),
        recentred=bool(request.get("recentre")),
        umap=run.landscape is not None and bool(run.landscape.rows[0].umap),
        version=str(start.get("scoretomo", "")),
        libraries=[f"{name} {start[key]}" for key, name in named if start.get(key)],
    )
