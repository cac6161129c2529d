"""Run in ASPIRE's own environment: a stack of class averages → rotations by common lines → one volume.

python with_aspire.py {sync3n,lud} STACK.npy OUTPUT.npy SEED
"""

import sys

import numpy as np
from aspire.abinitio import CLSync3N, CommonlineLUD
from aspire.reconstruction import MeanEstimator
from aspire.source import ArrayImageSource, OrientedSource

method, stack, output, seed = sys.argv[1:]
source = ArrayImageSource(np.load(stack).astype(np.float32), pixel_size=1.0)
lines = {"n_theta": 360, "max_shift": 0, "shift_step": 1, "disable_gpu": True}
orient = CLSync3N(source, seed=int(seed), **lines) if method == "sync3n" else CommonlineLUD(source, **lines)
volume = MeanEstimator(OrientedSource(source, orient)).estimate()
np.save(output, volume.asnumpy()[0].astype(np.float32))
