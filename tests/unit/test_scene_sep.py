"""The classical chain on tiles, and the verbs that tune it, run it and judge it, on files by the contract."""

import json

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.measure import scene, stars

SIDE, SIGMA, SCALE, BANDS = 128, 1.0, 0.2, ["g", "i"]
ROW, COLUMN = np.mgrid[:SIDE, :SIDE]


def blob(x, y, flux, width=1.6):
    return flux * np.exp(-0.5 * ((COLUMN - x) ** 2 + (ROW - y) ** 2) / width**2) / (2 * np.pi * width**2)


def tile(sources, seed=0, number=7, **more):
    """Gaussians (x, y, flux of g, flux of i, width) in white noise of 1 nJy."""
    light = np.zeros((2, SIDE, SIDE))
    for x, y, g, i, width in sources:
        light += [blob(x, y, g, width), blob(x, y, i, width)]
    image = light + SIGMA * np.random.default_rng(seed).standard_normal(light.shape)
    k = np.arange(-10, 11)
    psf = np.exp(-0.5 * (k[:, None] ** 2 + k**2) / 1.6**2)
    return {"image": image.astype("f4"), "ivar": np.ones((2, SIDE, SIDE), "f4"), "mask": np.zeros((2, SIDE, SIDE), bool),
            "psf": np.stack([psf / psf.sum()] * 2), "ok": np.ones(2, bool), "bands": BANDS, "pixel_scale": SCALE,
            "tile_id": number, "crval": np.array([10.0, 20.0]), "crpix": np.array([SIDE / 2 + 0.5] * 2),
            "cd": np.array([[-SCALE / 3600, 0], [0, SCALE / 3600]]), "core": np.array([8, SIDE - 8, 8, SIDE - 8])} | more


def test_a_lone_source_is_measured_as_it_was_made():
    one = scene.detected(tile([(60.3, 40.6, 2000, 4000, 3.0)]))
    k = int(np.argmax(one["snr"]))
    assert abs(one["x"][k] - 60.3) < 0.1 and abs(one["y"][k] - 40.6) < 0.1
    assert one["ra"][k] < 10.001 and abs(one["dec"][k] - 20 - (40.6 - 63.5) * SCALE / 3600) < 1e-5
    assert abs(one["i_flux"][k] / 4000 - 1) < 0.06 and abs(one["g_flux"][k] / 2000 - 1) < 0.08
    assert abs(one["half_light_radius"][k] / (1.1774 * 3 * SCALE) - 1) < 0.08
    inside = 1 - np.exp(-0.5 * (np.array([0.5, 0.75, 1.0]) / SCALE / 3.0) ** 2)
    assert np.allclose([one[f"i_aper_flux_{n}"][k] for n in (1, 2, 3)], 4000 * inside, rtol=0.03)
    assert one["i_aper_flux_err_3"][k] == pytest.approx(np.sqrt(np.pi * 25), rel=0.02) and one["detect_flags"][k] == 0
    mask, at = one["masks"], np.flatnonzero(one["masks"]["row"] == k)[0]
    x0, y0, w, h, offset = (mask[name][at] for name in ("x0", "y0", "w", "h", "offset"))
    assert mask["bits"][offset:offset + w * h].reshape(h, w)[41 - y0, 60 - x0] == 1


def test_a_neighbour_is_mirrored_away():
    """Two Gaussians 12 px apart: each keeps its own flux, which without care would hold a part of the other's."""
    one = scene.detected(tile([(58, 64, 3000, 3000, 2.5), (70, 64, 9000, 9000, 2.5)]))
    left, right = (int(np.argmin(np.hypot(one["x"] - x, one["y"] - 64))) for x in (58, 70))
    assert left != right and abs(one["i_flux"][left] / 3000 - 1) < 0.12 and abs(one["i_flux"][right] / 9000 - 1) < 0.06


