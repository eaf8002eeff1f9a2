"""Sources of tiles as rows: places on the sky, cores that own them, forced positions beside what is found."""

import dataclasses

import numpy as np
import pytest
import torch

from skyloom import store
from skyloom.models import families
from skyloom.train import scenes, sources, tiles
from tests.unit.scene_files import TINY, placed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """(file of scenes, network, card) of a network that keeps any peak: what it says is noise, where it says it isn't."""
    paths = placed(tmp_path_factory.mktemp("scenes") / "a", n=2)
    torch.manual_seed(1)
    with tiles.opened(*paths) as sky:
        model, card = scenes.begun("deepdisc", families.options("deepdisc", TINY), sky)
    with torch.no_grad():
        model.backbone.maps.bias[0] = 0.0  # half of the cells could be centres
    return paths[0][0], model, dataclasses.replace(card, facts={"threshold": 0.0}, precision="fp32", seed=1)


def test_a_place_maps_pixels_to_the_sky_and_back():
    turn = np.radians(20)
    cd = np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * 0.2 / 3600
    place = sources.Place(1, np.array([359.999, 60.0]), np.array([10.0, 20.0]), cd, np.array([5, 15, 5, 15]))
    x, y = np.array([9.0, 300.0, -50.0]), np.array([19.0, 4.0, 77.0])
    ra, dec = place.sky(x, y)
    assert (ra[0], dec[0]) == pytest.approx((359.999, 60.0)) and ((ra >= 0) & (ra < 360)).all()
    back = place.pixel(ra, dec)
    assert back[0] == pytest.approx(x, abs=1e-6) and back[1] == pytest.approx(y, abs=1e-6)
    assert np.isnan(place.pixel([179.999], [-60.0])[0]).all()  # the other half of the sky
    assert place.owns(np.array([4.4, 4.6, 14.4, 14.6]), np.full(4, 10.0)).tolist() == [False, True, True, False]


def test_rows_are_those_that_cores_own_and_ids_say_whose(untrained):
    path, model, card = untrained
    with store.reading(path) as handle:
        parts = list(sources.every(handle, model, card, CPU))
    rows = sources.together([sources.table(out, place, bands, "deepdisc") for place, bands, out in parts])
    n = len(rows["object_id"])
    assert n > 10 and len(np.unique(rows["object_id"])) == n and set(rows["tile_id"]) == {1 << 40, (1 << 40) + 1}
    assert ((rows["x"] > 7.4) & (rows["x"] < 87.6) & (rows["y"] > 7.4) & (rows["y"] < 87.6)).all()
    assert all(values.shape == (n,) for values in rows.values()) and {"g_aper_flux_err_3", "i_flux", "detect_flags"} <= set(rows)
    other = sources.table(parts[0][2], parts[0][0], parts[0][1], "deepdisc_b")
    assert not set(other["object_id"]) & set(rows["object_id"])
    masks = [sources.masks(out, first, filled) for out, first, filled in ((parts[0][2], 0, 0), (parts[1][2], 5, 11))]
    assert masks[1]["row"][0] == 5 and masks[1]["offset"][0] == 11 and set(np.unique(masks[0]["bits"])) <= {0, 1}
    assert (masks[0]["w"] * masks[0]["h"]).sum() == len(masks[0]["bits"])


def test_forced_positions_keep_their_order_and_share_light_with_what_is_found(untrained):
    path, model, card = untrained
    with store.reading(path) as handle:
        seen, place = sources.tile(handle, 0)
    whole = sources.found(model, card, seen, place, "fp32", CPU)
    chosen = np.argsort(-whole.snr)[:4][::-1]
    out = sources.forced(model, card, seen, whole.x[chosen], whole.y[chosen], "fp32", CPU)
    assert len(out.x) == 4 and np.hypot(out.x - whole.x[chosen], out.y - whole.y[chosen]).max() < 3
    alone = families.of("deepdisc").detected(model, card, seen, positions=np.stack([whole.x, whole.y], axis=1)[chosen[:1]])
    assert alone.flux[0] != pytest.approx(out.flux[0], rel=1e-3)  # without the others it gets their light


def test_a_tile_without_data_has_no_rows(untrained, tmp_path):
    path, model, card = untrained
    with store.reading(path) as handle:
        seen, place = sources.tile(handle, 0)
    out = sources.found(model, card, dataclasses.replace(seen, ivar=np.zeros_like(seen.ivar)), place, "fp32", CPU)
    rows = sources.table(out, place, seen.bands, "deepdisc")
    assert all(len(values) == 0 for values in rows.values()) and rows["object_id"].dtype == np.int64
    assert sources.pz(out)["weight"].shape == (0, 5) and len(sources.masks(out, 0, 0)["bits"]) == 0
