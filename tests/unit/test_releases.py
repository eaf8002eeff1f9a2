"""HSC's releases: PDR3 has its own addresses, schema, names and reruns; what doesn't go together is refused."""

from pathlib import Path

import numpy as np
import pytest

from skyloom import acquisition, config
from skyloom.archives import hsc_das, hsc_sql
from skyloom.archives.http import Client
from skyloom.errors import InputError, Refused
from skyloom.sample import bands, plan
from skyloom.sky.servers import hsc
from skyloom.verbs import run

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = ("embedded", "sky")


def whole(**query):
    return config.complete({"run": "x", "archive": "live", "query": query})


@pytest.mark.parametrize(("release", "base"), [("pdr2", "pdr2"), ("pdr2-citus", "pdr2"), ("pdr3", "pdr3"),
                                               ("pdr3-citus-columnar", "pdr3")])
def test_addresses_and_rerun_follow_the_release(release, base):
    found = whole(release=release)
    urls = acquisition.services(found)["hsc"]
    assert found["query"]["rerun"] == f"{base}_wide"
    assert urls["cutout_url"].endswith(f"/das_cutout/{base}/cgi-bin/cutout")
    assert urls["psf_url"].endswith(f"/psf/{base}/cgi/getpsf")
    assert whole(release=release, rerun=f"{base}_dud")["query"]["rerun"] == f"{base}_dud"


@pytest.mark.parametrize(("change", "words"), [
    ({"query": {"release": "pdr3", "rerun": "pdr2_wide"}}, "`query.rerun` is 'pdr2_wide', which is not of `query.release` pdr3"),
    ({"query": {"rerun": "pdr3_wide"}}, "not of `query.release` pdr2; its reruns: pdr2_wide"),
    ({"query": {"rerun": "pdr2_wiide"}}, "its reruns: pdr2_wide"),
    ({"query": {"release": "pdr1"}}, "`query.release` is 'pdr1'; known"),
    ({"query": {"release": "pdr3"}, "services": {"hsc": {"psf_url": "https://x.org/psf/pdr2/cgi/getpsf"}}},
     "`services.hsc.psf_url` is an address of pdr2, but `query.release` is pdr3")])
def test_what_does_not_go_together_is_one_sentence(change, words):
    with pytest.raises(InputError, match=words):
        config.complete({"run": "x", "archive": "live"} | change)
    elsewhere = {"query": {"kind": "compilation"}, "stamps": {"surveys": ["ps1"]},
                 "models": {"mantis_early": {"surveys": ["ps1"]}}}
    config.complete(config.merge({"run": "x", "archive": "live"} | elsewhere, change))  # nobody asks HSC: its release is idle


@pytest.mark.parametrize("name", ["hsc_specz", "hsc_targets"])
def test_the_templates_serve_both_releases(served, name):
    template, frames = (ROOT / "resources" / "sql" / f"{name}.sql").read_text(), {}
    for release, error in (("pdr2", "magsigma"), ("pdr3", "magerr")):
        text = hsc_sql.render(template, {"release": release, "rerun": f"{release}_wide", "i_max": 20.0, "every": 3,
                                         "region": [150.0, 150.12, 2.0, 2.12]})
        assert f"{release}_wide.forced" in text and f"g_cmodel_{error}" in text and "$" not in text.replace("as $homogeneous", "")
        jobs = hsc_sql.CatalogJobs(Client(rpm=60000), hsc.urls(served.url)["sql_url"], ACCOUNT, 0.01)
        frames[release] = hsc_sql.parse_csv(jobs.run(text, release))
        mags = [f"{band}_cmodel_mag" for band in "grizy"]
        assert list(bands.errors_of(frames[release], mags)) == mags
        other = "pdr3" if release == "pdr2" else "pdr2"
        with pytest.raises(InputError):  # that release's tables are not there
            jobs.run(text, other)
    assert len(frames["pdr2"]) == len(frames["pdr3"]) > 5
    assert np.array_equal(frames["pdr2"]["g_cmodel_magsigma"], frames["pdr3"]["g_cmodel_magerr"])


def test_a_template_of_another_release_is_refused():
    assert hsc_sql.render("SELECT ra FROM pdr2_wide.forced", {}) == "SELECT ra FROM pdr2_wide.forced"
    with pytest.raises(InputError, match=r"reads pdr2_wide\.forced, but `query\.release` is pdr3; write \$schema"):
        hsc_sql.render("SELECT ra FROM pdr2_wide.forced", {"release": "pdr3", "rerun": "pdr3_wide"})
    deep = hsc_sql.render("SELECT 1 FROM $schema.forced", {"release": "pdr3-citus", "rerun": "pdr3_dud"})
    assert deep == "SELECT 1 FROM pdr3_dud.forced"


def test_the_cutout_service_knows_the_reruns_of_its_release(served):
    rows, client = hsc_das.cutout_rows(150.15, 2.15, 15, "pdr3_wide", "gr", 0.168), Client(rpm=60000, auth=ACCOUNT)
    body = "\n".join(["#? " + hsc_das.CUTOUT, *rows]) + "\n"
    for release, good in (("pdr3", True), ("pdr2", False)):
        url = hsc.urls(served.url, release)["cutout_url"]
        if good:
            assert b"pdr3_wide.fits" in client.fetch("POST", url, files={"list": ("coordlist.txt", body)})
        else:
            with pytest.raises(Refused, match="unknown rerun pdr3_wide"):
                client.fetch("POST", url, files={"list": ("coordlist.txt", body)})


def test_a_shipped_plan_serves_the_region_it_was_made_for_alone(monkeypatch):
    import json

    import yaml

    monkeypatch.chdir(ROOT)
    made_for = json.loads((ROOT / "resources" / "shards" / "regions.json").read_text())
    for path in (ROOT / "config.yaml", *(ROOT / "resources" / "recipes").glob("*.yaml")):
        own = yaml.safe_load(path.read_text()) or {}
        if "scenes" in own:  # whose parts are the sky that it asks for, whatever the region
            assert own["run"] not in made_for
        elif "archive: embedded" in path.read_text():
            assert made_for[own["run"]] == own["query"]["region"], "mend resources/shards/regions.json"
    assert plan.shipped("galaxiesml", made_for["galaxiesml"]) == Path("resources/shards/galaxiesml.tsv")
    assert plan.shipped("galaxiesml", None) is None and plan.shipped("demo", [10, 11, 0, 1]) is None
    assert plan.shipped("mine", [10, 11, 0, 1]) is None
    for region, calls in ((None, [["plan"], ["plan"], []]), (made_for["galaxiesml"], [["plan"], []])):
        settings = {"run": "galaxiesml", "archive": "live", "query": {"region": region}}
        assert run._calls(Path("nowhere"), settings, "") == calls