def test_the_core_owns_its_sources_once_and_ids_are_stable():
    there = tile([(20, 64, 3000, 3000, 2), (100, 64, 3000, 3000, 2)])
    west, east = (scene.detected(there | {"core": core}) for core in ((0, 64, 0, SIDE), (64, SIDE, 0, SIDE)))
    both = scene.detected(there | {"core": (0, SIDE, 0, SIDE)})
    assert len(west["x"]) + len(east["x"]) == len(both["x"]) and west["x"].max() < 64 <= east["x"].min() + 0.5
    assert len(set(both["object_id"])) == len(both["x"]) and (both["object_id"] > 0).all()
    assert (scene.detected(there)["object_id"] == scene.detected(there)["object_id"]).all()
    assert not set(both["object_id"]) & set(scene.detected(there | {"tile_id": 8})["object_id"])


def test_empty_masked_and_lacking_bands_are_outcomes():
    bare = tile([])
    assert len(scene.detected(bare, {"threshold": 8.0})["x"]) == 0
    assert len(scene.detected(bare | {"mask": np.ones_like(bare["mask"])})["x"]) == 0
    assert len(scene.detected(bare | {"ok": np.zeros(2, bool)})["x"]) == 0
    nothing = scene.detected(bare, {"threshold": 8.0})
    assert nothing["features"].shape[1] == scene.detected(tile([(64, 64, 3000, 3000, 2)]))["features"].shape[1]
    full = tile([(64, 64, 3000, 3000, 2)])
    one = scene.detected(full | {"ok": np.array([False, True])})
    assert np.isnan(one["g_flux"]).all() and np.isfinite(one["i_flux"]).all() and np.isfinite(one["features"]).all()
    full["image"][:, 70:74, 60:64] = np.nan
    assert np.isfinite(scene.detected(full | {"mask": ~np.isfinite(full["image"])})["i_flux"]).all()


def test_a_dead_column_through_a_source_is_flagged_and_its_flux_kept():
    there = tile([(64, 64, 5000, 5000, 2.5)])
    there["mask"][:, :, 66] = True
    one = scene.detected(there)
    k = int(np.argmin(np.hypot(one["x"] - 64, one["y"] - 64)))
    assert one["detect_flags"][k] & scene.FLAGS["masked"] and abs(one["i_flux"][k] / 5000 - 1) < 0.1


def test_a_faint_piece_beside_a_bright_source_is_suspect():
    assert scene.suspects(np.array([0, 1.0, 9.0]), np.zeros(3), np.array([100, 5, 5]), np.array([1.0, 0.2, np.nan])).tolist() == \
        [False, True, False]


def test_the_perceptron_learns_what_is_not_linear_and_its_gradient_is_right():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((600, 3))
    star = (np.hypot(x[:, 0], x[:, 1]) < 1).astype(float)
    p = stars.p_star(x, stars.fit(x[:400], star[:400]))
    assert ((p > 0.5) == star)[400:].mean() > 0.93
    assert stars.fit(x, np.zeros(600)) is None and np.isnan(stars.p_star(x, None)).all()
    shapes = [(3, 2), (2,), (2, 2), (2,), (2,), (1,)]
    flat = rng.standard_normal(sum(int(np.prod(shape)) for shape in shapes))
    slope = stars._loss(flat, x, star, shapes)[1]
    for k in range(len(flat)):
        step = 1e-5 * (np.arange(len(flat)) == k)
        rise = stars._loss(flat + step, x, star, shapes)[0] - stars._loss(flat - step, x, star, shapes)[0]
        assert slope[k] == pytest.approx(rise / 2e-5, abs=1e-6)


