"""The methods paragraph of a paper for this very run, with what it cites."""

from typing import NamedTuple

from ..rundir.results import Landscape, Run, Shared
from ..wording import counted, joined, listing
from .settings import last_start
from .words import WORDS, calibrated

_CITED = {
    "method": "Score-based Random Tomography of Dynamic Structures. Anonymous authors; manuscript under review.",
    "Karras": "Karras T, Aittala M, Aila T, Laine S (2022) Elucidating the design space of diffusion-based generative models. "
    "Advances in Neural Information Processing Systems 35.",
    "Vincent": "Vincent P (2011) A connection between score matching and denoising autoencoders. Neural Computation 23, 1661–1674.",
    "Tipping": "Tipping ME, Bishop CM (1999) Mixtures of probabilistic principal component analyzers. "
    "Neural Computation 11, 443–482.",
    "Barnett": "Barnett AH, Magland J, af Klinteberg L (2019) A parallel nonuniform fast Fourier transform library based on an "
    "“exponential of semicircle” kernel. SIAM Journal on Scientific Computing 41, C479–C504.",
    "Sigworth": "Sigworth FJ (1998) A maximum-likelihood approach to single-particle image refinement. "
    "Journal of Structural Biology 122, 328–339.",
    "Chen": "Chen M, Ludtke SJ (2021) Deep learning-based mixed-dimensional Gaussian mixture model for characterizing variability "
    "in cryo-EM. Nature Methods 18, 930–936.",
    "Schwab": "Schwab J, Kimanius D, Burt A, Dendooven T, Scheres SHW (2024) DynaMight: estimating molecular motions with improved "
    "reconstruction from cryo-EM images. Nature Methods 21, 1855–1862.",
    "Scheres": "Scheres SHW (2012) RELION: implementation of a Bayesian approach to cryo-EM structure determination. "
    "Journal of Structural Biology 180, 519–530.",
    "Harauz": "Harauz G, van Heel M (1986) Exact filters for general geometry three dimensional reconstruction. Optik 73, 146–156.",
    "Rosenthal": "Rosenthal PB, Henderson R (2003) Optimal determination of particle orientation, absolute hand, "
    "and contrast loss in single-particle electron cryomicroscopy. Journal of Molecular Biology 333, 721–745.",
    "Levina": "Levina E, Bickel PJ (2004) Maximum likelihood estimation of intrinsic dimension. "
    "Advances in Neural Information Processing Systems 17.",
    "Tenenbaum": "Tenenbaum JB, de Silva V, Langford JC (2000) "
    "A global geometric framework for nonlinear dimensionality reduction. Science 290, 2319–2323.",
    "Hyvärinen": "Hyvärinen A (1999) Fast and robust fixed-point algorithms for independent component analysis. "
    "IEEE Transactions on Neural Networks 10, 626–634.",
    "McInnes": "McInnes L, Healy J, Melville J (2018) UMAP: uniform manifold approximation and projection for dimension reduction. "
    "arXiv:1802.03426.",
    "Pedregosa": "Pedregosa F et al. (2011) Scikit-learn: machine learning in Python. "
    "Journal of Machine Learning Research 12, 2825–2830.",
}
_SCORES = {
    "tangent": "a closed-form estimate from the images, all their in-plane turns and flips, "
    "and the ways in which neighbouring images differ (a mixture of probabilistic principal components) [Tipping]",
    "exact": "the closed-form score of the images with all their in-plane turns and flips",
    "network": "a neural network trained on the images by denoising score matching [Vincent], with the preconditioning of [Karras]",
}


class Methods(NamedTuple):
    """Text ready to paste."""

    paragraphs: list[str]
    citations: list[str]  # numbered in the order in which the text names them


def describe_methods(run: Run) -> Methods | None:
    """What was done in a run, with its settings and citations; None before there are volumes."""
    settings = run.settings.get("run", {})
    if not run.with_status("done") or "method" not in settings:
        return None
    sentences = [_images(run), _volumes(run, settings)]
    if run.shared:
        sentences.append(_consensus(run.shared))
    if run.landscape:
        sentences.append(_landscape(run.landscape))
    if any(volume.trust for volume in run.volumes):
        sentences.append(_trust(run))
    if run.scores:
        sentences.append(_truth(run))
    sentences.append(_versions(run))
    return _numbered(sentences)


def _images(run: Run) -> str:
    kept = sum(image.pixels is not None for image in run.images)
    was = run.imported.get("original_size") or []
    sampled = f"{run.size} × {run.size} pixels" + (f" ({run.pixel_size:.4g} Å/pixel)" if run.pixel_size else "")
    from_ = f", Fourier-cropped from {was[0]} × {was[1]}," if was and was[0] != run.size else ""
    asked = run.imported.get("asked") or {}
    changes = [name for name, done in (("inverted in contrast", asked.get("invert")), ("recentred", asked.get("recentre"))) if done]
    return (
        f"{counted(kept, '2D class average')} of {sampled}{from_} {'was' if kept == 1 else 'were'} "
        + (f"{joined(changes)}, " if changes else "")
        + "brought to a background of zero and masked with a circle."
    )


