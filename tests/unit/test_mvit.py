"""The published network on scenes, at a tiny width: falling losses, the same bytes after a kill, what it finds."""

import copy
import dataclasses
import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from skyloom import store
from skyloom.__main__ import main
from skyloom.errors import InputError
from skyloom.models import artefact, families
from skyloom.models.mvit import detect, heads
from skyloom.models.scene import inputs as scene
from skyloom.train import boxes, tiles

BANDS, SIDE, SCALE = "gri", 64, 0.2
COUNTS = SimpleNamespace(least_snr=5.0, gold_band=2, gold_flux=100.0, star_redshifts=False)
TINY = {"width": 8, "blocks": [1, 1, 1, 1], "channels": 8, "hidden": 16, "drop_path": 0.1, "anchors": 64, "boxes": 16,
        "proposals": [40, 40], "batch_size": 2, "max_epochs": 2, "milestones": [40], "lr": 3e-3, "scaling": "noise"}
CPU = torch.device("cpu")
EMPTY = {name: np.zeros((0, 3)[:1 + (name in ("snr", "flux"))]) for name in ("x", "y", "is_star", "redshift", "snr", "flux")}


def write(folder, n, seed=0, bands=BANDS):
    """Tiles of round sources in noise of 1 nJy and their labels, as files of the two formats."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    image, rows, values, filled = rng.normal(size=(n, len(bands), SIDE, SIDE)).astype("f4"), [], [], 0
    for tile in range(n):
        for _ in range(5):
            at, star, flux = rng.uniform(6, SIDE - 6, 2), rng.random() < 0.3, rng.uniform(150, 900)
            sigma = 1.5 if star else rng.uniform(2, 3)
            light = flux * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 2 / sigma**2) / (2 * np.pi * sigma**2)
            image[tile] += light.astype("f4")
            x0, y0 = (max(int(a) - 9, 0) for a in at)
            stamp = len(bands) * light[y0:y0 + 19, x0:x0 + 19]
            z, size = np.nan if star else sigma / 4, stamp.shape[::-1]
            rows.append((tile, *at, int(star), z, x0, y0, *size, filled, flux, flux / np.sqrt(4 * np.pi * sigma**2)))
            values.append(stamp.ravel())
            filled += stamp.size
    with h5py.File(folder / "t.h5", "w") as out:
        out.attrs.update(bands=",".join(bands), pixel_scale=SCALE, unit="nJy")
        out["image"], out["ivar"] = image, np.ones_like(image)
        out["psf_fwhm"], out["tile_id"] = np.full((n, len(bands)), 0.7), 7 + np.arange(n)
        out["crval"], out["crpix"] = np.tile([150.0, 2.0], (n, 1)), np.full((n, 2), (SIDE + 1) / 2)
        out["cd"], out["core"] = np.tile(np.diag([-SCALE, SCALE]) / 3600, (n, 1, 1)), np.tile([4, 60, 4, 60], (n, 1))
    names = ("tile", "x", "y", "is_star", "redshift", "stamp_x0", "stamp_y0", "stamp_w", "stamp_h", "stamp_offset", "flux", "snr")
    with h5py.File(folder / "l.h5", "w") as out:
        for name, column in zip(names, np.array(rows).T, strict=True):
            out[name] = np.repeat(column[:, None], len(bands), 1) if name in ("flux", "snr") else column
        out["half_light_radius"] = np.full(len(rows), 0.5)
        out["stamp_values"] = np.concatenate(values).astype("f4")
    return [folder / "t.h5"], [folder / "l.h5"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sky"), n=2)


def trained(files, state=None, **options):
    """(model, card, history, states) of a training on the tiles."""
    states = []
    torch.manual_seed(0)
    with tiles.opened(*files) as sky:
        model, card = boxes.begun("deepdisc_mvit", families.options("deepdisc_mvit", {**TINY, **options}), sky)
        history, _ = boxes.fit(model, card, sky, sky, COUNTS, 1, CPU, "fp32", lambda: state,
                               lambda one: states.append(copy.deepcopy(one)), lambda text: None)
    return model, card, history, states


def test_a_killed_training_ends_with_the_same_bytes(files):
    model, card, history, states = trained(files, blur=0.5, redden=0.1)
    again, _, later, _ = trained(files, states[0], blur=0.5, redden=0.1)
    assert artefact.weights_bytes(model) == artefact.weights_bytes(again)
    assert later[-1] == history[-1] and len(history) == 2
    assert {"train_loss", "rpn_source", "rpn_box", "class_3", "box_3", "mask", "redshift", "select_loss"} <= set(history[0])
    assert all(np.isfinite(value) for row in history for value in row.values())
    assert card.bands == list(BANDS) and card.pixel_scale == SCALE and len(card.image["apertures"]) == 3


def test_the_verbs_train_and_detect(files, tmp_path):
    """Through train-scenes and detect, by the family's own modules; the sources are those of the tiles' cores."""
    about = {"gold": {"band": "i", "mag": 26.0}, "least_snr": 5.0, "star_redshifts": False}
    settings = {"run": "t", "release": "", "model": "deepdisc_mvit_b", "seed": 1, "threads": 1, "device": "cpu", "scenes": about,
                "precision": "fp32", "options": {**TINY, "max_epochs": 1, "score": 0.0, "most": 30}}
    (tiles_, labels), out = ([str(path) for path in paths] for paths in files), tmp_path / "m"
    assert main(["train-scenes", "--settings", json.dumps(settings), "--training", *tiles_, "--training-labels", *labels,
                 "--validation", *tiles_, "--validation-labels", *labels, "--state", str(tmp_path / "state"), "--weights",
                 str(out / "model.safetensors"), "--card", str(out / "model.json"), "--history", str(out / "history.csv")]) == 0
    assert (out / "history.csv").read_text().startswith("epoch,train_loss,rpn_source")
    assert main(["detect", *tiles_, "--settings", '{"device": "cpu"}', "--model", str(out), "--out", str(tmp_path / "d.parquet"),
                 "--masks", str(tmp_path / "d_masks.h5"), "--pz", str(tmp_path / "d_pz.h5")]) == 0
    found, pz = store.read_parquet(tmp_path / "d.parquet"), store.arrays(tmp_path / "d_pz.h5", ["weight", "mean", "sigma"])
    assert len(found) > 4 and found["detection_id"].is_unique and set(found["tile_id"]) <= {7, 8}
    assert found["x"].between(3.5, 59.5).all() and found["ra"].between(149.99, 150.01).all()
    np.testing.assert_allclose(pz["weight"].sum(axis=1), 1, atol=1e-5)
    assert {"score", "p_star", "g_flux", "i_aper_flux_err_3", "size", "snr", "flags"} <= set(found)


def test_losses_fall_and_every_parameter_learns(files):
    """A few steps on one scene."""
    with tiles.opened(*files) as sky:
        torch.manual_seed(0)
        model, card = boxes.begun("deepdisc_mvit", families.options("deepdisc_mvit", {**TINY, "drop_path": 0.0}), sky)
        lessons = boxes.lessons_of(card.options, COUNTS)
        images, truth, _ = boxes.batch(card, sky, [0], lessons, None)
        optimiser, history = torch.optim.AdamW(model.parameters(), 5e-3), []
        for _ in range(12):
            parts = model.losses(images, truth)
            optimiser.zero_grad()
            sum(parts.values()).backward()
            assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
            optimiser.step()
            history.append({name: part.item() for name, part in parts.items()})
    assert sum(history[-1].values()) < 0.8 * sum(history[0].values())
    for name in ("rpn_source", "class_1", "class_2", "class_3", "mask", "redshift"):
        assert history[-1][name] < history[0][name], name


@pytest.fixture(scope="module")
def untrained(files):
    torch.manual_seed(3)
    with tiles.opened(*files) as sky:
        model, card = boxes.begun("deepdisc_mvit", families.options("deepdisc_mvit", {**TINY, "score": 0.0, "most": 20}), sky)
        return model.eval(), card, sky.tile(0)


def test_what_is_found_is_a_catalog(untrained):
    model, card, tile = untrained
    found = families.of("deepdisc_mvit").detected(model, card, tile)
    n = len(found.x)
    assert 0 < n <= 20 and (np.diff(found.score) <= 1e-6).all() and ((found.p_star >= 0) & (found.p_star <= 1)).all()
    assert found.flux.shape == found.flux_err.shape == (n, 3) and found.aper_flux.shape == (n, 3, 3)
    np.testing.assert_allclose(found.weight.sum(axis=1), 1, atol=1e-6)
    assert found.sigma.shape == (n, 5) and (found.sigma > 0).all() and found.flags.shape == (n,)
    for k, (x0, y0, w, h) in enumerate(found.mask_box):  # a flux is the sum over the mask that is told
        part = tile.image[:, y0:y0 + h, x0:x0 + w][:, found.mask_bits[k]]
        assert found.mask_bits[k].shape == (h, w) and (not w or found.flux[k] == pytest.approx(part.sum(axis=1), rel=1e-5))
        assert w or np.isnan(found.flux[k]).all()
    assert len(families.of("deepdisc_mvit").detected(model, card, tile, threshold=1.0).x) == 0


def test_photometry_of_a_perfect_box(untrained, monkeypatch):
    """Boxes and masks put by hand on an isolated star without noise: its flux, its place, what a neighbour's mask takes away."""
    model, card, _ = untrained
    y, x = np.mgrid[:SIDE, :SIDE]
    light = 1e4 * np.exp(-((x - 30.0) ** 2 + (y - 25.0) ** 2) / 2 / 1.49**2) / (2 * np.pi * 1.49**2)
    tile = scene.Tile(np.stack([light] * 3), np.ones((3, SIDE, SIDE)), np.full(3, 0.7), tuple(BANDS), SCALE)

    def said(images, *_, **__):
        own = torch.tensor([[20.5, 15.5, 40.5, 35.5], [31.5, 10, 60, 60]])
        masks = torch.stack([torch.full((28, 28), 0.9), torch.full((28, 28), 0.95)])
        return [{"boxes": own[:n], "score": torch.ones(n), "p_star": torch.ones(n), "masks": masks[:n],
                 "mixture": heads.gaussians(torch.zeros(n, 15))}]

    monkeypatch.setattr(model, "find", said)
    n = 1
    alone = detect.detected(model, card, tile)
    assert (alone.x[0], alone.y[0]) == (30.0, 25.0) and alone.flux[0] == pytest.approx([1e4] * 3, rel=1e-4)
    assert alone.aper_flux[0] == pytest.approx(1e4, rel=0.02)  # of a star, at every aperture
    assert alone.half_light_radius[0] == pytest.approx(1.1774 * 1.49 * SCALE, rel=0.03) and not alone.flags[0]
    n = 2
    beside = detect.detected(model, card, tile)
    assert beside.flux[0] == pytest.approx([light[:, :31].sum()] * 3, rel=1e-4)
    assert beside.flags[0] & 1 and (beside.aper_flux[0] < 0.8e4).all()