def scenes_of(folder, shard, first, rng):
    """A shard of two tiles of 12 galaxies and stars each on a lattice, with its truth, by the contract."""
    tiles, rows, table, filled = [], [], [], 0
    for k in range(2):
        x, y = (part.ravel() + rng.uniform(-3, 3, 12) for part in np.meshgrid([25, 50, 75, 100], [30, 64, 98]))
        star = np.arange(12) % 3 == 0
        g, i = rng.uniform(300, 3000, (2, 12))
        tiles.append(tile([(*one, 1.6 if s else 2.8) for *one, s in zip(x, y, g, i, star, strict=True)], first + k, first + k))
        for n in range(12):
            stamp = sum(blob(x[n], y[n], f, 1.6 if star[n] else 2.8) for f in (g[n], i[n])).astype("f4")
            rows.append({"tile": k, "label_id": 100 * (first + k) + n, "x": x[n], "y": y[n], "stamp_x0": 0, "stamp_y0": 0,
                         "stamp_w": SIDE, "stamp_h": SIDE, "stamp_offset": filled, "stamp": stamp})
            filled += stamp.size
            ra = 10.0 + (first + k) * 0.1 - (x[n] - 63.5) * SCALE / 3600 / np.cos(np.radians(20))
            dec = 20 + (y[n] - 63.5) * SCALE / 3600
            table.append({"label_id": rows[-1]["label_id"], "ra": ra, "dec": dec, "tile_id": first + k, "x": x[n], "y": y[n],
                          "is_star": int(star[n]), "redshift": 0.0 if star[n] else 0.5, "g_flux": g[n], "i_flux": i[n],
                          "g_snr": g[n] / 6, "i_snr": i[n] / 6, "half_light_radius": 0.0 if star[n] else 0.5, "blendedness": 0.0})
        tiles[-1]["crval"] = np.array([10.0 + (first + k) * 0.1, 20.0])
    meta = {"bands": "g,i", "pixel_scale": SCALE, "unit": "nJy", "survey": "hsc"}
    with store.writing(folder / f"scenes/hsc/{shard}.h5", meta) as handle:
        for name in ("image", "ivar", "psf", "crval", "crpix", "cd", "core"):
            store.put(handle, name, np.stack([one[name] for one in tiles]))
        store.put(handle, "mask", np.zeros((2, 2, SIDE, SIDE), np.uint32))
        store.put(handle, "status", np.zeros((2, 2), np.uint8))
        store.put(handle, "psf_fwhm", np.full((2, 2), 0.75))
        store.put(handle, "tile_id", np.array([first, first + 1]))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "stamp"}
    store.write_columns(folder / f"scenes/labels/{shard}.h5",
                        columns | {"stamp_values": np.concatenate([row["stamp"].ravel() for row in rows])})
    for name in ("labels", "truth"):
        store.write_parquet(folder / f"scenes/{name}/{shard}.parquet", pandas.DataFrame(table))


