"""Bad input through the verbs: one sentence that begins `skyloom: `, exit 2, nothing half-written."""

import errno
import json

import h5py
import numpy as np
import pandas
import pytest

from skyloom import store
from skyloom.__main__ import main
from skyloom.archives import local, tables
from skyloom.errors import InputError, ReplyError
from skyloom.sky.servers import hsc

COLUMNS = {"redshift": "z", "magnitudes": {"g": "g"}, "errors": {}}


def refused(capsys, arguments, *words, code=2):
    """Run a verb that must refuse; its sentence."""
    assert main([str(a) for a in arguments]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("skyloom: ") and not any("Traceback" in line for line in lines)
    assert all(word in lines[-1] for word in words), lines[-1]
    return lines[-1]


def services(monkeypatch, archive, url="", **more):
    block = {"rpm": 6000, "streams": 1, "timeout_s": 5, "attempts": 2, "total_s": 5, "wait_initial_s": 0.02, "poll_s": 0.02,
             "contact": "", **({k: url + p for k, p in hsc.paths("pdr2").items()} if url else {})}
    embedded = {"seed": 1, "footprint": [150.0, 150.1, 2.0, 2.1], "hole_rate": 0.3, "gap_rate": 0.0, "reddening": 0.0,
                "faults": []}
    monkeypatch.setenv("SKYLOOM_SERVICES", json.dumps({"archive": archive, "embedded": embedded, "hsc": block | more}))


def query(tmp_path, text, archive="embedded"):
    template = tmp_path / "q.sql"
    template.write_text(text)
    settings = {"archive": archive, "release": "pdr2", "region": [150.0, 150.1, 2.0, 2.1], "run": "t"}
    return ["query", "--settings", json.dumps(settings), "--template", template, "--rpm", 6000, "--out", tmp_path / "raw.parquet"]


def test_missing_credentials(tmp_path, capsys, monkeypatch):
    services(monkeypatch, "live", "http://127.0.0.1:9")
    for name in ("SKYLOOM_HSC_USER", "SKYLOOM_HSC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    refused(capsys, query(tmp_path, "SELECT 1", "live"), "SKYLOOM_HSC_USER", "SKYLOOM_HSC_PASSWORD")


def test_wrong_credentials(tmp_path, capsys, monkeypatch, served):
    services(monkeypatch, "live", served.url)
    monkeypatch.setenv("SKYLOOM_HSC_USER", "someone")
    monkeypatch.setenv("SKYLOOM_HSC_PASSWORD", "wrong-secret")
    sentence = refused(capsys, query(tmp_path, "SELECT 1", "live"), "refused the account")
    assert "wrong-secret" not in sentence
    assert not (tmp_path / "raw.parquet").exists()


def test_sql_that_the_archive_refuses(tmp_path, capsys, monkeypatch):
    services(monkeypatch, "embedded")
    refused(capsys, query(tmp_path, "SELECT nothing_such FROM pdr2_wide.forced"), "nothing_such", "mend the template")
    refused(capsys, query(tmp_path, "SELECT $typo FROM pdr2_wide.forced"), "$typo")
    assert [p.name for p in tmp_path.iterdir()] == ["q.sql"]


def test_a_query_without_services(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SKYLOOM_SERVICES", raising=False)
    refused(capsys, query(tmp_path, "SELECT 1"), "SKYLOOM_SERVICES")


def table(tmp_path, text, columns=COLUMNS, name="t.csv", parts=("training",)):
    (tmp_path / name).write_text(text)
    settings = {"archive": "local", "run": "t", "release": "local", "parts": list(parts), "columns": columns}
    return ["query", "--settings", json.dumps(settings), "--tables", tmp_path / name, "--out", tmp_path / "raw.parquet"]


@pytest.mark.parametrize(("text", "columns", "words"), [
    ("g,r\n20,21\n", COLUMNS, ["no column `z`", "t.csv"]),
    ("g,z\n20,unknown\n", COLUMNS, ["column `z`", "no finite number"]),
    ("g,z\n20,0.5\n", {**COLUMNS, "redshift": ""}, ["`local.columns.redshift` is empty"]),
    ("g,z\n20,0.5\n", {**COLUMNS, "magnitudes": {}}, ["`local.columns.magnitudes` is empty"]),
    ("g,z\n20,0.5\n", {**COLUMNS, "magnitudes": {"r": "rmag"}}, ["no column `rmag`"]),
    ("id,g,z\n7,20,0.5\n8,21,0.6\n7,20,0.5\n", {**COLUMNS, "id": "id"}, ["object id 7", "twice", "row 2"]),
    ("id,g,z\na,20,0.5\na,21,0.6\n", {**COLUMNS, "id": "id"}, ["object id a", "twice"]),
])
def test_tables_that_lack_something(tmp_path, capsys, text, columns, words):
    refused(capsys, table(tmp_path, text, columns), *words)
    assert not (tmp_path / "raw.parquet").exists()


def test_tables_that_are_none(tmp_path, capsys):
    refused(capsys, table(tmp_path, "rubbish", name="t.docx"), "no known kind")
    refused(capsys, table(tmp_path, "rubbish", name="t.parquet"), "can't be read")
    settings = {"archive": "local", "run": "t", "release": "local", "parts": ["training"], "columns": COLUMNS}
    asked = ["query", "--settings", json.dumps(settings), "--tables", "absent.csv", "--out", tmp_path / "r"]
    refused(capsys, asked, "absent.csv")


def test_sentinels_and_nan_in_a_table_are_kept_as_states_or_cut_with_a_reason(tmp_path):
    text = "g,z\n99,0.5\n-99,0.6\n-999,0.7\nnan,0.8\ninf,0.9\n20,nan\n20,-9.99\n20,inf\n20,0.4\n"
    assert main([str(a) for a in table(tmp_path, text)]) == 0
    cut = {"z_min": 0.0, "z_max": 4.0, "sigma_z": "none", "sigma_z_max": 0.005, "isprimary": False, "magnitudes": False,
           "mag_min": 0, "mag_max": 50}
    assert main(["cut", str(tmp_path / "raw.parquet"), "--settings", json.dumps(cut), "--selected", str(tmp_path / "s.parquet"),
                 "--rejected", str(tmp_path / "r.parquet"), "--counts", str(tmp_path / "c.csv")]) == 0
    assert len(store.read_parquet(tmp_path / "s.parquet")) == 6
    assert store.read_parquet(tmp_path / "r.parquet")["cut"].tolist() == ["redshift_finite"] * 3


CUT = {"z_min": 0.0, "z_max": 4.0, "sigma_z": "none", "sigma_z_max": 0.005, "isprimary": False, "magnitudes": False,
       "mag_min": 0, "mag_max": 50}


def test_a_sample_that_is_cut_empty_ends_there(tmp_path, capsys):
    assert main([str(a) for a in table(tmp_path, "g,z\n20,0.5\n21,0.6\n")]) == 0
    asked = ["cut", tmp_path / "raw.parquet", "--settings", json.dumps({**CUT, "z_min": 1.0, "sample": "specz"}), "--selected",
             tmp_path / "s", "--rejected", tmp_path / "r", "--counts", tmp_path / "c"]
    refused(capsys, asked, "cut left no object of specz", "`redshift_range` dropped 2 of 2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw.parquet", "t.csv"]


def test_an_empty_compilation_ends_there(tmp_path, capsys):
    row = {"TARGETID": [1], "TARGET_RA": [150.0], "TARGET_DEC": [2.0], "Z": [0.5], "ZERR": [1e-4], "ZWARN": [4],
           "SPECTYPE": ["GALAXY"]}
    meta = {"survey": "desi", "release": "dr1", "source": "x"}
    settings = json.dumps({"run": "t", "release": "c", "dec_min": -30, "match_arcsec": 1.0, "z_min": 0.0, "z_max": 4.0})
    for rows, words in ((row, ["dropped 1 of 1"]), ({k: v[:0] for k, v in row.items()}, [])):
        store.write_parquet(tmp_path / "desi.parquet", pandas.DataFrame(rows), meta)
        outputs = [w for n in ("raw", "selected", "rejected", "counts", "conflicts") for w in (f"--{n}", tmp_path / n)]
        refused(capsys, ["compile-redshifts", tmp_path / "desi.parquet", "--settings", settings, *outputs],
                "compile-redshifts left no object", *words)
        assert not (tmp_path / "selected").exists()


def test_no_plan_and_no_shards_without_objects(tmp_path, capsys):
    store.write_parquet(tmp_path / "s.parquet", pandas.DataFrame({"object_id": [], "ra": [], "dec": []}))
    settings = json.dumps({"by": "sky", "max_objects": 10, "least": 1, "n_shards": 1, "run": "t"})
    refused(capsys, ["plan", "--settings", settings, "--selected", tmp_path / "s.parquet", "--out", tmp_path / "plan.tsv"],
            "plan found no object")
    (tmp_path / "plan.tsv").write_text("shard\nh1_0\n")
    refused(capsys, ["plan-shards", tmp_path / "s.parquet", "--samples", "specz", "--plan", tmp_path / "plan.tsv", "--settings",
                     settings, "--folder", tmp_path / "shards"], "plan-shards found no object")


def test_separators_headers_and_kinds_of_tables(tmp_path):
    (tmp_path / "a.csv").write_text("#F:MAG;D:Z\n20.5;0.1\n21.5;0.2\n")
    assert tables.load(str(tmp_path / "a.csv"))["D:Z"].tolist() == [0.1, 0.2]
    (tmp_path / "annz.csv").write_text("#F:MAG;D:Z\n20.5,0.1\n21.5,0.2\n")  # names and values separated differently
    assert tables.load(str(tmp_path / "annz.csv"))["D:Z"].tolist() == [0.1, 0.2]
    (tmp_path / "b.txt").write_text("# comment\n# mag z\n20.5 0.1\n")
    assert tables.load(str(tmp_path / "b.txt"))["z"].tolist() == [0.1]
    (tmp_path / "bpz.cat").write_text("#  1 id\n#  2 g+\n#  3 zspec\n# id g+ zspec\n#\n 7 20.5 0.1\n 8 -99.0 0.2\n")
    assert tables.load(str(tmp_path / "bpz.cat"))["g+"].tolist() == [20.5, -99.0]
    (tmp_path / "bare.dat").write_text("20.5 0.1\n21.5 0.2\n")  # no header: no row is lost to it
    assert tables.load(str(tmp_path / "bare.dat"))["c2"].tolist() == [0.1, 0.2]
    assert tables.load(str(tmp_path / "bare.dat"), ["mag", "z"])["z"].tolist() == [0.1, 0.2]
    (tmp_path / "quoted.csv").write_text('name,z\n"a, b",0.1\n')
    assert tables.load(str(tmp_path / "quoted.csv"))["z"].tolist() == [0.1]
    (tmp_path / "short.train").write_text("#zs u\n0.1 20.5 0.05\n")  # a name too few would shift every column
    with pytest.raises(InputError, match="3 values a row but 2 column names"):
        tables.load(str(tmp_path / "short.train"))
    named = tables.load(str(tmp_path / "short.train"), ["zs", "u", "eu"])
    assert named["eu"].tolist() == [0.05]
    pandas.DataFrame({"mag": [1.0]}).to_parquet(tmp_path / "c.parquet")
    assert tables.load(str(tmp_path / "c.parquet"))["mag"][0] == 1
    with h5py.File(tmp_path / "d.hdf5", "w") as handle:
        handle["photometry/mag"] = np.array([3.0])
    assert tables.load(f"{tmp_path / 'd.hdf5'}:photometry")["mag"][0] == 3
    from astropy.table import Table

    Table({"mag": [4.0]}).write(tmp_path / "e.fits")
    assert tables.load(str(tmp_path / "e.fits"))["mag"][0] == 4
    assert tables.text_id("a") == tables.text_id("a") >= 0 != tables.text_id("b")


def manifest(tmp_path, **row):
    base = {"object_id": 1, "band": "i", "path": "a.fits", "zero_point": 27.0, "x": 10.0, "y": 10.0}
    pandas.DataFrame([base | row]).to_csv(tmp_path / "m.csv", index=False)
    return local.read_manifest(tmp_path / "m.csv").to_dict("records")[0]


def image(tmp_path, pixels, name="a.fits", **header):
    from astropy.io import fits

    fits.writeto(tmp_path / name, np.asarray(pixels, np.float32), fits.Header(header), overwrite=True)


@pytest.mark.parametrize(("pixels", "cause"), [(np.zeros((21, 21)), "all_zero"), (np.full((21, 21), np.nan), "all_nan"),
                                               (np.ones((3, 21, 21)), "bad_fits")])
def test_empty_images_are_named(tmp_path, pixels, cause):
    image(tmp_path, pixels)
    with pytest.raises(ReplyError) as error:
        local.read_image(manifest(tmp_path), 0.168)
    assert error.value.cause == cause


def test_files_that_are_no_images_are_named(tmp_path):
    (tmp_path / "a.fits").write_text("<html>not found</html>")
    for row, cause in (({}, "bad_fits"), ({"path": "b.fits"}, "missing_file")):
        with pytest.raises(ReplyError) as error:
            local.read_image(manifest(tmp_path, **row), 0.168)
        assert error.value.cause == cause
    image(tmp_path, np.ones((21, 21)))
    for row, cause in (({"zero_point": np.nan}, "no_zero_point"), ({"x": np.nan}, "no_position")):
        with pytest.raises(ReplyError) as error:
            local.read_image(manifest(tmp_path, **row), 0.168)
        assert error.value.cause == cause
    image(tmp_path, np.ones((21, 21)), MAGZERO=25.5)
    assert local.read_image(manifest(tmp_path, zero_point=np.nan), 0.168).zero_point == 25.5


@pytest.mark.parametrize(("change", "words"), [
    ({"colour": "x"}, ["unknown column `colour`"]), ({"path": None}, ["lacks column `path`"])])
def test_manifests_with_wrong_columns(tmp_path, change, words):
    base = {"object_id": [1], "band": ["i"], "path": ["a"]} | {k: [v] for k, v in change.items()}
    pandas.DataFrame({k: v for k, v in base.items() if v != [None]}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError) as error:
        local.read_manifest(tmp_path / "m.csv")
    assert all(word in str(error.value) for word in words)


def test_a_manifest_that_names_an_image_twice(tmp_path):
    pandas.DataFrame({"object_id": [1, 1], "band": ["i", "i"], "path": ["a", "b"]}).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(InputError, match="object 1, band i twice"):
        local.read_manifest(tmp_path / "m.csv")


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    import pyarrow.parquet

    def full(table, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(pyarrow.parquet, "write_table", full)
    refused(capsys, table(tmp_path, "g,z\n20,0.5\n"), "disk is full", "free some space")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv"]


def test_a_corrupt_shard_left_behind(tmp_path, capsys):
    (tmp_path / "s.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 50)
    kernel = tmp_path / "k.conv"
    kernel.write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    refused(capsys, ["measure", tmp_path / "s.h5", "--settings", "{}", "--kernel", kernel, "--out", tmp_path / "o"], "s.h5",
            "delete it and rerun")


def test_a_frozen_plan_is_not_overwritten(tmp_path, capsys):
    settings = json.dumps({"by": "sky", "max_objects": 10, "least": 1, "n_shards": 1})
    plan = ["plan", "--settings", settings, "--by-hash", "--out", tmp_path / "plan.tsv"]
    assert main([str(a) for a in plan]) == 0
    refused(capsys, plan, "frozen", "--extend")
    assert main([str(a) for a in [*plan, "--extend"]]) == 0


def test_predictions_of_other_objects_are_refused():
    from skyloom.release import catalog

    a = {"model": "m", "seed": 1, "object_id": np.array([1, 2]), "z": np.zeros(2)}
    with pytest.raises(InputError, match="other objects"):
        catalog.combine_predictions([a, {**a, "seed": 2, "object_id": np.array([2, 1])}])
    models = catalog.combine_predictions([a])
    base = {"split": np.array(["testing"] * 2), "subset": np.array([""] * 2)}
    with pytest.raises(InputError, match="not for the objects"):
        catalog.build({"object_id": np.array([1, 3]), **base}, None, [], [], models, "hsc")
    with pytest.raises(InputError, match="twice"):
        catalog.build({"object_id": np.array([1, 1]), **base}, None, [], [], models, "hsc")
