"""Locks, atomic files, flux and WCS."""

import errno
import multiprocessing
import time

import h5py
import numpy as np
import pandas
import pytest

from skyloom import flux, locks, store, wcs
from skyloom.errors import InputError, ReplyError


def hold(path, kind, ready, seconds):
    context = locks.run_lock(path) if kind == "run" else locks.job_lock(str(path))
    with context:
        ready.set()
        time.sleep(seconds)


@pytest.fixture()
def holder():
    """Start a process that holds a lock."""
    started = []

    def start(path, kind, seconds=30):
        ready = multiprocessing.get_context("spawn").Event()
        process = multiprocessing.get_context("spawn").Process(target=hold, args=(path, kind, ready, seconds))
        process.start()
        assert ready.wait(30)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def test_a_second_run_is_told_the_pid_and_a_killed_one_leaves_no_lock(tmp_path, holder):
    process = holder(tmp_path / "lock", "run")
    with pytest.raises(InputError, match=str(process.pid)), locks.run_lock(tmp_path / "lock"):
        pass
    process.kill()
    process.join()
    with locks.run_lock(tmp_path / "lock"):
        pass


def test_a_run_waits_for_orphaned_jobs(tmp_path, holder):
    path = tmp_path / "jobs"
    process = holder(path, "job")
    with pytest.raises(InputError, match="still alive"):
        locks.wait_for_jobs(path, 0.3, tell=lambda text: None)
    with locks.job_lock(str(path)):  # jobs don't exclude each other
        pass
    process.kill()
    process.join()
    locks.wait_for_jobs(path, 5, tell=lambda text: None)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    store.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError), store.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_corrupt_files_are_one_sentence(tmp_path):
    for name, read in (("a.h5", lambda p: store.columns(p)), ("a.parquet", store.read_parquet)):
        (tmp_path / name).write_bytes(b"rubbish" * 100)
        with pytest.raises(InputError, match="delete it and rerun"):
            read(tmp_path / name)


def test_tables_keep_types_and_metadata(tmp_path):
    frame = pandas.DataFrame({"object_id": np.array([2**62 + 1], np.int64), "name": ["x"], "z": [np.nan]})
    store.write_parquet(tmp_path / "t.parquet", frame, {"release": "pdr2"})
    assert store.read_parquet(tmp_path / "t.parquet").object_id[0] == 2**62 + 1
    assert store.parquet_meta(tmp_path / "t.parquet") == {"release": "pdr2"}
    store.write_columns(tmp_path / "t.h5", {"object_id": frame.object_id.to_numpy(), "name": frame.name.to_numpy()}, {"k": 1})
    assert store.columns(tmp_path / "t.h5")["name"][0] == "x" and store.attributes(tmp_path / "t.h5") == {"k": 1}
    with pytest.raises(InputError, match="no dataset `z`"):
        store.columns(tmp_path / "t.h5", ["z"])


def test_hdf5_bytes_repeat(tmp_path):
    for name in ("a", "b"):
        with store.writing(tmp_path / name, {"m": 1}) as handle:
            store.create(handle, "image", (3, 2, 4, 4), "f4")[...] = 1
            store.put(handle, "id", np.arange(3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with h5py.File(tmp_path / "a") as handle:
        assert handle["image"].chunks == (1, 2, 4, 4)


def test_calibration_closed_form():
    # one count at zero point 27 is 10^(0.4 * 4.4) nJy; HSC's documentation says 57.5
    assert flux.njy_per_count(27.0) == pytest.approx(57.544, abs=1e-3)
    image, ivar = flux.calibrate([1.0, 2.0, np.nan, 1.0, 1.0], [4.0, 4.0, 4.0, 0.0, np.inf], 27.0)
    assert image[:2] == pytest.approx([57.544, 115.088], rel=1e-5)
    assert ivar[:2] == pytest.approx(1 / (4 * 57.544**2), rel=1e-4)
    assert not image[2:].any() and not ivar[2:].any()
    assert flux.magnitude(1.0) == pytest.approx(31.4)
    assert np.isnan(flux.magnitude([-1.0, 0.0])).all()


def test_robust_ivar_sees_the_noise_not_the_source():
    image = np.random.default_rng(0).normal(0, 2, (200, 200))
    image[:10, :10] += 1e4
    assert flux.robust_ivar(image)[0, 0] == pytest.approx(0.25, rel=0.03)


def test_tan_pixel_agrees_with_astropy():
    from astropy.io.fits import Header

    header = Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.75, "CRVAL2": 2.25, "CRPIX1": 100.0,
                     "CRPIX2": -30.0, "CD1_1": -4.6e-5, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": 4.7e-5, "NAXIS": 2})
    mine = wcs.tan_pixel((150.75, 2.25), (100.0, -30.0), [[-4.6e-5, 1e-6], [2e-6, 4.7e-5]], 150.5, 2.4)
    assert mine == pytest.approx(wcs.target_pixel(header, 150.5, 2.4), abs=1e-6)


def test_crops_are_centred_and_refuse_what_does_not_fit():
    assert wcs.centre_crop(66.3, 65.8, (132, 132), 127) == (slice(3, 130), slice(3, 130))
    even = wcs.centre_crop(32.0, 32.0, (65, 65), 64)
    assert (even[0].start + even[0].stop - 1) / 2 == pytest.approx(32, abs=0.51)
    for position, cause in (((10, 66), "too_small"), ((200, 66), "off_centre")):
        with pytest.raises(ReplyError) as error:
            wcs.centre_crop(*position, (132, 132), 127)
        assert error.value.cause == cause


def test_a_wrong_pixel_scale_is_a_named_failure():
    wcs.check_scale([[-0.168 / 3600, 0], [0, 0.168 / 3600]], 0.168)
    with pytest.raises(ReplyError) as error:
        wcs.check_scale([[-1.5 / 3600, 0], [0, 1.5 / 3600]], 2.75)
    assert error.value.cause == "wrong_scale"
