"""Detection and its failures."""

import numpy as np
import pytest
import sep

from skyloom.measure import morphology, sources

OPTIONS = {"detect_thresh": 3.0, "analysis_thresh": 1.5, "minarea": 5, "deblend_nthresh": 32, "deblend_cont": 0.005,
           "back_size": 64, "back_filtersize": 3, "clean_param": 1.0, "surface_brightness": "calibrated", "sersic": False,
           "sersic_size": 48}
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)


@pytest.fixture
def stamp():
    """A round Gaussian source in white noise, 64 px."""
    y, x = np.mgrid[:64, :64] - 31.5
    noise = np.random.default_rng(3).normal(size=(64, 64))
    return (100 * np.exp(-(x**2 + y**2) / 18) + noise).astype(np.float32)


@pytest.fixture
def small_buffer():
    """sep with a pixel buffer that the source overflows."""
    before = sep.get_extract_pixstack()
    sep.set_extract_pixstack(100)
    yield
    sep.set_extract_pixstack(before)


def test_a_detection_that_overflows_is_flagged_and_the_stamp_kept(stamp, small_buffer):
    columns, flags, found = sources.measure(stamp, np.zeros(stamp.shape, bool), OPTIONS, KERNEL, 31.4, 0.168)
    assert flags == sources.FLAGS["extraction_failed"] and found is None
    assert set(columns) == set(sources.COLUMNS) and np.isnan(list(columns.values())).all()


def test_the_other_objects_of_a_shard_go_on_after_an_overflow(stamp, small_buffer):
    faint = np.random.default_rng(4).normal(size=stamp.shape).astype(np.float32)
    ones, psf, ok = np.ones((1, 64, 64), np.float32), np.full((1, 9, 9), 1 / 81), np.array([True])
    stamps = [(image[None], ones, np.zeros((1, 64, 64), bool), psf, ok) for image in (stamp, faint)]
    table = morphology.measure_stamps(stamps, OPTIONS, KERNEL, 0.168)
    assert table["morphology_flags"][:, 0].tolist() == [sources.FLAGS["extraction_failed"], sources.FLAGS["no_source"]]
    assert np.isnan(table["ellipticity"][0, 0]) and table["total_galaxies"][1, 0] == 0


def test_other_errors_of_the_detection_are_not_swallowed(stamp, monkeypatch):
    def broken(*_, **__):
        raise Exception("input array must be 2-d")

    monkeypatch.setattr(sep, "extract", broken)
    with pytest.raises(Exception, match="2-d"):
        sources.measure(stamp, np.zeros(stamp.shape, bool), OPTIONS, KERNEL, 31.4, 0.168)


@pytest.mark.parametrize("theta", [np.float32(np.pi / 2), np.float32(-np.pi / 2), np.float32(0.3)])
def test_an_upright_galaxy_has_a_shape(theta):
    """sep's theta is float32, whose pi / 2 its own apertures refuse: the case of one galaxy in some ten thousand."""
    y, x = np.mgrid[:64, :64] - 31.5
    image = (100 * np.exp(-0.5 * (x**2 / 4 + y**2 / 25))).astype(np.float32)
    found = sources.detect(image + np.random.default_rng(1).normal(size=image.shape).astype(np.float32), np.zeros((64, 64), bool),
                           OPTIONS, KERNEL)
    k = found.target()
    found.catalog["theta"][k] = theta
    shape = sources.shape(found, k, 1.5)
    assert shape["half_light_radius"] > 2 and np.isfinite(list(shape.values())).all()


def test_b_above_a_by_a_rounding_error_is_a_circle(stamp):
    found = sources.detect(stamp, np.zeros(stamp.shape, bool), OPTIONS, KERNEL)
    k = found.target()
    found.catalog["b"][k] = np.nextafter(np.float32(found.catalog["a"][k]), np.float32(99))
    assert sources.shape(found, k, 1.5)["ellipticity"] == 0
