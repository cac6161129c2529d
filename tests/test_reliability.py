"""Reliability of volumes: how predictors lower the expected FSC, labels, reasons."""

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.fourier import low_pass
from scoretomo.pipeline.reliability import replicate_fsc
from scoretomo.reliability.calibration import (
    FLEXIBLE,
    RELIABILITY,
    RIGID,
    TYPICAL_REPLICATES,
    Predicted,
    Predictors,
    isolation,
    predict,
)
from scoretomo.rundir.directory import RunDirectory

COUNT = 200


def predictors(seed: int = 0, rings: float = 0.92) -> Predictors:
    """Of a run whose volumes differ in every predictor."""
    spread = np.exp(0.4 * np.random.default_rng(seed).normal(size=(3, COUNT)))
    return Predictors(1 - 0.01 * spread[0], 1 - 0.001 * spread[1], spread[2], rings, 0.999, 1.0)


def worse(one: Predictors, field: str, factor: float) -> Predicted:
    """What is predicted if one predictor of the first volume is worse."""
    values = getattr(one, field).copy()
    values[0] = values[0] * factor if field == "isolation" else 1 - (1 - values[0]) * factor
    return predict(one._replace(**{field: values}), FLEXIBLE)


def judged(
    fsc: float = 0.95, low: float = 0.9, *, replicates: float = 0.0, fit: float = 0.0, isolation: float = 0.0
) -> Predicted:
    """A single volume."""
    values = (fsc, low, min(1.0, 2 * fsc - low), replicates, fit, isolation)
    return Predicted(*(np.array([value]) for value in values))


@pytest.mark.parametrize("field", ["replicates", "fit", "isolation"])
def test_each_predictor_lowers_the_expected_fsc_of_its_volume_alone(field):
    before, after = predict(predictors(), FLEXIBLE), worse(predictors(), field, 8.0)
    assert after.fsc[0] < before.fsc[0] - 0.005
    np.testing.assert_array_equal(after.fsc[1:], before.fsc[1:])


def test_worse_images_lower_the_expected_fsc_of_all_volumes():
    assert (predict(predictors(rings=0.6), FLEXIBLE).fsc < predict(predictors(rings=0.92), FLEXIBLE).fsc).all()


def test_volumes_of_a_rigid_molecule_have_the_same_expected_fsc():
    found, worse_images = predict(predictors(), RIGID), predict(predictors(rings=0.6), RIGID)
    assert np.ptp(found.fsc) == 0
    assert worse_images.fsc[0] < found.fsc[0] - 0.1
    assert found.low[0] < found.fsc[0] < found.high[0]


def test_volume_alone_has_the_same_expected_fsc_as_beside_others():
    together = predict(predictors(), FLEXIBLE)
    worst = int(together.fsc.argmin())
    own = {name: getattr(predictors(), name)[[worst]] for name in ("replicates", "fit", "isolation")}
    assert predict(predictors()._replace(**own), FLEXIBLE).fsc[0] == pytest.approx(together.fsc[worst])


@pytest.mark.parametrize(
    ("volume", "label"),
    [
        (judged(low=RELIABILITY.reliable), "reliable"),
        (judged(low=RELIABILITY.reliable - 1e-6), "caution"),
        (judged(fsc=RELIABILITY.unreliable, low=0.4), "caution"),
        (judged(fsc=RELIABILITY.unreliable - 1e-6, low=0.4), "unreliable"),
        (judged(fit=0.5 * RELIABILITY.unusual, isolation=0.49 * RELIABILITY.unusual), "reliable"),
        (judged(fit=0.5 * RELIABILITY.unusual, isolation=0.51 * RELIABILITY.unusual), "caution"),
        (judged(replicates=2 * RELIABILITY.unusual), "reliable"),  # only fit and isolation make an image unusual
    ],
)
def test_label_follows_the_interval_the_expected_fsc_and_unusual_images(volume, label):
    assert volume.label(0) == label


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (judged(), "good"),
        (judged(low=0.6), "coarse"),
        (judged(replicates=RELIABILITY.notable - 1e-6), "good"),
        (judged(replicates=RELIABILITY.notable + 1e-6), "replicates"),
        (judged(fit=RELIABILITY.notable + 1e-6), "fit"),
        (judged(isolation=RELIABILITY.notable + 1e-6, fit=0.1), "isolation"),
        (judged(fit=0.6 * RELIABILITY.unusual, isolation=0.5 * RELIABILITY.unusual), "fit"),  # unusual together
    ],
)
def test_reason_is_the_worst_predictor_that_sets_the_volume_apart(volume, reason):
    assert volume.reason(0) == reason


@pytest.mark.parametrize(("field", "factor"), [("replicates", 30.0), ("fit", 1e5), ("isolation", 1e3)])
def test_predictor_that_is_much_worse_than_typical_is_the_reason(field, factor):
    assert worse(predictors(), field, factor).reason(0) == field


def test_conformation_far_from_all_others_is_isolated():
    places = np.random.default_rng(0).normal(size=(60, 3))
    places[7] = 9.0
    found = isolation(places)
    assert found.argmax() == 7
    np.testing.assert_allclose(isolation(5 * places), found, rtol=1e-3)


def test_replicate_fsc_is_the_mean_over_the_shells_that_images_determine(tmp_path):
    volume, noise = torch.randn(2, 16, 16, 16, generator=random_stream(1, "maps"))
    run = RunDirectory(tmp_path)
    for path, density in (
        (run.volume(3), volume),
        (run.difference(3), 0.5 * (noise - low_pass(noise, 4.0, 3, width=0.1))),
    ):
        path.parent.mkdir()
        files.write_map(path, density.numpy(), None)
    coarse = torch.arange(9) <= 3
    assert replicate_fsc(run, 3, coarse) == pytest.approx(1, abs=1e-4)
    assert replicate_fsc(run, 3, coarse | True) < 0.9
    assert replicate_fsc(run, 3, coarse & False) == TYPICAL_REPLICATES  # images determine no shell