def _volumes(run: Run, settings: dict[str, object]) -> str:
    done = run.with_status("done")
    score = _SCORES[str(settings.get("denoiser", "exact"))]
    steps = sorted({int(volume.row["steps"]) for volume in done if volume.row.get("steps")})
    descent = f" ({listing(steps)} steps of descent each)" if steps else ""
    how = (
        f"{counted(len(done), 'volume')}, one for each image, {'was' if len(done) == 1 else 'were'} reconstructed "
        f"by score-based random tomography [method] with scoretomo {_version(run)}"
    )
    ways = {
        "paper": f": Algorithm 1 as published, from an empty volume, at one noise level{descent}.",
        "annealed": f": Algorithm 1 from an empty volume, with a falling noise level{descent}.",
        "ensemble": ", its ensemble method: a consensus of all images, the pose of every image in it, "
        "and from there the volume of each image by Algorithm 1, with the image as an anchor, "
        f"averaging replicas with different random numbers{descent}.",
    }
    return (
        f"{how}{ways[str(settings['method'])]} The score of the images was {score}. "
        "Views were made by the Fourier slice theorem with a non-uniform fast Fourier transform [Barnett]. "
        f"The random seed was {settings.get('seed', 0)}."
    )


def _consensus(shared: Shared) -> str:
    starts = len(shared.agreements) + 1
    said = (
        f"The consensus was found from {counted(starts, 'random start')}, of which {shared.agreeing + 1} agreed, "
        "with every pose of an image weighed by how well it matches, ever more strictly [Sigworth]; "
        f"its views correlate {shared.coverage:.3f} with the images, and {shared.left_out_coverage:.3f} with images left out of it."
    )
    found = "found in the consensus and tested on left-out images" if shared.proposals else "imposed"
    said += " No symmetry was imposed." if shared.symmetry.upper() == "C1" else f" The symmetry {shared.symmetry} was {found}."
    if shared.asked:
        said += (
            f" One shape left {100 * shared.asked.still:.2f} % of left-out images unexplained, "
            f"one that moves, by {shared.asked.displacement:.2f} pixels averaged over its mass, {100 * shared.asked.moving:.2f} %; "
            + (
                "so a model of the motion, Gaussians moved by smooth fields [Chen][Schwab], was fitted to all images, "
                "each of their rings weighed by how little the model leaves of it [Scheres], "
                "and each volume was refined from the conformation of its image"
                + (f", {100 * shared.kept:.0f} % of which it keeps." if shared.kept else ".")
                if shared.moves
                else "so the molecule was taken as rigid"
                + (f", and each volume kept {100 * shared.kept:.0f} % of the consensus." if shared.kept else ".")
                + (" Left-out images were explained better by a consensus that weighs many poses of each." if shared.softer else "")
            )
        )
    elif shared.kept:
        said += f" Each volume kept {100 * shared.kept:.0f} % of the consensus."
    strangers = [(shared.outliers, "that no view explains"), (shared.second, "that show a second molecule")]
    for numbers, what in strangers:
        if numbers:
            said += f" {counted(len(numbers), 'image')} {what} ({listing(numbers)}) did not count."
    return said


def _landscape(found: Landscape) -> str:
    said = (
        "The volumes were compared inside a soft mask by principal component analysis [Pedregosa]; "
        "what chance contributes was measured from the differences of replicas "
        f"({found.chance / max(found.variance, 1e-30):.2g} of the variance)."
    )
    if "umap_1" in found.rows[0]:
        said += " They were also placed in a plane by UMAP [McInnes]."
    if not found.motions:
        return said
    return (
        f"{said} The number of independent motions ({found.motions}) is the intrinsic dimension of the volumes, "
        "by the distances of neighbours, after [Levina], beyond those of chance, "
        "and their coordinates are geodesic distances among neighbouring volumes [Tenenbaum]"
        + (", turned to independent components [Hyvärinen]." if found.motions > 1 else ".")
        + (f" Volumes were sorted into {len(found.states)} states by k-means [Pedregosa]." if len(found.states) > 1 else "")
    )


def _trust(run: Run) -> str:
    words = [volume.trust.word for volume in run.volumes if volume.trust]
    told = joined([f"{words.count(word)} “{word}”" for word in WORDS if word in words])
    if not calibrated(run):
        return f"The images are too few to estimate the reliability of a volume without a truth ({told})."
    moving = run.shared and run.shared.moves
    marks = "its replicas, its fit to the image and its neighbours" if moving else "how far images and consensus agree"
    return (
        f"The reliability of each volume was estimated without a truth, from {marks}, "
        f"by a calibration on simulated molecules whose truth is known ({told})."
    )


def _truth(run: Run) -> str:
    mean = sum(score.mean_fsc for score in run.scores) / len(run.scores)
    return (
        "Volumes were aligned with the truth over rotations, shifts and both hands "
        f"and compared by Fourier shell correlation (FSC) [Harauz], unmasked (mean over shells and volumes {mean:.3f}); "
        "resolutions are where it falls below 0.5 and 0.143 [Rosenthal]."
    )


def _versions(run: Run) -> str:
    start = last_start(run.records)
    named = [
        f"{name} {start[key]}"
        for key, name in (("python", "Python"), ("torch", "PyTorch"), ("finufft", "FINUFFT"))
        if start.get(key)
    ]
    return f"Computations were made with {joined(named)}." if named else ""


def _version(run: Run) -> str:
    start = last_start(run.records)
    return str(start.get("scoretomo", "(version unknown)"))


def _numbered(sentences: list[str]) -> Methods:
    """Names of citations become numbers, in the order in which they are met."""
    text = "\n".join(sentence for sentence in sentences if sentence)
    met = sorted((name for name in _CITED if f"[{name}]" in text), key=lambda name: text.index(f"[{name}]"))
    for number, name in enumerate(met, start=1):
        text = text.replace(f"[{name}]", f"[{number}]")
    return Methods(text.split("\n"), [f"[{number}] {_CITED[name]}" for number, name in enumerate(met, start=1)])
