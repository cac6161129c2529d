"""How far volumes can be trusted: what marks say, and what they do not."""

import numpy as np
import pytest

from scoretomo.landscape.reliability import CALIBRATION, Expected, Marks, expected, isolation

COUNT = 200


def marks(seed: int = 0) -> Marks:
    """Of a run in which volumes differ in everything."""
    draw = np.random.default_rng(seed)
    return Marks(
        1 - 0.01 * np.exp(0.4 * draw.normal(size=COUNT)),
        1 - 0.001 * np.exp(0.4 * draw.normal(size=COUNT)),
        1 - 0.08 * np.exp(0.4 * draw.normal(size=COUNT)),
        np.exp(0.4 * draw.normal(size=COUNT)),
    )


def worse(one: Marks, field: str, factor: float) -> Expected:
    """The same if a mark of the first volume were worse."""
    values = getattr(one, field).copy()
    values[0] = values[0] * factor if field == "isolation" else 1 - (1 - values[0]) * factor
    return expected(one._replace(**{field: values}))


@pytest.mark.parametrize("field", ["replicas", "fit", "isolation"])
def test_each_mark_lowers_what_is_expected_of_its_volume_alone(field):
    before, after = expected(marks()), worse(marks(), field, 8.0)
    assert after.fsc[0] < before.fsc[0] - 0.005
    np.testing.assert_allclose(after.fsc[1:], before.fsc[1:], atol=2e-3)


def test_worse_images_lower_what_is_expected_of_all_volumes():
    good, poor = marks(), marks()._replace(rings=1 - 4 * (1 - marks().rings))
    assert (expected(poor).fsc < expected(good).fsc).all()


def test_the_interval_holds_as_many_volumes_as_it_says():
    """Truths that are as the calibration says: right, and as spread as it says."""
    found = expected(marks())
    spread = np.random.default_rng(1).uniform(size=COUNT)
    width = (CALIBRATION.high - CALIBRATION.low) / 0.8
    truth = 1 - (1 - found.fsc) * np.exp(CALIBRATION.low - 0.1 * width + width * spread)
    assert 0.75 < np.mean((truth >= found.low) & (truth <= found.high)) < 0.85


def test_words_follow_the_numbers():
    numbers = np.array([0.9, 0.75, 0.4])
    none = np.zeros(3)
    found = Expected(numbers, numbers - 0.1, numbers + 0.05, none, none, none)
    assert [found.word(place) for place in range(3)] == ["trust", "with care", "do not"]


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
