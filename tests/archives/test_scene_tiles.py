"""Scenes fetched from the emulated HSC archive, and what their labels say of the pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from skyloom import config, store
from skyloom.errors import InputError, ServiceError
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import hsc
from skyloom.verbs import common, fetch_scenes, label_scenes, query_objects

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = {"seed": 4, "footprint": [150.0, 150.1, 2.0, 2.1], "hole_rate": 0.0, "gap_rate": 0.0, "reddening": 0.0, "deep": True}
SKY = common.embedded_sky(EMBEDDED)
PARTS = {"testing": [150.03, 150.041, 2.03, 2.041]}
SETTINGS = {"run": "x", "release": "pdr2", "rerun": "pdr2_wide", "side": 96, "overlap": 32, "tiles_per_shard": 4, "parts": PARTS,
            "psf_size": 21, "max_failed_fraction": 0.05, "identity": "this sky"}
LABELS = {"run": "x", "release": "pdr2", "labels": "truth", "least_snr": 5.0, "star_redshifts": False, "match_arcsec": 1.0,
          "identity": "this sky", "embedded": EMBEDDED}


def services(monkeypatch, server):
    """Services as the workflow names them, at a server of ours."""
    from skyloom import acquisition

    whole = config.complete({"run": "x", "archive": "embedded", "embedded": EMBEDDED, "services": {
        "hsc": {**hsc.urls(server.url), "rpm": 60000, "wait_initial_s": 0.01, "poll_s": 0.01, "attempts": 2}}})
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps(acquisition.services(whole)))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder, server) with one shard of tiles and its labels by the truth."""
    folder = tmp_path_factory.mktemp("scenes")
    with pytest.MonkeyPatch.context() as patch, hsc.server(SKY).running() as server:
        services(patch, server)
        fetch_scenes.fetch(SETTINGS, "hsc", "testing_000", folder / "c.sqlite", 60000, folder / "tiles.h5")
        label(folder, "truth")
        yield folder, server


def label(folder, name, settings=LABELS, **more):
    from types import SimpleNamespace

    label_scenes.run(SimpleNamespace(**{"settings": settings, "scenes": str(folder / "tiles.h5"), "objects": "", "specz": "",
                                        "labels": folder / f"{name}.h5", "table": folder / f"{name}.parquet",
                                        "truth": str(folder / f"{name}_truth.parquet"), **more}))


def model(rows, k, side):
    """The weighted sum of a tile's stamps and the rest."""
    out = rows["rest"][k].copy()
    for j in np.flatnonzero(rows["tile"] == k):
        x, y, w, h, at = (rows[f"stamp_{name}"][j] for name in ("x0", "y0", "w", "h", "offset"))
        out[y:y + h, x:x + w] += rows["stamp_values"][at:at + w * h].reshape(h, w)
    return out


def arrays(path):
    with store.reading(path) as handle:
        return {name: handle[name][:] for name in handle}, dict(handle.attrs)


def test_tiles_and_truth_are_of_one_sky(world):
    """What is left of a tile without its truth is the noise of its ivar, in every tile."""
    (tiles, about), (rows, told) = (arrays(world[0] / name) for name in ("tiles.h5", "truth.h5"))
    assert (tiles["status"] == 0).all() and about["unit"] == "nJy" and about["bands"] == "g,r,i,z,y"
    for k in range(len(tiles["tile_id"])):
        good = (tiles["ivar"][k] > 0).all(axis=0)
        left = np.einsum("byx,b->yx", tiles["image"][k], told["weights"]) - model(rows, k, 96)
        expected = np.sqrt((told["weights"][:, None] ** 2 / tiles["ivar"][k][:, good]).sum(axis=0))
        assert (left[good] / expected).std() == pytest.approx(1, abs=0.03)
        assert abs((left[good] / expected).mean()) < 0.1
    assert tiles["psf"].sum(axis=(2, 3)) == pytest.approx(1) and (abs(tiles["psf_fwhm"] - 0.7) < 0.15).all()


def test_neighbours_share_a_grid_and_own_each_source_once(world):
    tiles, _ = arrays(world[0] / "tiles.h5")
    first = np.rint(1 - tiles["crpix"]).astype(int)
    assert len(np.unique(tiles["crval"], axis=0)) == 1 and set(np.diff(np.unique(first[:, 0]))) == {64}
    a = next(k for k in range(1, len(first)) if abs(first[k] - first[0]).tolist() in ([64, 0], [0, 64]))
    low, high = np.maximum(first[0], first[a]), np.minimum(first[0], first[a]) + 96
    one, two = (tiles["image"][k, :, low[1] - first[k, 1]:high[1] - first[k, 1], low[0] - first[k, 0]:high[0] - first[k, 0]]
                for k in (0, a))
    assert one.size and np.array_equal(one, two)
    table = store.read_parquet(world[0] / "truth.parquet")
    rows, _ = arrays(world[0] / "truth.h5")
    assert table["label_id"].is_unique and len(rows["label_id"]) > len(table) > 5
    for row in table.itertuples():
        x, y = row.x - 16, row.y - 16
        assert -0.5 <= x < 63.5 and -0.5 <= y < 63.5
    assert (table["i_snr"] > 0).all() and table["redshift"][table["is_star"] == 1].isna().all()


