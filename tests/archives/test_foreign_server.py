"""Somebody else's server behind the same protocols: its address in the config is all it takes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from tests.archives import foreign

OPTIONS = {"rpm": 6000, "streams": 2, "timeout_s": 20, "attempts": 2, "total_s": 60, "contact": "", "wait_initial_s": 0.1}
SETTINGS = {"run": "t", "release": "", "psf_size": 15, "max_masked_fraction": 0.05, "max_nan_fraction": 0.01,
            "max_failed_fraction": 0.0, "ivar_source": "estimated", "identity": "foreign"}


@pytest.fixture(scope="module")
def address():
    with subprocess.Popen([sys.executable, str(Path(foreign.__file__))], stdout=subprocess.PIPE, text=True) as server:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


@pytest.mark.parametrize(("survey", "size", "zero_points", "values"), [
    ("ps1", 40, [25 + 2.5 * np.log10(foreign.EXPTIME)] * 5, list(foreign.COUNTS.values())),
    ("galex", 32, [20.08, 18.82], foreign.GALEX), ("unwise", 32, [25.199, 25.839], foreign.UNWISE)])
def test_its_pixels_arrive_in_njy(address, tmp_path, monkeypatch, survey, size, zero_points, values):
    services = {"archive": "live", "ps1": OPTIONS | {"filenames_url": address + "/list", "fitscut_url": address + "/cut"},
                "viewer": OPTIONS | {"url": address + "/view"}}
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps(services))
    members = pandas.DataFrame({"object_id": [1, 2], "ra": [150.1234567891, 359.9999], "dec": [2.2, -10.5]})
    store.write_parquet(tmp_path / "members.parquet", members)
    out = tmp_path / "out.h5"
    code = main(["download-cutouts", str(tmp_path / "members.parquet"), "--settings", json.dumps(SETTINGS | {"size": size}),
                 "--survey", survey, "--cache", str(tmp_path / "c.sqlite"), "--rpm", "6000", "--out", str(out)])
    assert code == 0
    with h5py.File(out) as handle:
        assert (handle["status"][:] == 0).all()
        assert handle["zero_point"][0].tolist() == pytest.approx(zero_points)
        expected = np.array(values) * 10 ** (0.4 * (31.4 - np.array(zero_points)))
        assert handle["image"][:].mean(axis=(2, 3)) == pytest.approx(np.tile(expected, (2, 1)), rel=1e-3)
        assert (handle["ivar"][:] > 0).all() and handle.attrs["unit"] == "nJy"


def test_the_foreign_server_knows_nothing_of_ours():
    assert "skyloom" not in {line.split()[1].split(".")[0] for line in Path(foreign.__file__).read_text().splitlines()
                             if line.startswith(("import", "from"))}
