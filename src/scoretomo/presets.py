"""The paper's settings and ours, as data; docs/explanation/refinement.md and docs/explanation/paper.md have the
reasons.
"""

from .deformation.schedule import DeformationSettings
from .denoisers.training import Training
from .reconstruction.algorithm import Descent
from .reconstruction.refinement import Refinement

# fmt: off
#: How Algorithm 1 descends: as published, and with a noise level that falls.
PRESETS: dict[str, Descent] = {
    #                   steps    t first, last    views first, last
    "paper":    Descent(2000,    (1.0, 1.0),      (2, 6),              anchor=1.0, rate=1.7),
    "annealed": Descent(2000,    (1.0, 0.5),      (2, 6),              anchor=1.0, rate=1.7),
}

#: How the deformation model is fitted.
DEFORMATION = DeformationSettings()

# Of starts that are nearly right: they are most of the volume.
_BRIEF = Refinement(
    replicates=2,
    each=Descent(30,             (0.2, 0.05),     (8, 8),              anchor=8.0, rate=1.7),
    last=None,
    start_weight=0.75,
)

#: How volumes are refined in the common frame, by what they start from.
REFINEMENTS: dict[str, Refinement] = {
    "undetermined": Refinement(  # from the consensus of images too few for a flexibility test
        replicates=2,
        each=Descent(200,        (1.0, 0.3),      (8, 8),              anchor=8.0, rate=1.7),
        last=Descent(100,        (0.3, 0.2),      (8, 8),              anchor=8.0, rate=1.7),
    ),
    "symmetric": _BRIEF,  # the same, if with its symmetry they leave no gaps
    "rigid": _BRIEF,  # from the consensus of a rigid molecule
    "flexible": Refinement(  # from the conformation of each image in the deformation model
        replicates=2,
        each=Descent(100,        (0.5, 0.05),     (8, 8),              anchor=8.0, rate=1.7),
        last=None,
    ),
    "modelled": _BRIEF,  # the same, if views of these conformations look like images already
}

#: How the network is trained.
TRAININGS: dict[str, Training] = {
    #                           examples   batch       shards      rate
    "paper":          Training(4_000_000,  batch=64,   shards=4,   rate=2e-3,   interpolation="bilinear"),
    "paper-ribosome": Training(4_000_000,  batch=64,   shards=4,   rate=2e-3,   interpolation="bilinear"),
    "fast":           Training(240_000,    batch=32,   shards=2,   rate=2e-3,   interpolation="bicubic",  focus=0.8),
}
# fmt: on