@pytest.mark.slow
def test_tuned_run_and_judged_by_the_verbs(tmp_path, capsys):
    rng = np.random.default_rng(5)
    for k, part in enumerate(("training", "validation", "testing")):
        scenes_of(tmp_path, f"{part}_000", 10 * k, rng)
    files = {part: str(tmp_path / f"scenes/hsc/{part}_000.h5") for part in ("training", "validation", "testing")}
    labels = {part: str(tmp_path / f"scenes/labels/{part}_000.parquet") for part in files}
    own = {"gold": {"band": "i", "mag": 25.3}, "least_snr": 5.0, "seed": 1, "run": "t"}
    tune = ["tune-sep", "--training", files["training"], "--training-labels", labels["training"], "--validation",
            files["validation"], "--validation-labels", labels["validation"], "--out", str(tmp_path / "tuned.json")]
    narrow = own | {"options": {"threshold": 1.5, "deblend_cont": 1e-3}, "gold": {"band": "i", "mag": 12}}
    assert main([*tune, "--settings", json.dumps(narrow)]) == 2 and "no source of i < 12" in capsys.readouterr().err
    assert main([*tune, "--settings", json.dumps(own | {"options": {"deblend_cont": 1e-3}})]) == 0
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert len(tuned["tried"]) == 3 and tuned["options"]["deblend_cont"] == 1e-3 and tuned["stars"] is None
    for part in ("validation", "testing"):
        for name in ("sep", "net"):
            out = tmp_path / f"detections/{name}/{part}_000.parquet"
            masks = str(out).replace(".parquet", "_masks.h5")
            assert main(["detect-sep", files[part], "--settings", json.dumps(own), "--tuned", str(tmp_path / "tuned.json"),
                         "--out", str(out), "--masks", masks]) == 0
    lost = pandas.read_parquet(out)  # the second detector loses a true source
    truth = pandas.read_parquet(tmp_path / "scenes/truth/testing_000.parquet")
    lost = lost[np.hypot((lost["ra"] - truth["ra"][0]) * 0.94, lost["dec"] - truth["dec"][0]) * 3600 > 1]
    lost.to_parquet(out)
    judge = own | {"detectors": ["net", "sep"], "detector": "net", "against": "sep", "bands": BANDS, "bootstrap": 20}
    place = {name: str(tmp_path / path) for name, path in
             {"scenes": "scenes/hsc", "truth": "scenes/truth", "labels": "scenes/labels", "detections": "detections",
              "folder": "out"}.items()}
    words = ["--validation", "validation_000", "--testing", "testing_000", *(w for k, v in place.items() for w in (f"--{k}", v))]
    counted = {"table": "testing (scenes)", "config_hash": "c"}
    assert main(["judge-scenes", "--settings", json.dumps(judge | counted), "--final", str(tmp_path / "final.csv"), *words]) == 0
    assert (tmp_path / "final.csv").read_text().splitlines()[1].endswith(",t,testing (scenes),c")
    table = pandas.read_csv(tmp_path / "out/detection.csv").fillna("").set_index(["model", "subset", "bin", "metric"])
    assert table.loc[("sep", "gold", "", "completeness"), "value"] == 1
    assert table.loc[("net", "gold", "", "completeness"), "value"] == pytest.approx(23 / 24)
    assert table.loc[("sep", "gold", "", "mask_iou"), "value"] > 0.5
    paired = pandas.read_csv(tmp_path / "out/scenes_paired.csv").fillna("").set_index(["subset", "bin", "metric"])
    assert paired.loc[("gold", "", "completeness"), "difference"] == pytest.approx(-1 / 24)
    met = pandas.read_csv(tmp_path / "out/scenes_bars.csv").set_index("bar")
    assert met.loc["gold completeness", "met"]
    for figure in ("completeness", "scene", "blends"):
        assert (tmp_path / f"out/scenes_{figure}.png").stat().st_size > 5000
    assert "could not be drawn" not in capsys.readouterr().err
    redshifts_of(tmp_path, judge, place)


def redshifts_of(folder, judge, place):
    """One model is right about every source of the chosen detector, the classical chain's is not."""
    ids = pandas.read_parquet(folder / "detections/net/testing_000.parquet")["detection_id"].to_numpy()
    for model, z in (("tabular", 0.5), ("tabular_sep", 0.8)):
        columns = {"object_id": ids, "z": np.full(len(ids), z), "weights": np.ones((len(ids), 1)),
                   "means": np.full((len(ids), 1), z), "stds": np.full((len(ids), 1), 0.1)}
        store.write_columns(folder / f"{model}.h5", columns, {"model": model, "seed": 1})
    words = [w for name in ("scenes", "truth", "detections", "folder") for w in (f"--{name}", place[name])]
    own = json.dumps(judge | {"model_against": "tabular_sep", "grid": [0, 3, 0.05]})
    cuts = f"{place['folder']}/scenes_thresholds.csv"
    assert main(["judge-scene-redshifts", "--settings", own, "--testing", "testing_000", *words, "--thresholds", cuts,
                 "--predictions", str(folder / "tabular.h5"), str(folder / "tabular_sep.h5")]) == 0
    table = pandas.read_csv(folder / "out/scenes_redshifts.csv").fillna("").set_index(["model", "bin", "metric", "convention"])
    assert table.loc[("tabular", "", "bias", "median(1+z)|mode"), "value"] == pytest.approx(0, abs=0.02)
    assert table.loc[("tabular_sep", "", "bias", "median(1+z)|mode"), "value"] == pytest.approx(0.2, abs=0.02)
    assert 14 <= table.loc[("tabular", "", "nmad", "1.4826mad(1+z)|mode"), "n"] <= 16  # galaxies alone
    met = pandas.read_csv(folder / "out/scenes_redshift_bars.csv").set_index("bar")["met"]
    assert met["tabular: NLL minus the classical chain's"] and not met["tabular: PIT-KS"]  # all PIT are alike
