"""The emulated HSC services, called as the protocol reference says, without our client."""

import base64
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import requests

from skyloom.archives import hsc_sql
from skyloom.sky import catalog
from skyloom.sky.servers import hsc

CREDENTIAL = {"account_name": "embedded", "password": "sky"}
AUTH = ("embedded", "sky")
HEADER = "#? rerun type filter tract ra dec sw sh image mask variance"


def sql(served, verb, **body):
    call = {"credential": CREDENTIAL, "clientVersion": 20190514.1, **body}
    return requests.post(hsc.urls(served.url)["sql_url"] + verb, json=call, timeout=60)


def query(served, text):
    """Rows of a query as a user of the API gets them."""
    job = sql(served, "submit", catalog_job={"sql": text, "out_format": "csv", "release_version": "pdr2"}, nomail=True).json()
    states = [job["status"]]
    while job["status"] in ("waiting", "running"):
        job = sql(served, "status", id=job["id"]).json()
        states.append(job["status"])
    return states, job, sql(served, "download", id=job["id"]).text


def post(served, lines, path="cutout_url", auth=AUTH, header=HEADER):
    return requests.post(hsc.urls(served.url)[path], files={"list": ("coordlist.txt", "\n".join([header, *lines]) + "\n")},
                         auth=auth, timeout=60)


def row(ra=150.15, dec=2.15, band="I", rerun="pdr2_wide", size="5arcsec"):
    return f"{rerun} coadd HSC-{band} any {ra}deg {dec}deg {size} {size} true true true"


def covered_position(sky):
    table = catalog.forced(sky, sky.footprint)
    good = np.flatnonzero((table["kind"] == 0) & ~table["i_pixelflags_edge"] & (abs(table["ra"] - 150.15) < 0.1)
                          & (abs(table["dec"] - 2.15) < 0.1))
    return float(table["ra"][good[0]]), float(table["dec"][good[0]])


def test_jobs_wait_run_and_finish_and_the_header_starts_with_a_hash(served):
    states, _, text = query(served, "SELECT object_id, ra FROM pdr2_wide.forced WHERE isprimary ORDER BY object_id LIMIT 3")
    assert states == ["waiting", "running", "running", "done"]
    assert text.startswith("# object_id,ra\r\n") and text.count("\r\n") == 4


def test_preview_counts_all_and_shows_a_hundred(served):
    job = {"sql": "SELECT object_id FROM pdr2_wide.forced", "release_version": "pdr2"}
    result = sql(served, "preview", catalog_job=job).json()
    assert result["result"]["count"] > 1000 and len(result["result"]["rows"]) == 100


def test_wrong_accounts_bad_sql_and_bad_releases(served):
    url = hsc.urls(served.url)["sql_url"] + "preview"
    bad = {"credential": {"account_name": "x", "password": "y"}, "catalog_job": {"sql": "SELECT 1", "release_version": "pdr2"}}
    assert requests.post(url, json=bad, timeout=10).status_code == 401
    for text in ("SELEC object_id FROM pdr2_wide.forced", "SELECT nothing_such FROM pdr2_wide.forced",
                 "DROP TABLE pdr2_wide.forced", "SELECT unknown_function(ra) FROM pdr2_wide.forced"):
        reply = sql(served, "preview", catalog_job={"sql": text, "release_version": "pdr2"})
        assert reply.status_code == 406 and reply.text
    assert sql(served, "preview", catalog_job={"sql": "SELECT 1", "release_version": "pdr9"}).status_code == 406


def test_a_query_that_fails_late_has_status_error_and_deleted_jobs_are_gone(served):
    _, job, _ = query(served, "SELECT nothing_such FROM pdr2_wide.forced")
    assert job["status"] == "error" and "nothing_such" in job["error"]
    assert sql(served, "delete", id=job["id"]).status_code == 200
    assert sql(served, "status", id=job["id"]).status_code == 406


def test_dropping_each_condition_brings_back_exactly_the_rows_it_rejects(served, sky):
    """The paper's query, condition by condition, against the tables it runs on."""
    template = (Path(__file__).resolve().parents[2] / "resources" / "sql" / "hsc_specz.sql").read_text()
    text = hsc_sql.render(template, {"specz_flag_homogeneous": True})
    forced, specz = catalog.forced(sky, sky.footprint), catalog.specz(sky, sky.footprint)
    at = {int(i): k for k, i in enumerate(forced["object_id"])}
    rows = np.array([at[int(i)] for i in specz["object_id"]])
    conditions = {"specz_redshift > 0": specz["specz_redshift"] > 0,
                  "0 < specz_redshift_err": specz["specz_redshift_err"] > 0,
                  "specz_redshift_err < 1": specz["specz_redshift_err"] < 1,
                  "specz_redshift < 9.999": specz["specz_redshift"] < 9.999,
                  "specz_flag_homogeneous": specz["specz_flag_homogeneous"]}
    for flag in re.findall(r"NOT (\w+)", text):
        conditions[f"NOT {flag}"] = ~forced[flag][rows]
    assert len(conditions) == 40

    def count(statement):
        reply = sql(served, "preview", catalog_job={"sql": statement, "release_version": "pdr2"})
        assert reply.status_code == 200, reply.text
        return reply.json()["result"]["count"]

    everything = np.all(list(conditions.values()), axis=0)
    assert count(text) == everything.sum() > 50
    useful = 0
    for condition, holds in conditions.items():
        others = np.all([v for k, v in conditions.items() if k != condition], axis=0)
        pattern = rf"(WHERE|AND) {re.escape(condition)}\b" if condition[-1].isalnum() else rf"(WHERE|AND) {re.escape(condition)}"
        dropped, changes = re.subn(pattern, r"\1 TRUE", text)
        assert changes == 1, condition
        rejected = int((others & ~holds).sum())
        useful += rejected > 0
        if rejected or condition.startswith(("specz", "0 <")):  # 40 full queries would take a minute
            assert count(dropped) == everything.sum() + rejected, condition
    assert useful >= 12