def test_a_second_fetch_asks_for_nothing_and_gives_the_same_bytes(world, tmp_path, monkeypatch):
    folder, server = world
    monkeypatch.setenv("SKYLOOM_SERVICES", "{}")  # nobody to ask
    fetch_scenes.fetch(SETTINGS, "hsc", "testing_000", folder / "c.sqlite", 60000, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (folder / "tiles.h5").read_bytes()
    with pytest.raises(InputError, match="is from this sky, not another"):
        fetch_scenes.fetch(SETTINGS | {"identity": "another"}, "hsc", "testing_000", folder / "c.sqlite", 6000, tmp_path / "x.h5")


def test_labels_of_another_sky_are_refused(world):
    with pytest.raises(InputError, match="whose truth is another"):
        label(world[0], "other", LABELS | {"identity": "another sky"})
    assert not (world[0] / "other.h5").exists()


def test_labels_by_the_catalog(world, monkeypatch):
    """The archive's objects stand on the truth's places, with its light; redshifts come by position."""
    from types import SimpleNamespace

    import pandas

    folder, server = world
    services(monkeypatch, server)
    region = [150.02, 150.05, 2.02, 2.05]
    query_objects.run(SimpleNamespace(settings=SETTINGS | {"region": region}, survey="hsc", rpm=60000,
                                      template=ROOT / "resources/sql/hsc_objects.sql", out=folder / "objects.parquet"))
    found, truth = store.read_parquet(folder / "objects.parquet"), store.read_parquet(folder / "truth.parquet")
    brightest = truth[truth["is_star"] == 0].nlargest(1, "i_flux")
    specz = pandas.DataFrame({"ra": brightest["ra"], "dec": brightest["dec"], "specz_redshift": 0.25})
    store.write_parquet(folder / "specz.parquet", specz)
    label(folder, "catalog", LABELS | {"labels": "catalog"}, objects=str(folder / "objects.parquet"),
          specz=str(folder / "specz.parquet"))
    table, (rows, told) = store.read_parquet(folder / "catalog.parquet"), arrays(folder / "catalog.h5")
    pandas.testing.assert_frame_equal(store.read_parquet(folder / "catalog_truth.parquet"), truth)
    assert set(table["label_id"]) <= set(found["object_id"]) and (table["redshift"] == 0.25).sum() == 1
    apart = np.hypot(*(table[axis].to_numpy()[:, None] - truth[axis].to_numpy() for axis in "xy"))
    apart[table["tile_id"].to_numpy()[:, None] != truth["tile_id"].to_numpy()] = 99
    seen = truth.iloc[apart.argmin(axis=1)]
    assert (apart.min(axis=1) < 1.5).mean() > 0.9
    ratio = table["i_flux"].to_numpy() / seen["i_flux"].to_numpy()
    assert np.median(ratio[seen["i_snr"] > 20]) == pytest.approx(1, abs=0.1)
    truly, _ = arrays(folder / "truth.h5")
    assert rows["stamp_values"].sum() == pytest.approx(truly["stamp_values"].sum(), rel=0.2)
    assert rows.keys() == truly.keys() and told["labels"] == "catalog"


def test_a_part_outside_the_survey_is_no_coverage_without_labels(world, tmp_path, monkeypatch):
    services(monkeypatch, world[1])
    parts = {"testing": [151.03, 151.041, 2.03, 2.041]}
    fetch_scenes.fetch(SETTINGS | {"parts": parts, "tiles_per_shard": 1}, "hsc", "testing_000", tmp_path / "c.sqlite", 60000,
                       tmp_path / "tiles.h5")
    label(tmp_path, "truth")
    tiles, about = arrays(tmp_path / "tiles.h5")
    rows, _ = arrays(tmp_path / "truth.h5")
    assert (tiles["status"] == about["status_names"].split(",").index("no_coverage")).all() and np.isfinite(tiles["crval"]).all()
    assert not tiles["image"].any() and not len(rows["label_id"]) and not len(store.read_parquet(tmp_path / "truth.parquet"))


def test_a_dead_service_leaves_no_file(tmp_path, monkeypatch):
    faults = [{"service": "hsc", "endpoint": "cutout", "kind": "500", "every": 1}]
    with hsc.server(Sky(), faults=faults).running() as server:
        services(monkeypatch, server)
        with pytest.raises(ServiceError, match="didn't tell where"):
            fetch_scenes.fetch(SETTINGS, "hsc", "testing_000", tmp_path / "c.sqlite", 60000, tmp_path / "tiles.h5")
    assert not (tmp_path / "tiles.h5").exists()