def test_reddening_is_heard_by_the_redshift_head_alone(untrained):
    _, card, tile = untrained
    options = families.options("deepdisc_mvit", {**TINY, "ebv": True, "score": 0.0, "most": 5})
    torch.manual_seed(0)
    model, own = families.of("deepdisc_mvit").build(card := dataclasses.replace(card, options=options)).eval(), []
    for ebv in (0.0, 0.5):
        seen = SimpleNamespace(ebv=ebv, labels=lambda k: EMPTY, stamps=lambda k: [])
        seen.tile = lambda k, ebv=ebv: SimpleNamespace(**vars(tile), ebv=ebv)
        images, _, heard = boxes.batch(card, seen, [0, 0], boxes.lessons_of(options, COUNTS), None)
        assert heard.tolist() == [ebv, ebv]
        own.append(model.find(images, heard)[1])
    assert torch.equal(own[0]["boxes"], own[1]["boxes"]) and torch.equal(own[0]["score"], own[1]["score"])
    assert not torch.allclose(own[0]["mixture"][1], own[1]["mixture"][1])


def test_positions_are_answered_in_their_order(untrained):
    model, card, tile = untrained
    at = np.array([[50.0, 12.0], [3.0, 60.0], [31.0, 31.0]])
    found = detect.detected(model, card, tile, at)
    np.testing.assert_array_equal(np.stack([found.x, found.y], axis=1), at)
    assert found.mean.shape == (3, 5) and found.flags[1] & 2
    assert len(detect.detected(model, card, tile, at[:0]).x) == 0


