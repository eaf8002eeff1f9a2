"""The registry of spectroscopic surveys: one file each, what is generated from them, a survey of somebody else's package."""

import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas
import pytest

from skyloom import acquisition, config
from skyloom.errors import InputError
from skyloom.provenance import fingerprint
from skyloom.surveys import spectro

ROOT = Path(__file__).resolve().parents[2]


def made():
    """docs/make_tables.py as a module."""
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("path", "text"), [("resources/surveys.tsv", "surveys_tsv"), ("docs/surveys.md", "surveys")])
def test_what_is_generated_is_up_to_date(path, text):
    assert (ROOT / path).read_text() == getattr(made(), text)(), "regenerate it: python docs/make_tables.py"


def test_the_registry_is_listed_without_numpy():
    program = ("import sys; from skyloom.surveys import spectro; assert len(spectro.REGISTRY) >= 8\n"
               "heavy = {'numpy', 'astropy', 'pandas', 'torch', 'requests', 'pyvo'} & set(sys.modules); assert not heavy, heavy")
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})


def test_config_services_and_addresses_follow_the_registry():
    whole = config.complete({"run": "x", "archive": "live"})
    assert whole["query"]["surveys"] == spectro.ours()
    services = acquisition.services(whole)
    for survey in spectro.REGISTRY.values():
        block = services[survey.service.name]
        assert {key: block[key] for key in survey.service.urls} == dict(survey.service.urls)
        assert block["rpm"] == survey.service.rpm and block["attempts"] == survey.service.attempts
    assert services["sdss"]["page"] == 500000 and services["sdss"]["streams"] == 1
    for change, words in (({"services": {"sdss": {"streams": 2}}}, "services.sdss.streams"),
                          ({"services": {"desi": {"page": 3}}}, "services.desi.page"),
                          ({"query": {"surveys": ["sdsss"]}}, "sdsss")):
        with pytest.raises(InputError, match=words):
            config.complete(config.merge({"run": "x", "archive": "live"}, change))


def test_a_surveys_module_reruns_its_query_alone():
    desi, gama = (spectro.REGISTRY.modules[name] for name in ("desi", "gama"))
    found = fingerprint.modules("query-survey", desi)
    assert desi in found and gama not in found and "skyloom.archives.tap" in found
    assert fingerprint.fingerprint("query-survey", desi) != fingerprint.fingerprint("query-survey", gama)


def test_every_survey_says_all_and_no_name_decides_anything():
    for survey in spectro.REGISTRY.values():
        assert survey.licence and survey.citation and survey.release and survey.service.urls["url"]
        assert set(survey.position) | set(survey.texts) <= set(survey.columns)
    assert len({survey.order for survey in spectro.REGISTRY.values()}) == len(spectro.REGISTRY)
    for path in (ROOT / "src" / "skyloom").rglob("*.py"):
        if "sky/" not in str(path.relative_to(ROOT / "src" / "skyloom")) and path.parent.name != "spectro":
            quoted = [name for name in spectro.REGISTRY for mark in "\"'" if f"{mark}{name}{mark}" in path.read_text()]
            assert not quoted, f"{path} names {quoted}"


TOY = '''
from skyloom.surveys.service import Service
from skyloom.surveys.spectro import SpectroSurvey, rated

SURVEY = SpectroSurvey(
    name="toy", release="1", access="text", where="NQ", columns=("ID", "RA", "DEC", "Z", "NQ"),
    normalise=lambda f: {"survey_id": f["ID"], "ra": f["RA"], "dec": f["DEC"], "z": f["Z"], "z_err": 1e-4, "quality": f["NQ"],
                         "class": "", "repeat_key": f["ID"]},
    cuts=(("nq", lambda quality, kind: quality >= 3),), confidence=rated((4, 0.99), (3, 0.95)), order=9, repeats=True,
    service=Service("toys", {"url": "https://example.org/toy.txt"}, rpm=7), licence="public", citation="nobody")
'''
ROWS = ("# a toy\n# ID RA DEC Z NQ\n1 359.95 0 0.5 4\n1 359.95 0 0.5 4\n2 0.02 0.01 0.6 3\n3 0.03 0 0.7 2\n4 20.0 0 0.5 4\n"
        "null 0.04 0 0.5 4\n5 0.05 0 null 4\n6 0.02 0.01001 0.9 4\n")


