"""Intervals and tests, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from satkit import stats

FIRST, SECOND = [94.0, 96.0, 92.0, 95.0], [90.0, 93.0, 91.0, 91.0]


def hits(both, only_first, only_second, neither):
    """Two arrays of hits with so many images of each kind."""
    counts = [both, only_first, only_second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


def test_intervals_are_scipy_s():
    one = stats.t_interval(FIRST)
    expected = reference.ttest_1samp(FIRST, 0).confidence_interval()
    assert one[:3] == pytest.approx((94.25, *expected))
    pair = stats.paired_interval(FIRST, SECOND, confidence=0.9)
    assert pair[1:3] == pytest.approx(reference.ttest_rel(FIRST, SECOND).confidence_interval(0.9))
    welch = stats.welch_interval(FIRST, SECOND[:3])
    expected = reference.ttest_ind(FIRST, SECOND[:3], equal_var=False).confidence_interval()
    assert welch[1:3] == pytest.approx(tuple(expected))
    assert (pair.kind, welch.kind, welch.n) == ("paired", "Welch", 3)


def test_by_hand():
    interval = stats.t_interval([1.0, 2.0, 3.0])  # t = 4.3027 for two degrees of freedom
    assert interval.high - interval.mean == pytest.approx(4.3027 / 3**0.5, abs=1e-4)


def test_one_seed_has_no_ends_and_equal_seeds_no_width():
    assert np.isnan(stats.t_interval([5.0])[1:4]).all()
    assert np.isnan(stats.welch_interval([5.0], [1.0, 2.0]).low)
    assert stats.welch_interval([5.0, 5.0], [1.0, 1.0])[:3] == (4.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        stats.t_interval([])
    with pytest.raises(ValueError, match="1 and 2 values"):
        stats.paired_interval([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("effect", "deviation"), [(1.0, 1.0), (0.5, 2.0), (-3.0, 1.0)])
def test_seeds_needed_is_the_smallest_number_that_suffices(effect, deviation):
    n = int(stats.seeds_needed(effect, deviation))
    half = [reference.t.ppf(0.975, k - 1) * deviation / k**0.5 for k in (n - 1, n) if k > 1]
    assert half[-1] < abs(effect)
    assert n == 2 or half[0] >= abs(effect)


def test_seeds_needed_at_the_ends():
    assert stats.seeds_needed(0.0, 1.0) == np.inf
    assert stats.seeds_needed(1.0, 0.0) == 2
    assert np.isnan(stats.seeds_needed(1.0, np.nan))


def test_bootstrap_over_images_is_that_of_drawn_images():
    first, second = hits(40, 25, 10, 25)
    found = stats.bootstrap_difference(first, second)
    assert (found.mean, found.n) == (pytest.approx(15.0), 100)
    drawn = reference.bootstrap(
        (first.astype(float), second.astype(float)),
        lambda a, b, axis: 100 * (a.mean(axis) - b.mean(axis)),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found[1:3] == pytest.approx((drawn.low, drawn.high), abs=1.01)  # one image is a point
    assert stats.bootstrap_difference(first, second) == found
    assert stats.bootstrap_difference(second, first).mean == pytest.approx(-15.0)


def test_mcnemar_counts_the_images_that_tell_apart():
    found = stats.mcnemar(*hits(40, 6, 1, 53))
    assert found[:2] == (6, 1)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # 0 or 1 of 7 coins, two-sided
    assert stats.mcnemar(*hits(5, 0, 0, 5)).p_value == 1.0


def test_hits_are_paired_by_image():
    first = pd.DataFrame({"path": ["a", "b", "c"], "iou": [0.5, 0.49, 0.9]})
    second = pd.DataFrame({"path": ["c", "a", "b"], "iou": [0.1, 0.2, 0.6]})
    one, two = stats.paired_hits(first, second)
    assert (one.tolist(), two.tolist()) == ([True, False, True], [False, True, False])
    with pytest.raises(ValueError, match="1 images are in one of the two only, such as 'c'"):
        stats.paired_hits(first, second[1:])
    with pytest.raises(ValueError, match="image 'a' is there twice"):
        stats.paired_hits(first, pd.concat([second, second[1:2]]))
    with pytest.raises(ValueError, match="2 and 3 images"):
        stats.mcnemar(one[1:], two)


def test_median_iou_is_that_of_correct_boxes():
    table = pd.DataFrame({"iou": [0.1, 0.5, 0.7, 0.9, 0.49]})
    assert stats.median_iou(table) == pytest.approx(70.0)
    assert np.isnan(stats.median_iou(table[:1]))