def test_members_carry_the_line_number_and_uncovered_rows_are_left_out(served, sky):
    ra, dec = covered_position(sky)
    reply = post(served, ["# a comment", row(ra, dec), "", row(10.0, -60.0), row(ra, dec, "G")])
    assert reply.status_code == 200 and reply.headers["Content-Type"] == "application/x-tar"
    names = tarfile.open(fileobj=io.BytesIO(reply.content)).getnames()
    assert len(names) == 2
    assert re.fullmatch(r"arch-\d+-\d+/3-cutout-HSC-I-\d+-pdr2_wide\.fits", names[0])
    assert re.fullmatch(r"arch-\d+-\d+/6-cutout-HSC-G-\d+-pdr2_wide\.fits", names[1])


def test_no_coverage_at_all_is_an_empty_tar(served):
    reply = post(served, [row(10.0, -60.0)])
    assert reply.status_code == 200 and len(reply.content) == 10240 and not any(reply.content)


def test_the_fits_layout_is_the_archives(served, sky):
    from astropy.io import fits
    from astropy.wcs import WCS

    ra, dec = covered_position(sky)
    archive = tarfile.open(fileobj=io.BytesIO(post(served, [row(ra, dec)]).content))
    with fits.open(io.BytesIO(archive.extractfile(archive.getnames()[0]).read())) as hdus:
        assert hdus[0].header["FLUXMAG0"] == pytest.approx(63095734448.0194) and hdus[0].data is None
        assert [h.data.dtype.kind + str(h.data.dtype.itemsize) for h in hdus[1:]] == ["f4", "i4", "f4"]
        assert hdus[2].header["MP_SAT"] == 1 and hdus[2].header["MP_NO_DATA"] == 8
        x, y = WCS(hdus[1].header).all_world2pix(ra, dec, 0)
        ny, nx = hdus[1].data.shape
        assert abs(x - nx / 2) < 1.5 and abs(y - ny / 2) < 1.5
        assert hdus[1].data[int(y) - 2:int(y) + 3, int(x) - 2:int(x) + 3].mean() > 3 * np.median(hdus[1].data)


@pytest.mark.parametrize(("lines", "header", "status"), [
    ([row()] * 1001, HEADER, 406), ([row(band="U")], HEADER, 406), ([row(rerun="pdr9")], HEADER, 406), (["1 2"], HEADER, 406),
    ([row(size="5parsec")], HEADER, 406), ([row()], "rerun type", 406)])
def test_bad_lists_are_refused(served, lines, header, status):
    assert post(served, lines, header=header).status_code == status


def test_basic_auth_names_its_realm(served):
    reply = post(served, [row()], auth=("a", "b"))
    assert reply.status_code == 401 and reply.headers["WWW-Authenticate"] == 'Basic realm="hsc-ssp"'
    assert base64.b64encode(b"a:b") in reply.request.headers["Authorization"].encode()


def test_the_psf_picker_answers_kernels_of_sum_one(served, sky):
    from astropy.io import fits

    ra, dec = covered_position(sky)
    reply = post(served, [f"pdr2_wide coadd HSC-R auto auto {ra} {dec} true"], path="psf_url",
                 header="#? rerun type filter tract patch ra dec centered")
    archive = tarfile.open(fileobj=io.BytesIO(reply.content))
    assert re.search(r"/2-psf-calexp-pdr2_wide-HSC-R-\d+-\d+,\d+-", archive.getnames()[0])
    with fits.open(io.BytesIO(archive.extractfile(archive.getnames()[0]).read())) as hdus:
        assert hdus[0].data.sum() == pytest.approx(1) and hdus[0].data.dtype.itemsize == 8
        assert np.unravel_index(hdus[0].data.argmax(), hdus[0].data.shape) == (21, 21)


def test_limits_answer_429_and_503_and_the_statistics_tell(sky):
    with hsc.server(sky, rate=2.0).running() as server:
        codes = [requests.get(server.url + "/hsc/psf/pdr2/cgi/getpsf", timeout=10).status_code for _ in range(6)]
        assert codes[0] == 401 and codes.count(429) >= 2
        stats = json.loads(requests.get(server.url + "/_stats", timeout=10).text)
        assert stats["requests"]["hsc.psf"] == 6 and stats["refused"] == codes.count(429)
