"""Somebody else's package adds an imaging survey, a redshift survey, a model and a format, and no file of ours is touched."""

import contextlib
import hashlib
import io
import json
import shutil
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest
import yaml
from astropy.io import fits

from skyloom import config, store
from skyloom.sample import plan
from skyloom.verbs.plan import from_region
from tests.conftest import ROOT, snakemake, workplace

pytestmark = [pytest.mark.xdist_group("plugins"), pytest.mark.timeout(400)]
REGION = [150.0, 150.3, 2.0, 2.3]
POINTS = {"imaging": "toy = toy.imaging:SURVEY", "spectro": "toyspec = toy.spectro:SURVEY",
          "models": "colour = toy.family:FAMILY", "exporters": "jsonl = toy.exporter:EXPORTER"}
OURS = ("Snakefile", "workflow", "resources", "profiles", "src", "envs")
RUN = {"run": "toy", "archive": "embedded", "query": {"kind": "compilation", "surveys": ["toyspec"], "region": REGION},
       "cuts": {"z_min": 0.01, "z_max": 1.0}, "stamps": {"surveys": ["toy"], "psf_size": 9, "sizes": {"toy": 24}},
       "split": {"order": 12, "overlap_arcsec": 0}, "models": {"colour": {"classes": 6}}, "train": {"threads": 1},
       "release": {"formats": ["jsonl"]}, "evaluation": {"bootstrap": 20, "z_max": 1.0}}


def redshift(ra):
    """The toy sky: redshift grows with RA, and the colour of an object with its redshift."""
    return 0.1 + 0.8 * (ra - REGION[0]) / (REGION[1] - REGION[0])


def cutout(ra, dec, size):
    """FITS bytes of a cube: a round source in noise."""
    rng = np.random.default_rng(int(ra * 1e6))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    blob = np.exp(-(x**2 + y**2) / 8) / (8 * np.pi)
    flux = np.array([20000, 20000 * 10 ** (0.8 * redshift(ra))])[:, None, None]
    head = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": (size + 1) / 2,
                        "CRPIX2": (size + 1) / 2, "CD1_1": -0.5 / 3600, "CD2_2": 0.5 / 3600})
    out = io.BytesIO()
    fits.PrimaryHDU((flux * blob + rng.normal(0, 5, (2, size, size))).astype(np.float32), head).writeto(out)
    return out.getvalue()


def table(n=90):
    """The redshift survey's file: three in a hundred have a bad flag."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(*REGION[:2], n), rng.uniform(*REGION[2:], n)
    rows = [f"T{k} {ra[k]:.6f} {dec[k]:.6f} {redshift(ra[k]):.5f} {1 if k % 33 == 0 else 4} gal" for k in range(n)]
    return "\n".join(["# name ra dec zz zflag kind", *rows]).encode() + b"\n"


class Handler(BaseHTTPRequestHandler):
    """The toy archive."""

    def log_message(self, text, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        where = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(where.query))
        body = table() if where.path == "/toy.txt" else cutout(float(query["ra"]), float(query["dec"]), int(query["size"]))
        self.server.asked.append(where.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/plain" if where.path == "/toy.txt" else "image/fits")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextlib.contextmanager
def archive():
    """The address of a running toy archive, and what it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    finally:
        server.shutdown()
        server.server_close()


def installed(folder, points=POINTS):
    """A folder in which the toy package is installed, as pip would."""
    shutil.copytree(ROOT / "tests" / "workflow" / "toy", folder / "toy", ignore=shutil.ignore_patterns("__pycache__"))
    about = folder / "toy-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("".join(f"[skyloom.{group}]\n{point}\n" for group, point in points.items()))
    return folder


def contents(folder):
    """{file: digest} of all that is ours in a workplace."""
    ours = [path for name in OURS for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in ours
            if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """(finished run, what the archive was asked for, our files before and after)."""
    site = installed(tmp_path_factory.mktemp("site"))
    folder = workplace(tmp_path_factory.mktemp("toy") / "run")
    with archive() as (url, asked):
        services = {"toy": {"url": f"{url}/cutout", "rpm": 60000}, "toyspec": {"url": f"{url}/toy.txt"}}
        (folder / "config.yaml").write_text(yaml.safe_dump({**RUN, "services": services}))
        known = config.complete({"run": "toy", "archive": "embedded", "query": {"region": REGION}})
        (folder / "resources" / "shards" / "toy.tsv").write_text(plan.write_plan(from_region(known)))
        before = contents(folder)
        done = snakemake(folder, "--cores", "2", timeout=300, packages=site)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder, asked, before, contents(folder)


def test_no_file_of_ours_is_touched(toy):
    _, asked, before, after = toy
    assert before == after and len(before) > 150
    assert set(asked) == {"/toy.txt", "/cutout"}


def test_the_stamps_are_the_toys(toy):
    folder = toy[0] / "results" / "toy"
    with h5py.File(folder / "dataset" / "multi_training.hdf5") as handle:
        group, n = handle["toy"], len(handle["object_id"])
        assert group["image"].shape == (n, 2, 24, 24) and group.attrs["bands"] == "t1,t2" and group.attrs["pixel_scale"] == 0.5
        assert set(np.unique(group["status"][:])) == {0} and np.isfinite(group["psf"][:]).all()
        colour = handle["toy_t1_mag"][:] - handle["toy_t2_mag"][:]
        assert (handle["toy_t1_detected"][:] == 1).all()
        assert colour == pytest.approx(2 * redshift(handle["ra"][:]), abs=0.1)  # the toy sky's own law


def test_the_redshifts_are_the_toys(toy):
    folder, asked, _, _ = toy
    folder = folder / "results" / "toy"
    selected, rejected = (store.read_parquet(folder / "specz" / f"{name}.parquet") for name in ("selected", "rejected"))
    assert set(selected["survey"]) == {"toyspec"} and len(selected) + len(rejected) == 90
    assert sum(rejected["cut"].str.contains("zflag")) == 3
    assert selected["specz_redshift"].to_numpy() == pytest.approx(redshift(selected["ra"].to_numpy()), abs=1e-4)
    assert asked.count("/toy.txt") >= 1


def test_the_catalog_holds_the_toys_model_and_flag_in_the_toys_format(toy):
    folder = toy[0] / "results" / "toy"
    catalog = store.read_parquet(folder / "catalog" / "photoz_catalog.parquet")
    meta = store.parquet_meta(folder / "catalog" / "photoz_catalog.parquet")
    assert json.loads(meta["flag_bits"])["22"] == "toy_not_ok" and not (catalog["flags"] & (1 << 22)).any()
    assert (catalog["status_toy"] == "ok").all() and {"z_colour", "z_colour_median", "z_colour_u95"} <= set(catalog)
    testing = catalog[catalog["split"] == "testing"]
    assert np.median(np.abs(testing["z_colour"] - testing["z_spec"])) < 0.15
    lines = (folder / "catalog" / "photoz_catalog.jsonl").read_text().splitlines()
    assert [json.loads(line)["object_id"] for line in lines[1:]] == catalog["object_id"].tolist()
    assert (folder / "catalog" / "pz_colour.hdf5").exists() and (folder / "report.html").exists()
