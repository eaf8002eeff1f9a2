"""Skies away from RA 150: across RA 0, at a pole, in the south. Every query, cut and plan sees the same region."""

import json

import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.archives import hsc_sql
from skyloom.archives.http import Client
from skyloom.sample import cuts, regions, shards
from skyloom.sky import catalog, specz
from skyloom.sky.hsc import Sky
from skyloom.sky.servers import world
from skyloom.surveys.spectro import REGISTRY, ours

# name: (footprint, region inside it)
SKIES = {"wrap": ((359.85, 0.15, -0.15, 0.15), [359.9, 0.1, -0.1, 0.1]),
         "negative": ((-0.15, 0.15, -0.15, 0.15), {"ra": 0.02, "dec": -0.02, "radius": 0.1}),
         "pole": ((0.0, 360.0, 89.8, 90.0), [0, 360, 89.85, 90]),
         "wedge": ((0.0, 360.0, -90.0, -89.8), [-90, 90, -90, -89.8]),
         "south": ((52.9, 53.2, -28.1, -27.8), [52.95, 53.15, -28.05, -27.85]),
         "far_south": ((10.0, 10.4, -60.3, -60.0), {"ra": 10.2, "dec": -60.15, "radius": 0.1})}
OPTIONS = {"rpm": 60000, "streams": 1, "timeout_s": 20, "attempts": 3, "total_s": 60, "contact": "", "wait_initial_s": 0.02,
           "over_rate_wait_s": 1, "page": 500}
SETTINGS = {"run": "t", "release": "", "identity": "here"}


@pytest.mark.parametrize("name", SKIES)
def test_a_compilation_holds_the_regions_objects_and_counts_all_others(name, tmp_path, monkeypatch):
    footprint, value = SKIES[name]
    sky, region = Sky(seed=5, footprint=footprint), regions.of(value)
    tables = {survey: str(tmp_path / f"{survey}.parquet") for survey in ours()}
    with world.server(sky).running() as server:
        urls = world.urls(server.url)
        services = {survey: OPTIONS | urls[survey] for survey in tables}
        monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps({"archive": "live", "embedded": {}} | services))
        for survey, path in tables.items():
            assert main(["query-survey", "--survey", survey, "--settings", json.dumps(SETTINGS | {"region": value}),
                         "--folder", str(tmp_path / "f"), "--rpm", "60000", "--out", path]) == 0
    out = {part: tmp_path / f"out_{part}" for part in ("raw", "selected", "rejected", "counts", "conflicts")}
    settings = SETTINGS | {"region": value, "dec_min": -90.0, "match_arcsec": 1.0, "z_min": 0.002, "z_max": 1.6}
    assert main(["compile-redshifts", *tables.values(), "--settings", json.dumps(settings),
                 *(word for part, path in out.items() for word in (f"--{part}", str(path)))]) == 0
    raw, kept, rejected = (store.read_parquet(out[part]) for part in ("raw", "selected", "rejected"))
    counts = pandas.read_csv(out["counts"], index_col="cut")
    assert len(raw) == len(kept) + len(rejected) and region.contains(kept["ra"], kept["dec"]).all() and len(kept) > 20
    assert kept["ra"].between(0, 360, inclusive="left").all()
    assert counts.index[0] == "region" and counts["rejected"].iloc[0] == (~region.contains(raw["ra"], raw["dec"])).sum()
    truth = {survey: specz.observed(sky, survey) for survey in tables}
    inside = {survey: region.contains(rows["ra"], rows["dec"]).sum() for survey, rows in truth.items()}
    found = raw["survey"][region.contains(raw["ra"], raw["dec"])].value_counts().to_dict()
    assert found == {survey: n for survey, n in inside.items() if n}
    for survey in ("6df", "vvds", "desi"):  # whole files come; what lies outside is counted
        assert (raw["survey"] == survey).sum() == len(truth[survey]["z"])
    assert (rejected.loc[rejected["cut"] == "region", "survey"] == "desi").any()


@pytest.mark.parametrize("name", SKIES)
def test_hscs_tables_are_asked_for_the_region_and_cut_to_it(name):
    footprint, value = SKIES[name]
    sky, region = Sky(seed=5, footprint=footprint, hole_rate=0.0), regions.of(value)
    sql = hsc_sql.render("SELECT object_id, ra, dec FROM $schema.forced WHERE isprimary $region", {"region": value})
    client = Client(rpm=60000, attempts=2, wait_initial=0.02)
    with world.server(sky).running() as server:
        jobs = hsc_sql.CatalogJobs(client, world.urls(server.url)["hsc"]["sql_url"], ("embedded", "sky"), 0.01)
        frame = hsc_sql.parse_csv(jobs.run(sql, "pdr2"))
    table = catalog.forced(sky, sky.footprint)
    here = table["isprimary"] & region.contains(table["ra"], table["dec"])
    assert here.sum() > 20 and set(frame["object_id"]) == set(table["object_id"][here])
    plan = shards.plan_region(value, 1300, 100, 2)
    assert (shards.assign(plan, frame["object_id"].to_numpy(), frame["ra"], frame["dec"]) != "").all()
    options = {"z_min": 0, "z_max": 4, "sigma_z_max": 1, "sigma_z": "none", "isprimary": False, "magnitudes": False}
    chosen = cuts.masks(options | {"region": value}, [])[:1]
    far = pandas.DataFrame({"object_id": [-1, -2], "ra": [150.0, np.nan], "dec": [2.0, 2.0]})
    kept, rejected, counts = cuts.apply_cuts(pandas.concat([frame, far], ignore_index=True), chosen)
    assert len(kept) == len(frame) and rejected["cut"].tolist() == ["region"] * 2 and counts["cut"].tolist() == ["region"]


def test_distances_in_conflicts_are_great_circles():
    from skyloom.sample import compilation

    columns = ("survey", "survey_id", "ra", "dec", "z", "z_err", "quality")
    for ra, dec, apart in (((359.9999, 0.0001), (0, 0), 0.72), ((10.0, 190.0), (89.9999, 89.9999), 0.72),
                           ((53, 53.0002), (-60, -60), 0.36)):
        frame = pandas.DataFrame([("vvds", "1", ra[0], dec[0], 0.5, 1e-3, 3.0), ("sdss", "2", ra[1], dec[1], 0.9, 1e-4, 0.0)],
                                 columns=columns).assign(override="")
        keep, conflicts = compilation.best(frame, 1.0, [REGISTRY["vvds"], REGISTRY["sdss"]])
        assert keep.tolist() == [False, True] and conflicts["arcsec"][0] == pytest.approx(apart, rel=1e-6)
