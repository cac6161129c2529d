"""How far volumes can be trusted: what marks say, and what they do not."""

import numpy as np
import pytest
import torch

from scoretomo import files
from scoretomo.compute import random_stream
from scoretomo.fourier import low_pass
from scoretomo.pipeline.reliability import replica_agreement
from scoretomo.reliability.calibration import MOVING, RIGID, TYPICAL_REPLICAS, Expected, Marks, expected, isolation
from scoretomo.rundir.directory import RunDirectory

COUNT = 200


def marks(seed: int = 0, rings: float = 0.92) -> Marks:
    """Of a run in which volumes differ in everything."""
    spread = np.exp(0.4 * np.random.default_rng(seed).normal(size=(3, COUNT)))
    return Marks(1 - 0.01 * spread[0], 1 - 0.001 * spread[1], spread[2], rings, 0.999, 1.0)


def worse(one: Marks, field: str, factor: float) -> Expected:
    """The same if a mark of the first volume were worse."""
    values = getattr(one, field).copy()
    values[0] = values[0] * factor if field == "isolation" else 1 - (1 - values[0]) * factor
    return expected(one._replace(**{field: values}), MOVING)


@pytest.mark.parametrize("field", ["replicas", "fit", "isolation"])
def test_each_mark_lowers_what_is_expected_of_its_volume_alone(field):
    before, after = expected(marks(), MOVING), worse(marks(), field, 8.0)
    assert after.fsc[0] < before.fsc[0] - 0.005
    np.testing.assert_array_equal(after.fsc[1:], before.fsc[1:])


def test_worse_images_lower_what_is_expected_of_all_volumes():
    assert (expected(marks(rings=0.6), MOVING).fsc < expected(marks(rings=0.92), MOVING).fsc).all()


def test_volumes_of_a_rigid_molecule_are_expected_to_be_alike():
    found, worse_images = expected(marks(), RIGID), expected(marks(rings=0.6), RIGID)
    assert np.ptp(found.fsc) == 0
    assert worse_images.fsc[0] < found.fsc[0] - 0.1
    assert found.low[0] < found.fsc[0] < found.high[0]


def test_one_volume_is_judged_as_beside_others():
    all_of_them = expected(marks(), MOVING)
    worst = int(all_of_them.fsc.argmin())
    alone = marks()._replace(**{name: getattr(marks(), name)[[worst]] for name in ("replicas", "fit", "isolation")})
    assert expected(alone, MOVING).fsc[0] == pytest.approx(all_of_them.fsc[worst])


def test_words_follow_the_numbers():
    numbers = np.array([0.9, 0.75, 0.4])
    none = np.zeros(3)
    found = Expected(numbers, numbers - 0.1, numbers + 0.05, none, none, none)
    assert [found.word(place) for place in range(3)] == ["trust", "with care", "do not"]


def test_a_volume_of_an_odd_image_is_not_trusted_and_says_why():
    numbers, none, odd = np.full(2, 0.95), np.zeros(2), np.array([0.15, 0.0])
    found = Expected(numbers, numbers - 0.03, numbers + 0.02, none, odd, odd)
    assert [found.word(place) for place in range(2)] == ["with care", "trust"]
    assert found.reason(0) == "the model explains its image less well than others"
    assert found.reason(1) == "its marks are good"


def test_the_reason_is_the_mark_that_tells_most():
    assert "replicas differ" in worse(marks(), "replicas", 30.0).reason(0)
    assert "explains its image less" in worse(marks(), "fit", 1e5).reason(0)
    assert "few images" in worse(marks(), "isolation", 1e3).reason(0)


def test_a_conformation_far_from_all_others_is_isolated():
    places = np.random.default_rng(0).normal(size=(60, 3))
    places[7] = 9.0
    far = isolation(places)
    assert far.argmax() == 7
    np.testing.assert_allclose(isolation(5 * places), far, rtol=1e-3)


def test_replicas_are_asked_in_the_shells_that_images_tell_of(tmp_path):
    volume, noise = torch.randn(2, 16, 16, 16, generator=random_stream(1, "maps"))
    run = RunDirectory(tmp_path)
    for path, density in ((run.volume(3), volume), (run.difference(3), 0.5 * (noise - low_pass(noise, 4.0, 3, width=0.1)))):
        path.parent.mkdir()
        files.write_map(path, density.numpy(), None)
    coarse = torch.arange(9) <= 3
    assert replica_agreement(run, 3, coarse) == pytest.approx(1, abs=1e-4)
    assert replica_agreement(run, 3, coarse | True) < 0.9
    assert replica_agreement(run, 3, coarse & False) == TYPICAL_REPLICAS  # where images tell of nothing