@pytest.fixture
def installed(tmp_path):
    """The environment of a user who installed a package with a survey: a folder with its dist-info on the path."""
    place = tmp_path / "site"
    (place / "toysurvey").mkdir(parents=True)
    (place / "toysurvey" / "__init__.py").write_text("")
    (place / "toysurvey" / "survey.py").write_text(TOY)
    (place / "toysurvey-1.dist-info").mkdir()
    (place / "toysurvey-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toysurvey\nVersion: 1\n")
    (place / "toysurvey-1.dist-info" / "entry_points.txt").write_text("[skyloom.spectro]\ntoy = toysurvey.survey:SURVEY\n")
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{place}"}


@pytest.fixture
def published():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(ROWS)))
            self.end_headers()
            self.wfile.write(ROWS.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/toy.txt"
        server.shutdown()


def test_a_survey_of_another_package_is_asked_normalised_cut_and_compiled(installed, published, tmp_path):
    program = ("import json, sys; from skyloom import acquisition, config\nfrom skyloom.surveys import spectro\n"
               "whole = config.complete({'run': 't', 'archive': 'embedded', 'query': {'kind': 'compilation', 'surveys': ['toy']},"
               " 'services': {'toys': {'url': sys.argv[1], 'wait_initial_s': 0.05}}})\n"
               "assert 'toy' not in spectro.ours() and whole['services']['toys']['rpm'] == 7\n"
               "print(json.dumps(acquisition.services(whole)))")

    def python(*words, **more):
        done = subprocess.run([sys.executable, *words], env=installed | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    services, table = python("-c", program, published), tmp_path / "toy.parquet"
    settings = {"run": "t", "release": "", "region": [359.9, 0.1, -0.1, 0.1], "identity": "here", "dec_min": -30,
                "match_arcsec": 1.0, "z_min": 0.0, "z_max": 1.6}
    python("-m", "skyloom", "query-survey", "--survey", "toy", "--settings", json.dumps(settings), "--folder", str(tmp_path),
           "--rpm", "6000", "--out", str(table), SKYLOOM_SERVICES=services)
    out = {part: str(tmp_path / f"out_{part}") for part in ("raw", "selected", "rejected", "counts", "conflicts")}
    python("-m", "skyloom", "compile-redshifts", str(table), "--settings", json.dumps(settings),
           *(word for part, path in out.items() for word in (f"--{part}", path)))
    kept = pandas.read_parquet(out["selected"])
    assert sorted(kept["survey_id"]) == ["1", "6"] and set(kept["survey"]) == {"toy"}
    counts = pandas.read_csv(out["counts"]).set_index("cut")["rejected"].to_dict()
    assert counts == {"region": 1, "id_given": 1, "override_drop": 0, "redshift_finite": 1, "position_finite": 0, "toy_nq": 1,
                      "declination": 0, "redshift_range": 0, "repeated_in_survey": 1, "cross_survey": 1}


def test_the_embedded_sky_says_that_it_lacks_somebody_elses_survey(installed, tmp_path):
    services = json.dumps({"archive": "embedded", "toys": {"url": "", "rpm": 7, "streams": 1, "timeout_s": 5, "attempts": 1,
                           "total_s": 5, "contact": "", "wait_initial_s": 0.1},
                           "embedded": {"seed": 1, "footprint": [0, 0.1, 0, 0.1], "hole_rate": 0, "gap_rate": 0, "reddening": 0,
                                        "faults": []}})
    settings = json.dumps({"region": None, "identity": "x"})
    done = subprocess.run([sys.executable, "-m", "skyloom", "query-survey", "--survey", "toy", "--settings", settings,
                           "--folder", str(tmp_path), "--out", str(tmp_path / "o")],
                          env=installed | {"SKYLOOM_SERVICES": services}, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "the embedded sky has no service toys; set the addresses `services.toys`" in done.stderr