@pytest.mark.parametrize("change", ["masked", "band", "nan", "narrow"])
def test_odd_tiles_are_answered(untrained, change):
    """All masked: no source. A band missing, values that are no numbers, sides of no whole cells: as any tile."""
    model, card, tile = untrained
    image, ivar = tile.image.copy(), tile.ivar.copy()
    if change == "masked":
        ivar[:] = 0
    elif change == "band":
        ivar[1] = 0
    elif change == "nan":
        image[0, 10:20, 10:20] = np.nan
    else:
        image, ivar = image[:, :50, :41], ivar[:, :50, :41]
    found = detect.detected(model, card, dataclasses.replace(tile, image=image, ivar=ivar))
    assert (len(found.x) == 0) == (change == "masked")
    assert all(np.isfinite(getattr(found, name)).all() for name in ("x", "y", "score", "mean", "sigma", "weight"))
    if change == "band":
        assert np.isnan(found.flux[:, 1]).all()
    if change == "narrow":
        assert (found.x <= 40.5).all() and (found.y <= 49.5).all()


@pytest.mark.parametrize(("change", "words"), [
    ({"bands": ("r", "g", "i")}, "the tile holds the bands r,g,i, the model was trained with g,r,i"),
    ({"pixel_scale": 0.168}, "the tile has 0.168 arcsec/px"), ({"unit": "ADU"}, "the tile's unit is ADU")])
