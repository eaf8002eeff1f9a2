"""What is believed of a reply with status 200: tables with the columns asked for; nulls are states; nothing is a file's name."""

import gzip
import http.server
import subprocess
import sys
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from skyloom.archives import flatfiles, skyserver, surveys, tap, words
from skyloom.archives.http import Client
from skyloom.errors import InputError, ReplyError, ServiceError
from skyloom.sample import cuts, redshifts
from skyloom.surveys.spectro import REGISTRY, gama, ours

SDSS = REGISTRY["sdss"]
HEADER = ",".join(SDSS.columns)
ROW = "13835143133612130304,1237668297129623760,150.1,2.2,0.1,0.0001,0,GALAXY,0.1,0.0001,0"


@contextmanager
def serving(answer):
    """(address, requests so far) of a server that replies what `answer(method, path with form, number)` says: bytes, or
    (status, headers, bytes)."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            seen.append((self.command, self.path))
            found = answer(self.command, self.path + ("?" + form if form else ""), len(seen) - 1)
            status, headers, body = found if isinstance(found, tuple) else (200, {}, found)
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


def client(**options):
    return Client(**({"rpm": 60000, "attempts": 2, "wait_initial": 0.01, "total_s": 20} | options))


# SkyServer

@pytest.mark.parametrize("text", [
    "<html><body>maintenance</body></html>", "\n <!DOCTYPE html><p>login</p>", "Service unavailable", "", "#Table1",
    HEADER, f"#Table1\n{HEADER}\n", f"{HEADER}\n{ROW[:60]}", f"{HEADER}\n{ROW},7,8", "a,b\n1,2\n", '[{"Rows":[]}]',
    "/etc/passwd", "http://127.0.0.1:9/table.csv", "file:///etc/passwd", "surveys.tsv"])
def test_what_is_no_table_of_skyserver_is_never_no_rows(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "surveys.tsv").write_text(f"{HEADER}\n{ROW}\n")  # a reply may be the name of a file that is there
    with pytest.raises(ReplyError):
        skyserver.parse(text, SDSS.columns)
    with serving(lambda *_: text.encode()) as (url, seen), pytest.raises(ServiceError, match="gave no table in 2 attempts"):
        skyserver.rows(client(), url, SDSS.columns, attempts=2, wait=0)
    assert len(seen) == 2


def test_a_path_that_names_a_table_is_not_read(tmp_path):
    (tmp_path / "t.csv").write_text(f"{HEADER}\n{ROW}\n")
    with pytest.raises(ReplyError, match="bad_csv"):
        skyserver.parse(str(tmp_path / "t.csv"), SDSS.columns)


@pytest.mark.parametrize("text", [f"#Table1\n{HEADER}\n{ROW}\n", f"\ufeff{HEADER}\r\n{ROW}\r\n",
                                  ",".join(f'"{name}"' for name in SDSS.columns) + f"\n\n{ROW}"])
def test_skyservers_tables_keep_ids_of_twenty_digits(text):
    frame = skyserver.parse(text, SDSS.columns)
    assert frame["specObjID"].tolist() == [13835143133612130304] and frame["specObjID"].dtype == np.uint64
    common = redshifts.normalise(SDSS, frame, "x")
    assert common["survey_id"].tolist() == ["13835143133612130304"] and common["repeat_key"].tolist() == ["1237668297129623760"]


def sky(pages):
    """A SkyServer of rows (id, ra, z) that sends `pages` rows a page, whatever was asked for."""
    def answer(method, path, number):
        sql = parse_qs(urlsplit(path).query)["cmd"][0]
        last = int(sql.split("specObjID > ")[1].split()[0])
        rows = [row for row in pages if int(row.split(",")[0] or 0) > last][:2]
        return "\n".join(["#Table1", HEADER, *rows]).encode() if rows else b"No objects have been found"

    return answer


def test_pages_that_were_cut_off_lose_nothing_and_ids_of_both_halves_stay_whole():
    rows = [f"{number}{ROW[20:]}" for number in (5, 10, 2**63 - 1, 2**63 + 5, 13835143133612130304)]
    with serving(sky(rows)) as (url, seen):
        frame = skyserver.rows(client(), url, SDSS.columns, page=500)
    assert frame["specObjID"].tolist() == [5, 10, 2**63 - 1, 2**63 + 5, 13835143133612130304] and len(seen) == 4
    with serving(lambda *_: f"{HEADER}\n{ROW}\n".encode()) as (url, seen):  # knows no pages
        assert len(skyserver.rows(client(), url, SDSS.columns)) == 1 and len(seen) == 2
    with serving(lambda *_: f"{HEADER}\n{ROW}\n".encode()) as (url, _), pytest.raises(ServiceError, match="has none of them"):
        skyserver.rows(client(), url, SDSS.columns, page=1)


def test_a_query_that_timed_out_there_is_no_bad_query():
    with pytest.raises(ReplyError, match="timed_out"):
        skyserver.parse('<span class="error_message">Timeout expired.</span>')


# Nulls

def test_nulls_of_any_column_are_states_and_ids_that_are_null_are_counted():
    words = [ROW.split(",") for _ in range(len(SDSS.columns) + 1)]
    for k in range(len(SDSS.columns)):
        words[k][k] = ("", "null", "NaN", "NULL")[k % 4]
    text = "\n".join(["#Table1", HEADER, *(",".join(row) for row in words)])
    common = redshifts.normalise(SDSS, skyserver.parse(text, SDSS.columns), "DR17")
    assert len(common) == len(SDSS.columns) + 1
    assert common["survey_id"].tolist() == ["", *["13835143133612130304"] * len(SDSS.columns)]
    assert common["repeat_key"][1] == "13835143133612130304"  # no photo object: repeats no other
    chosen = redshifts.first_cuts() + redshifts.quality_cuts([SDSS], -30, 0.0, 1.6)
    kept, rejected, counts = cuts.apply_cuts(common.assign(row=range(len(common))), chosen)
    reasons = dict(zip(rejected["row"], rejected["cut"], strict=True))
    place = {name: k for k, name in enumerate(SDSS.columns)}
    assert reasons == {place["specObjID"]: "id_given", place["ra"]: "position_finite", place["dec"]: "position_finite",
                       place["zWarning"]: "sdss_zwarning", place["class"]: "sdss_class"}
    assert len(kept) + len(rejected) == len(common) and counts["rows_in"].iloc[0] == len(common)


@pytest.mark.parametrize("name", ours())
def test_every_survey_takes_nulls_in_every_column(name):
    survey = REGISTRY[name]
    values = {column: ["7", "3", "4"] for column in survey.columns}
    for column in survey.columns:
        for null in ("", "null", "--"):
            frame = words.typed(pandas.DataFrame(values | {column: ["7", null, "4"]}, dtype=str), survey.texts)
            common = redshifts.normalise(survey, frame, "x")
            assert len(common) == 3 and common["survey_id"].iloc[0] == "7" and common["repeat_key"].iloc[0] == "7"
            chosen = redshifts.first_cuts() + redshifts.quality_cuts([survey], -90, -1, 9)
            kept, rejected, _ = cuts.apply_cuts(common, chosen)
            assert len(kept) + len(rejected) == 3


def test_words_become_what_they_are():
    frame = pandas.DataFrame({"id": ["0001", " 2", "null"], "z": ["1.5D-3", "2d+1", "N/A"], "name": ["a1", "7", ""],
                              "sign": ["-00", "+1", "-"], "big": [str(2**70), "1", "2"], "empty": ["", "null", "--"],
                              "mixed": ["-5", str(2**63), "1"]}, dtype=str)
    out = words.typed(frame, ["sign"])
    assert out["id"].tolist()[:2] == [1, 2] and out["id"].isna().tolist() == [False, False, True] and out["id"].dtype == "Int64"
    assert out["z"].tolist()[:2] == [0.0015, 20.0] and np.isnan(out["z"][2])
    assert out["name"].tolist() == ["a1", "7", None] and out["sign"].tolist() == ["-00", "+1", "-"]
    assert out["big"][0] == str(2**70) and out["mixed"][1] == str(2**63) and out["empty"].isna().all()


def test_ids_that_came_as_doubles_are_refused():
    desi = {column: [1.0] for column in REGISTRY["desi"].columns}
    assert redshifts.normalise(REGISTRY["desi"], pandas.DataFrame(desi), "x")["survey_id"].tolist() == ["1"]
    with pytest.raises(InputError, match="desi's survey_id came as doubles"):
        redshifts.normalise(REGISTRY["desi"], pandas.DataFrame(desi | {"TARGETID": [3.9627e16]}), "x")


# TAP

VOTABLE = ('<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">{}'
           '<TABLE>{}<DATA><TABLEDATA>{}</TABLEDATA></DATA></TABLE>{}</RESOURCE></VOTABLE>')
OK, OVER = '<INFO name="QUERY_STATUS" value="OK"/>', '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'
FIELDS = '<FIELD name="n" datatype="long"><VALUES null="-1"/></FIELD><FIELD name="z" datatype="double"/>' \
    '<FIELD name="Name" datatype="char" arraysize="*"/>'
CELLS = "<TR><TD>12345678901234567</TD><TD>0.5</TD><TD>a</TD></TR><TR><TD>-1</TD><TD></TD><TD></TD></TR>"
WHOLE = VOTABLE.format(OK, FIELDS, CELLS, "")
COLUMNS = ("n", "z", "Name")


@pytest.mark.parametrize(("reply", "words"), [
    ("<html><body>maintenance</body></html>", "failed"), ("", "failed"), ("/etc/passwd", "failed"),
    ("n,z,Name\n1,2,3\n", "failed"), (WHOLE[:-60], "failed"),
    (VOTABLE.format(OK, FIELDS.replace('"z"', '"zz"'), CELLS, ""), "without the column z"),
    (VOTABLE.format("", FIELDS, "", ""), "without rows and without QUERY_STATUS")])
def test_what_is_no_table_of_tap_is_one_error(reply, words):
    with serving(lambda *_: reply.encode()) as (url, seen), pytest.raises(ServiceError, match=words):
        tap.rows(client(), url, "SELECT", columns=COLUMNS)
    assert len(seen) <= 2


def test_an_error_document_with_200_is_the_services_own_words():
    error = VOTABLE.format('<INFO name="QUERY_STATUS" value="ERROR">no such column</INFO>', FIELDS, "", "")
    with serving(lambda *_: error.encode()) as (url, _), pytest.raises(InputError, match="rejected the query: no such column"):
        tap.rows(client(), url, "SELECT", columns=COLUMNS)


def test_masked_cells_of_a_votable_are_nulls():
    with serving(lambda *_: WHOLE.encode()) as (url, _):
        frame = tap.rows(client(), url, "SELECT", columns=COLUMNS)
    assert frame["n"].dropna().tolist() == [12345678901234567] and frame.isna().sum().tolist()[:2] == [1, 1]
    assert redshifts._words(redshifts._plain(frame["n"]), "n").tolist() == ["12345678901234567", ""]
    with serving(lambda *_: VOTABLE.format(OK, FIELDS, "", "").encode()) as (url, _):
        assert len(tap.rows(client(), url, "SELECT", columns=COLUMNS)) == 0  # said in its own words


def job(phase, result):
    uws = ('<?xml version="1.0"?><uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" '
           'xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1"><uws:jobId>1</uws:jobId>'
           '<uws:phase>{}</uws:phase><uws:results><uws:result id="result" '
           'xlink:href="http://127.0.0.1:9/elsewhere"/></uws:results></uws:job>')
    state = {"phase": "PENDING"}

    def answer(method, path, _):
        path = path.split("?")[0]
        if "/sync" in path:
            return VOTABLE.format(OK, FIELDS, CELLS, OVER).encode()
        if method == "DELETE":
            return 500, {}, b"can't"  # a job that can't be deleted spoils nothing
        if path.endswith("/phase") and method == "POST":
            state["phase"] = phase
        if path.endswith("/async"):
            return 303, {"Location": "/async/1"}, b""
        return result.encode() if path.endswith("/result") else uws.format(state["phase"]).encode()

    return answer


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(tap, "POLL", (0.01, 0.02))


def test_a_job_is_deleted_and_its_result_is_taken_from_where_tap_puts_it(quick):
    with serving(job("COMPLETED", WHOLE)) as (url, seen):
        assert len(tap.rows(client(attempts=1), url, "SELECT", columns=COLUMNS)) == 2
    assert ("DELETE", "/async/1") in seen


@pytest.mark.parametrize(("phase", "result", "words"), [
    ("COMPLETED", VOTABLE.format(OK, FIELDS, CELLS, OVER), "cut the result of a job off"),
    ("EXECUTING", "", "still EXECUTING after"), ("COMPLETED", "<html>no</html>", "failed")])
def test_a_job_that_ends_badly_or_never_is_one_error_and_deleted(quick, phase, result, words):
    with serving(job(phase, result)) as (url, seen), pytest.raises(ServiceError, match=words):
        tap.rows(client(attempts=1, total_s=0.3), url, "SELECT", columns=COLUMNS)
    assert ("DELETE", "/async/1") in seen


@pytest.mark.parametrize(("own", "keys"), [
    ([], ["J10.00000+10.00000", "J10.00000+10.00000", "J20.50000+20.50000"]), (["CATAID"], ["3", "4", "5"]),
    (["cataid", "SpecID"], ["3", "4", "5"])])
def test_gama_at_vizier_is_asked_for_the_ids_that_its_table_has(own, keys):
    known = [*own, "RAJ2000", "DEJ2000", "z", "q_z", "IsBest"]

    def answer(method, path, number):
        sql = parse_qs(urlsplit(path).query)["QUERY"][0]
        fields = known if "*" in sql else [word.strip('", ') for word in sql.split(" FROM ")[0].split()[1:]]
        if set(fields) - set(known):
            return VOTABLE.format('<INFO name="QUERY_STATUS" value="ERROR">no such column</INFO>', FIELDS, "", "").encode()
        head = "".join(f'<FIELD name="{name}" datatype="double"/>' for name in fields)
        rows = "".join("<TR>" + "".join(f"<TD>{at if 'J2000' in name else 3 + k}</TD>" for name in fields) + "</TR>"
                       for k, at in enumerate((10.0, 10.0, 20.5)))
        return VOTABLE.format(OK, head, rows, "").encode()

    with serving(answer) as (url, _):
        common = redshifts.normalise(gama.SURVEY, gama.at_vizier(client(), url, None), "x")
    assert common["repeat_key"].tolist() == keys and common["survey_id"].tolist() == keys


# Files

def catalog(path, n=4, **changes):
    columns = {"TARGETID": np.arange(n) + 39627000000000000, "Z": np.full(n, 0.5), "ZERR": np.full(n, 1e-4),
               "ZWARN": np.zeros(n, int), "SPECTYPE": np.array(["GALAXY"] * n), "TARGET_RA": np.full(n, 1.0),
               "TARGET_DEC": np.full(n, 2.0)} | changes
    hdu = fits.table_to_hdu(Table(columns))
    hdu.name = "ZCATALOG"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path.read_bytes()


@pytest.mark.parametrize("body", [b"<html><body>please log in</body></html>", b"", b"/etc/passwd",
                                  gzip.compress(b"<html></html>"), b"SIMPLE  =" + b" " * 2871, b"x" * 2880], ids=range(6))
@pytest.mark.parametrize("name", ["desi", "vvds", "6df"])
def test_a_page_that_was_saved_as_a_catalog_is_deleted_and_asked_for_again(tmp_path, name, body):
    survey, good = REGISTRY[name], catalog(tmp_path / "good.fits")
    if name != "desi":
        good = f"# {' '.join(survey.columns)}\n{' '.join(['7'] * len(survey.columns))}\n".encode()
    with serving(lambda method, path, number: good if number else body) as (url, _):
        urls = {"url": f"{url}/a/file"}
        with pytest.raises(ServiceError, match=rf"sent (no catalog of {name}: .*it is deleted|a web page|nothing)"):
            surveys.ask(survey, client(), urls, {}, tmp_path / "kept")
        assert not [path for path in (tmp_path / "kept").iterdir() if path.is_file()]
        assert len(surveys.ask(survey, client(), urls, {}, tmp_path / "kept")[0]) >= 1


def test_two_addresses_of_one_file_name_are_two_files(tmp_path):
    vvds = REGISTRY["vvds"]
    with serving(lambda method, path, number: f"# {' '.join(vvds.columns)}\n{len(path)} 1 2 0.5 3\n".encode()) as (url, _):
        frame, _ = surveys.ask(vvds, client(), {"url": f"{url}/a/f.txt {url}/other/f.txt"}, {}, tmp_path)
    assert frame["NUM"].tolist() == [8, 12]


def test_nulls_of_files_are_nulls(tmp_path):
    warn = MaskedColumn([0, 4, 0, 0], mask=[False, False, True, False], fill_value=-99, dtype=int)
    targets = MaskedColumn(np.arange(4) + 39627000000000000, mask=[True, False, False, False], fill_value=-1)
    catalog(tmp_path / "d.fits", TARGETID=targets, ZWARN=warn, Z=np.array([0.5, 0.5, 0.5, np.nan]))
    desi = REGISTRY["desi"]
    common = redshifts.normalise(desi, flatfiles.read(tmp_path / "d.fits", "fits", "ZCATALOG", desi.columns), "x")
    assert common["survey_id"].tolist() == ["", *(str(39627000000000000 + k) for k in (1, 2, 3))]
    assert common["quality"].isna().tolist() == [False, False, True, False] and np.isnan(common["z"][3])
    vipers, text = REGISTRY["vipers"], ("# num alpha delta zspec zflg classFlag\n1 10 -5 0.5 3.5 1\n2 10 -5 null 3.5 null\n"
                                        "null 10 -5 0.5 3.5 1\n")
    (tmp_path / "v.txt").write_text(text)
    common = redshifts.normalise(vipers, flatfiles.read(tmp_path / "v.txt", "text", "zflg", vipers.columns), "x")
    assert common["class"].tolist() == ["1", "", "1"] and common["survey_id"].tolist() == ["1", "2", ""]
    for row in ("3 10 -5", "3 10  0.5 3.5 1\n", "3 10 -5 0.5 3.5 1 9\n"):  # cut off, a blank cell, one too many
        (tmp_path / "v.txt").write_text(text + row)
        with pytest.raises(InputError, match=r"a row has [357] values for 6 names"):
            flatfiles.read(tmp_path / "v.txt", "text", "zflg", vipers.columns)


def test_a_fits_file_takes_the_memory_of_the_columns_that_are_read(tmp_path):
    n = 60_000
    catalog(tmp_path / "wide.fits", n, **{f"FLUX_{k}": np.zeros(n) for k in range(100)})  # 50 MB, 3 MB of them asked for
    program = ("import resource, sys; from pathlib import Path; import numpy, pandas, astropy.io.fits\n"
               "from skyloom.archives import flatfiles\nfrom skyloom.surveys.spectro import REGISTRY\n"
               "used = int(next(l for l in open('/proc/self/status') if l.startswith('VmData')).split()[1]) << 10\n"
               "resource.setrlimit(resource.RLIMIT_DATA, (used + (30 << 20), used + (30 << 20)))\n"
               "frame = flatfiles.read(Path(sys.argv[1]), 'fits', 'ZCATALOG', REGISTRY['desi'].columns)\nprint(len(frame))")
    command = [sys.executable, "-c", program, str(tmp_path / "wide.fits")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(n), done.stderr[-500:]
