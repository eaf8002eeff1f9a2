"""A run on images of one's own: names of all sorts, and what reruns when an image changes."""

import os
import re

import numpy as np
import pandas
import pytest
from astropy.io import fits

from skyloom import store
from tests.conftest import snakemake, workplace

pytestmark = pytest.mark.timeout(600)
NAMES = ("plain", "a b", "{shard}", "12:30", "é\u2013", "it's", "$HOME", "%s *")
CONFIG = """run: own
archive: local
local: {images: "my list's/manifest.csv", n_shards: 2}
stamps: {size: 25, packed: [25], max_failed_fraction: 0.5}
morphology: {sersic: false}
models: {}
"""


def write(path, peak):
    y, x = np.mgrid[:41, :41] - 20.0
    noise = np.random.default_rng(1).normal(0, 1, (41, 41))
    fits.writeto(path, (peak * np.exp(-np.hypot(x, y) / 3) + noise).astype(np.float32), overwrite=True)


def stale(folder, *more) -> list[str]:
    """Rules and shards that a call would run."""
    done = snakemake(folder, "-n", "--cores", "1", "cutouts", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    return re.findall(r"output: results/own/cutouts/local/(\S+)\.h5", done.stdout + done.stderr)


def test_edited_images_rerun_the_stamps_of_their_shard(tmp_path):
    folder = workplace(tmp_path / "work")
    place = folder / "my list's"
    place.mkdir()
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    for name in NAMES:
        write(place / f"{name}.fits", 500)
        fits.writeto(place / f"{name}.var.fits", np.ones((41, 41), np.float32))
    rows = [{"object_id": k + 1, "band": "r", "path": f"{name}.fits", "variance_path": f"{name}.var.fits", "zero_point": 27.0,
             "x": 20, "y": 20} for k, name in enumerate(NAMES)]
    pandas.DataFrame([*rows, {"object_id": 9, "band": "r", "path": "gone.fits", "x": 20, "y": 20}]).to_csv(
        place / "manifest.csv", index=False)
    done = snakemake(folder, "--cores", "2", "cutouts")
    assert done.returncode == 0, done.stderr[-4000:]
    home = {}
    for shard in ("h2_0", "h2_1"):
        with store.reading(folder / f"results/own/cutouts/local/{shard}.h5") as handle:
            home |= dict.fromkeys(store.column(handle, "object_id").tolist(), shard)
            assert [k for k, status in zip(store.column(handle, "object_id"), handle["status"][:, 0], strict=True)
                    if status] == ([9] if home.get(9) == shard else [])
    assert stale(folder) == []
    for path in place.glob("*.fits"):
        path.touch()
    assert stale(folder) == []
    for number in (3, 5):  # braces aren't wildcards; an image, then a variance that gets its old time back
        path = place / f"{NAMES[number - 1]}{'.var' if number == 5 else ''}.fits"
        stat, body = path.stat(), path.read_bytes()
        write(path, 5000) if number == 3 else fits.writeto(path, np.full((41, 41), 2.0, np.float32), overwrite=True)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert stale(folder) == [home[number]], path
        path.write_bytes(body)
    assert stale(folder) == []
    (place / "manifest.csv").write_text("no,manifest\n", encoding="utf-8")
    done = snakemake(folder, "-n", "--cores", "1", "plan")  # parsing doesn't look into it; the verb that does says what is wrong
    assert done.returncode == 0 and "query" in done.stdout + done.stderr, done.stderr[-3000:]
    done = snakemake(folder, "--cores", "1", "plan")
    assert done.returncode and "lacks column `object_id`" in done.stdout + done.stderr