def test_another_surveys_tile_is_one_sentence(untrained, change, words):
    model, card, tile = untrained
    with pytest.raises(InputError, match=words) as error:
        detect.detected(model, card, dataclasses.replace(tile, **change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "bands", "words"), [
    ({"ebv": True}, BANDS, "`ebv: true` wants E.B-V. of every tile"),
    ({"redden": 0.1}, "gJi", "`redden` knows the bands"), ({"lr": 1e30}, BANDS, "the loss of step .* is .*; lower `lr`"),
    ({"pretrained": "no"}, BANDS, "no holds no readable weights")])
def test_what_can_not_be_trained_is_one_sentence(tmp_path, options, bands, words):
    with pytest.raises(InputError, match=words) as error:
        trained(write(tmp_path, n=2, bands=bands), **options)
    assert "\n" not in str(error.value)


def test_the_published_width_is_not_trained_on_a_cpu():
    options = families.options("deepdisc_mvit", {})
    with torch.device("meta"):
        model = families.of("deepdisc_mvit").build(SimpleNamespace(options=options, bands=list("ugrizy")))
    with pytest.raises(InputError, match="116 million parameters isn't trained on a CPU .*; set `train.device: cuda`, or lower"):
        boxes.affordable(model, CPU)
    boxes.affordable(model, SimpleNamespace(type="cuda"))


def test_the_rate_falls_at_the_milestones():
    options = families.options("deepdisc_mvit", {"warm": 10})
    assert [boxes.rate(options, epoch, 1000) for epoch in (0, 14, 15, 25, 35)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6])
    assert boxes.rate(options, 0, 0) == pytest.approx(1e-4)


def test_a_scene_without_sources_and_one_of_many_teach(untrained):
    """No source: only "nothing is here"; 300 in one tile: as any."""
    model, card, _ = untrained
    rng = np.random.default_rng(0)
    at = rng.integers(4, SIDE - 4, (300, 2)).astype(float)
    many = {"x": at[:, 0], "y": at[:, 1], "is_star": rng.integers(-1, 2, 300), "redshift": rng.random(300),
            "snr": np.full((300, 3), 9.0), "flux": np.full((300, 3), 900.0)}
    stamps = [(int(x) - 2, int(y) - 2, np.full((5, 5), 9.0)) for x, y in at]
    for n in (0, 300):
        labels = {name: column[:n] for name, column in many.items()}
        one = boxes.targets.of(labels, stamps, 0, 0, (SIDE, SIDE), boxes.lessons_of(card.options, COUNTS))
        parts = model.losses(torch.zeros(1, 3, SIDE, SIDE), [one])
        assert all(torch.isfinite(part) for part in parts.values()) and len(one.boxes) == n
        assert n or parts["redshift"] == parts["mask"] == parts["box_1"] == parts["rpn_box"] == 0
        sum(parts.values()).backward()
