"""Tables of one's own: whatever people's programs write is read as it stands, or refused in one sentence."""

import bz2
import csv
import gzip
import json
import lzma

import h5py
import numpy as np
import pandas
import pytest

from skyloom import config, store
from skyloom.__main__ import main
from skyloom.archives import ids, local, paths, tables
from skyloom.errors import InputError

COLUMNS = {"id": "id", "ra": "ra", "dec": "dec", "redshift": "z", "magnitudes": {"g": "g", "r": "r"}, "errors": {"g": "eg"}}
NAMES = ("id", "ra", "dec", "z", "g", "eg", "r")
ROWS = [(5000 + k, 150.0 + k / 8, 2.0 - k / 8, 0.0625 * (k + 1), 20.5 + k / 4, 0.03125 * (k + 1), 19.25 + k / 4)
        for k in range(6)]


def text(rows=ROWS, separator=",", names=NAMES, form=str):
    return "\n".join(separator.join(map(form, row)) for row in [names, *rows]) + "\n" if names else \
        "\n".join(separator.join(map(form, row)) for row in rows) + "\n"


def put(path, content, **options):
    path.write_text(content, **options) if isinstance(content, str) else path.write_bytes(content)
    return str(path)


def same(path, columns=COLUMNS, rows=ROWS, **more):
    """The common columns of a table, which must be those of ROWS."""
    frame, _ = tables.read(path, columns, "training", **more)
    assert frame["object_id"].tolist() == [row[0] for row in rows] and "source_id" not in frame
    for name, k in (("ra", 1), ("dec", 2), ("specz_redshift", 3), ("g_mag", 4), ("g_magerr", 5), ("r_mag", 6)):
        assert frame[name].tolist() == [row[k] for row in rows], name
    return frame


def quoted(value):
    return f'"{value}"' if isinstance(value, str) else str(value)


def fortran(value):
    return str(value) if isinstance(value, str | int) or value >= 0.1 else f"{value:.5E}".replace("E", "D")


LINES = text().splitlines()
LINE = "\n".join
BLANKS = text(separator=" ").splitlines()


@pytest.mark.parametrize("content", [
    pytest.param("#Table1\n" + text(), id="casjobs"),
    pytest.param(LINE(LINES[:1] + ["# ,deg,deg,,mag,mag,mag"] + LINES[1:]), id="units as a comment"),
    pytest.param(LINE(LINES[:1] + [",deg,deg,,mag,mag,mag"] + LINES[1:]), id="units as a row"),
    pytest.param(LINE([*LINES, "# 6 rows, by hand"]), id="footer"),
    pytest.param(LINE(LINES[:3] + ["#9999,1,1,1,1,1,1"] + LINES[3:]), id="a row taken out"),
    pytest.param(LINE(LINES[:3] + ["  # indented, with, commas", "", "   "] + LINES[3:]), id="blank lines"),
    pytest.param(LINE([*LINES, ",,,,,,", ",,,,,,"]), id="what a spreadsheet leaves"),
    pytest.param(LINE(line + "," for line in LINES), id="commas at the ends"),
    pytest.param(LINE(LINES[:1] + [line + "," for line in LINES[1:]]), id="commas at the ends of rows"),
    pytest.param(LINE([LINES[0] + ",", *LINES[1:]]), id="a comma at the end of the header"),
    pytest.param(text(form=quoted), id="quoted names"),
    pytest.param(text(form=lambda v: f'"{v}"'), id="everything quoted"),
    pytest.param(LINE(f'{quoted(str(k) if k else "")},{line}' for k, line in enumerate(text(form=quoted).splitlines())),
                 id="write.csv"),
    pytest.param(LINE((f'"{k}" ' if k else "") + line for k, line in enumerate(text(separator=" ", form=quoted).splitlines())),
                 id="write.table"),
    pytest.param(LINE(f"{k if k else ''},{line}" for k, line in enumerate(LINES)), id="to_csv with its index"),
    pytest.param(text(separator=";"), id="semicolons"),
    pytest.param(text(separator="\t"), id="tabs"),
    pytest.param("sep=;\n" + text(separator=";"), id="Excel's hint"),
    pytest.param(text(separator=" | "), id="pipes"),
    pytest.param(LINE(f"| {line} |" for line in [BLANKS[0].replace(" ", " | "), "---|---",
                                                 *(line.replace(" ", " | ") for line in BLANKS[1:])]), id="a table with rules"),
    pytest.param("# " + text(separator="   "), id="blanks, header as a comment"),
    pytest.param(LINE(["# made in 2026", "# id ra dec z g eg r", "# - deg deg - mag mag mag", *BLANKS[1:]]), id="names, units"),
    pytest.param(LINE(["# made in 2026 by hand", *LINES]), id="prose, then a header"),
    pytest.param(LINE([*(f"# {k} {name}  what it is" for k, name in enumerate(NAMES, 1)), *BLANKS[1:]]), id="SExtractor"),
    pytest.param("#" + LINE([LINES[0].replace(",", ";"), *LINES[1:]]), id="ANNZ"),
    pytest.param(text(separator=" ", form=fortran), id="D exponents"),
    pytest.param(text(separator=" ", form=lambda v: v if isinstance(v, str) else f"{v:.18e}"), id="savetxt"),
    pytest.param(text(separator=";", form=lambda v: str(v).replace(".", ",")), id="decimal commas"),
    pytest.param(text(separator=" ", form=lambda v: str(v).replace(".", ",")), id="decimal commas between blanks"),
    pytest.param(text(form=lambda v: f'"{v:,}"' if not isinstance(v, str) and v < 5000 else str(v)), id="quoted numbers"),
    pytest.param("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: int64}\n" + LINE(BLANKS), id="ECSV"),
    pytest.param(LINE(LINES).replace("\n", "\r\n"), id="CRLF"),
    pytest.param(LINE(LINES).replace("\n", "\r"), id="CR"),
    pytest.param(b"\xef\xbb\xbf" + text().encode(), id="BOM"),
    pytest.param(text(separator="\t").encode("utf-16"), id="UTF-16, Excel's Unicode text"),
    pytest.param(LINE([*LINES, "# Zürich"]).encode("latin-1"), id="Latin-1"),
    pytest.param(gzip.compress(text().encode(), mtime=0), id="gzip"),
    pytest.param(bz2.compress(text().encode()), id="bzip2"),
    pytest.param(lzma.compress(text().encode()), id="xz"),
])
def test_text_tables_of_all_sorts_are_one(tmp_path, content):
    same(put(tmp_path / "t.csv", content, **({"newline": ""} if isinstance(content, str) else {})))


def test_names_of_the_config_stand_for_those_of_the_header(tmp_path):
    columns = {**COLUMNS, "names": list(NAMES)}
    for k, head in enumerate((["#Table1", "objid,a,b,c,d,e,f"], ["a,b,c,d,e,f,h"], ["# a,b"], [])):
        same(put(tmp_path / f"{k}.csv", LINE([*head, *LINES[1:]])), columns)
    first_is_text = LINE(["J1 1 2 0.5 20 0.1 19", "J2 1 2 0.5 20 0.1 19"])  # no header: no row is lost to one
    frame, _ = tables.read(put(tmp_path / "t.dat", first_is_text), columns, "training")
    assert frame["source_id"].tolist() == ["J1", "J2"]


def test_names_with_blanks_and_vectors_of_sextractor(tmp_path):
    path = put(tmp_path / "a.dat", '"my id" "g mag" z\n1 20.5 0.1\n2 21.5 0.2\n')
    assert tables.load(path)["g mag"].tolist() == [20.5, 21.5]
    path = put(tmp_path / "b.cat", "# 1 NUMBER Running number [count]\n# 2 FLUX_APER vector\n# 4 MAG\n1 10 20 21.5\n2 1 2 20.5\n")
    assert tables.load(path).names == ["NUMBER", "FLUX_APER", "FLUX_APER_1", "MAG"]
    path = put(tmp_path / "c.csv", "id,F606,606,814\n1,2,20.5,21\n2,3,21.5,22\n")  # filters for names
    assert tables.load(path)["606"].tolist() == [20.5, 21.5]
    path = put(tmp_path / "d.dat", "20.5 *** 0.1\n21 22 0.2\n")
    assert tables.load(path).names == ["c1", "c2", "c3"]  # a bad cell makes no header


@pytest.mark.parametrize(("content", "words"), [
    ("", ["empty"]), ("\n\n", ["empty"]), ("# \n", ["empty"]),
    ("id,ra,dec,z,g,eg,r\n", ["no row"]), ("# id ra dec z g eg r\n", ["no row"]),
    (LINE([*LINES, "1,2,3"]), ["line 8", "3 cells, not 7"]),
    (LINE([LINES[0], "# x", LINES[1] + ",5", *LINES[2:]]), ["line 3", "8 cells"]),
    (LINE([*LINES, "(6 rows affected)"]), ["line 8", "(6 rows affected)"]),
    (text().replace(",0.125,", ",O.125,"), ["column `z`", "1 of 6 cells", "line 3", "`O.125`", "local.missing"]),
    (text().replace(",20.5,", ",<20.5,"), ["column `g`", "line 2", "`<20.5`"]),
    (LINE([*LINES, LINES[0]]), ["line 8", "`ra`", "no numbers"]),  # two files, one after the other
    (text().replace("20.5", '"20.5'), ["line 2", "close its quotes"]),
    (LINE([*LINES[:3], '7,1,1,0.5,"20', '5",0.1,19']), ["line 4", "close its quotes"]),
    (LINE([LINES[0] + ",g", *(line + ",1" for line in LINES[1:])]), ["two columns `g`"]),
    ("id;ra;dec;z;g;eg;r\n1;150;2;1;21,234;1;20\n2;151;3;1;22,123;1;20\n", ["`21,234`", "write numbers with a point"]),
    (b"PK\x03\x04 and more", ["zip archive or an Excel file"]), (b"<html>\n<body>no</body></html>", ["HTML"]),
    (b"a,b\0\0\0", ["no text"]), (gzip.compress(text().encode(), mtime=0)[:60], ["can't be read"]),
    (text(names=NAMES[:-1]), ["7 values a row but 6 column names", "local.columns.names"]),
])
def test_text_tables_that_are_broken_name_the_place(tmp_path, content, words):
    with pytest.raises(InputError) as error:
        tables.read(put(tmp_path / "t.csv", content), COLUMNS, "training")
    assert all(word in str(error.value) for word in [*words, "t.csv"]), error.value


def test_thousands_and_minus_signs(tmp_path):
    path = put(tmp_path / "a.csv", 'f,g\n"1,234.5",\u221220.5\n"1,234,567",-1\n12,2\n')
    table = tables.load(path)
    assert table["f"].tolist() == [1234.5, 1234567, 12] and table["g"].tolist() == [-20.5, -1, 2]
    path = put(tmp_path / "b.csv", "f;g\n1.234,5;21,234\n2,5;20,125\n")  # the other column tells what a comma means in this file
    assert tables.load(path)["f"].tolist() == [1234.5, 2.5] and tables.load(path)["g"].tolist() == [21.234, 20.125]
    assert tables.load(put(tmp_path / "c.dat", "f g\n1.5-102 1.2Q+01\n2 3\n"))["f"].tolist() == [1.5e-102, 2]


def test_declared_words_and_numbers_are_no_values(tmp_path):
    path = put(tmp_path / "t.csv", text().replace(",20.5,", ",bad,").replace("20.75", "-999").replace("19.5", "-99.9"))
    with pytest.raises(InputError, match="`bad`"):
        tables.read(path, COLUMNS, "training")
    frame, counts = tables.read(path, COLUMNS, "training", {"g": ["bad"], "*": [-999, "-99.9"]})
    assert np.isnan(frame["g_mag"]).tolist() == [True, True, False, False, False, False] and np.isnan(frame["r_mag"][1])
    assert [(c["column"], c["what"], c["rows"], c["of"]) for c in counts] == [
        ("g", "declared missing", 2, 6), ("r", "declared missing", 1, 6)]
    pandas.DataFrame({"g": np.array([-99.9, 20], np.float32)}).to_parquet(tmp_path / "f.parquet")  # -99.9 in single precision
    assert tables.load(str(tmp_path / "f.parquet")).numbers("g", [-99.9])[1].tolist() == [True, False]


def many(**columns):
    n = 100
    base = {"id": np.arange(1, n + 1), "ra": np.linspace(10, 20, n), "dec": np.linspace(-5, 5, n), "z": np.full(n, 0.5),
            "g": np.full(n, 21.0), "eg": np.full(n, 0.1), "r": np.full(n, 20.0)}
    for name, (rows, value) in columns.items():
        base[name] = base[name].copy()
        base[name][:rows] = value
    return pandas.DataFrame(base)


LIMITS = {"magnitudes": 0.05, "errors": 0.05, "positions": 0.5}


@pytest.mark.parametrize(("change", "column", "rows"), [
    ({"g": (3, 0.0)}, "g", 3), ({"g": (3, -1.0)}, "g", 3), ({"g": (3, -999.0)}, "g", 3), ({"g": (3, 9999.0)}, "g", 3),
    ({"g": (3, 70.0)}, "g", 3),
    ({"ra": (40, 0.0), "dec": (40, 0.0)}, "ra", 40), ({"ra": (40, -999.0), "dec": (40, -999.0)}, "ra", 40),
    ({"dec": (40, 99.0)}, "ra", 40), ({"ra": (1, np.nan)}, "ra", 1), ({"dec": (1, np.nan)}, "ra", 1),
])
def test_few_values_that_are_none_are_counted_and_become_nan(tmp_path, change, column, rows):
    many(**change).to_csv(tmp_path / "t.csv", index=False)
    frame, counts = tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", {}, LIMITS)
    new = {"g": ["g_mag"], "ra": ["ra", "dec"]}[column]
    assert frame[new].isna().sum().tolist() == [rows] * len(new) and frame[new].notna().all(axis=1).sum() == 100 - rows
    assert (column, rows) in [(c["column"], c["rows"]) for c in counts]


@pytest.mark.parametrize(("change", "word"), [
    ({"g": (6, 0.0)}, "max_undeclared.magnitudes"), ({"r": (50, -9.99)}, "max_undeclared.magnitudes"),
    ({"eg": (6, 0.0)}, "max_undeclared.errors"), ({"eg": (6, -1.0)}, "max_undeclared.errors"),
    ({"eg": (6, 99.0)}, "max_undeclared.errors"),
    ({"ra": (51, 0.0), "dec": (51, 0.0)}, "max_undeclared.positions"), ({"dec": (60, -999.0)}, "max_undeclared.positions")])
def test_more_than_a_share_is_refused_unless_declared(tmp_path, change, word):
    many(**change).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match=word):
        tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", {}, LIMITS)
    declared = {name: [value] for name, (_, value) in change.items()}
    frame, _ = tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", declared, LIMITS)
    assert len(frame) == 100
    tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", {}, dict.fromkeys(LIMITS, 1.0))


def test_states_need_no_mention_and_stay(tmp_path):
    frame = many(g=(90, 99.0), r=(90, -99.0), eg=(90, 0.0))  # the error of what wasn't measured says nothing
    frame.to_csv(tmp_path / "t.csv", index=False)
    found, counts = tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", {}, LIMITS)
    assert found["g_mag"].tolist() == frame["g"].tolist() and found["r_mag"].tolist() == frame["r"].tolist()
    assert {c["what"] for c in counts} == {"not detected (99)", "not observed (-99 or NaN)"}


def test_right_ascension_from_minus_180_and_a_repeated_position(tmp_path):
    frame = many(ra=(20, -30.5))
    frame.loc[:19, "dec"] = 1.25
    frame.to_csv(tmp_path / "t.csv", index=False)
    found, counts = tables.read(str(tmp_path / "t.csv"), COLUMNS, "training", {}, LIMITS)
    assert found["ra"].tolist()[:20] == [329.5] * 20
    assert [c["rows"] for c in counts] == [20] and "329.5 1.25" in counts[0]["what"]


@pytest.mark.parametrize(("given", "expected"), [
    ([1, 2**62, -5], [1, 2**62, -5]), (["1", "2"], [1, 2]), ([" 7 ", "8"], [7, 8]), (np.array([3, 4], np.uint64), [3, 4]),
    (np.array([3, 4], ">i4"), [3, 4]), (np.array([3.0, 4.0]), [3, 4]), (["3.0", "4.0"], [3, 4]),
    (["1.230000000000000000e+02", "4.000000000000000000e+00"], [123, 4]), (np.ma.array([5, 6]), [5, 6]),
    ([str(2**63 - 1), "-9223372036854775808"], [2**63 - 1, -(2**63)]), ([b"12", b"13"], [12, 13])])
def test_whole_numbers_are_ids_in_any_form(given, expected):
    found, source = ids.canonical(given if isinstance(given, np.ndarray) else np.array(given, object), "x")
    assert found.tolist() == expected and source is None and found.dtype == np.int64


@pytest.mark.parametrize("name", ["00123", "+5", "J1000\u22120200", "12345678901234567890", "-0", "0x1F", "1.10", "\u00c9ta"])
def test_text_stays_text_beside_numbers(name):
    found, source = ids.canonical(np.array([name, "123"], object), "x")
    assert found.tolist() == [ids.text_id(name), 123] and source.tolist() == [name, "123"]


@pytest.mark.parametrize(("given", "words"), [
    (np.array([1.0, 1.2376e18]), ["row 1", "digits may be lost"]), (np.array([1.5, 2.0]), ["row 0", "floating-point"]),
    (np.array([1.0, 2.0**24 + 2], np.float32), ["row 1"]), (np.array([1.0, np.nan]), ["no id in row 1"]),
    (np.ma.array([1, 2], mask=[False, True]), ["no id in row 1"]), (np.array(["a", ""], object), ["no id in row 1"]),
    (np.array(["a", None], object), ["no id in row 1"]), (np.array(["NaN", "b"], object), ["no id in row 0"]),
    (np.array(["1.23765E+18", "2"], object), ["1.23765E+18", "digits may be lost"]), (np.array(["5E+18"], object), ["5E+18"])])
def test_missing_ids_and_rounded_ones_are_refused(given, words):
    with pytest.raises(InputError) as error:
        ids.canonical(given, "column `id` of x")
    assert all(word in str(error.value) for word in [*words, "column `id` of x"]), error.value


def test_the_same_id_is_the_same_object_in_every_kind_of_file(tmp_path):
    from astropy.table import Table

    names = ["5", "00123", "1237648702966900001", "J10\u221202", "99999999999999999999"]
    frame = pandas.DataFrame({"id": names, "z": 0.5, "g": 20.0, "r": 19.0})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet")
    with h5py.File(tmp_path / "c.h5", "w") as handle:
        for name in frame:
            handle[f"t/{name}"] = frame[name].tolist()
    frame["path"], frame["band"] = "x", "g"
    frame.rename(columns={"id": "object_id"})[["object_id", "band", "path"]].to_csv(tmp_path / "m.csv", index=False)
    Table({"id": [n.encode() for n in names], "z": [0.5] * 5}).write(tmp_path / "d.fits")
    columns = {"id": "id", "redshift": "z", "magnitudes": {"g": "g"}}
    wanted = [5, ids.text_id("00123"), 1237648702966900001, ids.text_id("J10\u221202"), ids.text_id("99999999999999999999")]
    for name in ("a.csv", "b.parquet", "c.h5:t"):
        found, _ = tables.read(str(tmp_path / name), columns, "training")
        assert found["object_id"].tolist() == wanted and found["source_id"].tolist() == names, name
    assert tables.estimates(str(tmp_path / "d.fits"), {"id": "id", "z": "z"})["object_id"].tolist() == wanted
    assert local.read_manifest(tmp_path / "m.csv")["object_id"].tolist() == wanted


def test_given_ids_are_kept_and_row_numbers_never_meet(tmp_path):
    def frame(first, n, **more):
        return pandas.DataFrame({"object_id": np.arange(first, first + n), **more})

    together = tables.together([frame(5000, 3), frame(0, 3)], given=True)
    assert together["object_id"].tolist() == [5000, 5001, 5002, 0, 1, 2]
    assert tables.together([frame(0, 3), frame(0, 2)], given=False)["object_id"].tolist() == [0, 1, 2, 3, 4]
    assert tables.together([frame(0, 2)], False, tables.TARGETS_FROM)["object_id"].tolist() == [10**12, 10**12 + 1]
    mixed = tables.together([frame(7, 1), frame(9, 1, source_id="a")], given=True)
    assert mixed["source_id"].tolist() == ["7", "a"]


def asked(tmp_path, names, parts, columns, **more):
    settings = {"archive": "local", "run": "t", "release": "local", "parts": parts, "columns": columns, **more}
    return ["query", "--settings", json.dumps(settings), "--tables", *[str(tmp_path / name) for name in names],
            "--values", str(tmp_path / f"{parts[0]}.csv"), "--out", str(tmp_path / f"{parts[0]}.parquet")]


CUTS = {"z_min": 0.0, "z_max": 4.0, "sigma_z": "none", "sigma_z_max": 0.005, "isprimary": False, "magnitudes": False,
        "mag_min": 0, "mag_max": 50}


def cut(tmp_path, part, *more):
    return ["cut", str(tmp_path / f"{part}.parquet"), "--settings", json.dumps({**CUTS, "sample": part}), *more,
            *(word for name in ("selected", "rejected", "counts") for word in (f"--{name}", str(tmp_path / f"{part}.{name}")))]


@pytest.mark.parametrize("sky", [True, False])
def test_targets_without_ids_are_known_by_position_alone(tmp_path, sky, capsys):
    training = many().drop(columns="id")
    targets = training.drop(columns="z").assign(ra=training["ra"] + 30)
    targets.loc[:4, "ra"] -= 30  # five that have redshifts
    targets.loc[5, ["ra", "dec"]] = np.nan
    if not sky:
        training, targets = training.drop(columns=["ra", "dec"]), targets.drop(columns=["ra", "dec"])
    training.to_csv(tmp_path / "a.csv", index=False)
    targets.to_csv(tmp_path / "b.csv", index=False)
    columns = {**COLUMNS, "id": "", **({} if sky else {"ra": "", "dec": ""})}
    assert main(asked(tmp_path, ["a.csv"], ["training"], columns)) == 0
    assert main(asked(tmp_path, ["b.csv"], ["target"], columns, beside_redshifts=True)) == 0
    assert main(cut(tmp_path, "training")) == 0
    assert main(cut(tmp_path, "target", "--known", str(tmp_path / "training.selected"))) == 0
    kept = store.read_parquet(tmp_path / "target.selected")
    assert len(kept) == (95 if sky else 100) and kept["object_id"].min() >= 10**12
    assert ("neither ids nor positions" in capsys.readouterr().err) is not sky


def test_an_evaluation_table_that_is_cut_empty_is_an_error(tmp_path, capsys):
    many().to_csv(tmp_path / "a.csv", index=False)
    for value, words in ((0.0, "`redshift_range` dropped 100 of 100"), (-99.0, "`redshift_finite` dropped 100 of 100")):
        many(z=(100, value)).assign(id=np.arange(900, 1000)).to_csv(tmp_path / "b.csv", index=False)
        assert main(asked(tmp_path, ["a.csv", "b.csv"], ["training", "evaluation"], COLUMNS)) == 0
        assert main(cut(tmp_path, "training")) == 2
        said = capsys.readouterr().err
        assert "cut left no object of training, evaluation table" in said and words in said
        assert not (tmp_path / "training.selected").exists()
    many().iloc[:0].to_csv(tmp_path / "b.csv", index=False)
    assert main(asked(tmp_path, ["a.csv", "b.csv"], ["training", "evaluation"], COLUMNS)) == 2
    assert "no row" in capsys.readouterr().err


def test_training_rows_never_become_testing_rows_beside_an_evaluation_table():
    from skyloom.sample import assignment
    from skyloom.verbs import assign_splits

    n = 200
    frame = pandas.DataFrame({"object_id": np.arange(n), "row": np.arange(n), "sample": "specz", "part": "training"})
    settings = {"method": "hash", "fractions": [0.6, 0.2, 0.2], "seed": 1, "order": 10, "group_arcsec": 1.0, "stamp_arcsec": 0.0}
    kept = assignment.assign(frame, {**settings, "evaluation": True}).kept
    assert set(kept["split"]) == {"training", "validation"}
    with pytest.raises(InputError, match="no object for testing"):
        assign_splits._refuse_empty(kept, ["specz"], {**settings, "evaluation": True})
    with pytest.raises(InputError, match="assign-splits left no object of targets"):
        assign_splits._refuse_empty(kept, ["specz", "targets"], settings)


def test_a_query_tells_what_stands_for_no_value(tmp_path, capsys):
    many(g=(3, 0.0), ra=(40, -999.0)).to_csv(tmp_path / "a.csv", index=False)
    assert main(asked(tmp_path, ["a.csv"], ["training"], COLUMNS, missing={}, max_undeclared=LIMITS)) == 0
    told = capsys.readouterr().err
    assert "column `g`, 3 of 100 rows" in told and "column `ra`, 40 of 100 rows" in told
    found = pandas.read_csv(tmp_path / "training.csv")
    assert list(found) == ["table", "column", "what", "rows", "of"] and found["rows"].tolist() == [3, 40]
    meta = store.parquet_meta(tmp_path / "training.parquet")
    assert meta["ids"] == "given" and meta["parts"] == ["training"] and len(meta["values"]) == 2


LOCAL = {"run": "t", "archive": "local", "models": {"tabular": {}}, "local": {"tables": {"training": "a.csv"}, "columns": {}}}


@pytest.mark.parametrize(("more", "words"), [
    ({"local": {"columns": {"ra": "ra"}}}, ["`local.columns.ra` is ra", "`local.columns.dec` is empty"]),
    ({"local": {"columns": {"ra": "", "dec": "DEC"}}}, ["`local.columns.dec` is DEC", "`local.columns.ra` is empty"]),
    ({"local": {"missing": {"mag": [0]}}}, ["`local.missing.mag`", "'*'"]),
    ({"local": {"missing": {"*": 0}}}, ["local.missing.*", "array"]),
    ({"local": {"max_undeclared": {"errors": 2}}}, ["local.max_undeclared.errors"]),
    ({"peers": {"tables": {"p": {"path": "p.csv", "id": "id", "z": "z"}}}}, ["`peers.tables.p`", "`local.columns.id`"]),
    ({"peers": {"tables": {"p": {"path": "p.csv", "ra": "ra", "z": "z"}}}}, ["peers.tables.p"]),
    ({"local": {"images": "m.csv"}}, ["`local.images`", "`local.columns.id`"]),
])
def test_columns_that_make_no_sense_alone(more, words):
    with pytest.raises(InputError) as error:
        config.complete(config.merge(LOCAL, more))
    assert all(word in str(error.value) for word in words), error.value


def test_a_named_but_empty_evaluation_table_is_none():
    found = config.complete(config.merge(LOCAL, {"local": {"tables": {"evaluation": ""}}}))
    assert found["local"]["tables"] == {"training": "a.csv"}


def test_positions_for_a_forced_photo_z_follow_the_same_rules(tmp_path):
    from types import SimpleNamespace

    from skyloom.verbs.forced_photoz import positions

    def frame(content):
        return positions(SimpleNamespace(table=put(tmp_path / "p.csv", content), ra=None, dec=None))

    found = frame("#Table1\nobject_id,ra,dec\n00123,-30.5,2\n123,1.5D+01,3\n")
    assert found["object_id"].tolist() == [ids.text_id("00123"), 123] and found["source_id"].tolist() == ["00123", "123"]
    assert found["ra"].tolist() == [329.5, 15]
    assert frame("ra;dec\n10,5;2,25\n11,5;2,5\n")["object_id"].tolist() == [0, 1]
    for content, word in (("ra,dec\n-999,-999\n", "row 0: ra -999.0"), ("ra,dec\n10,\n", "row 0"), ("ra,dec\n", "no row"),
                          ("ra,dec\n10:12:01,2\n", "`10:12:01`"), ("ra\n10\n", "no column `dec`"),
                          ("object_id,ra,dec\n1.2E+18,10,2\n", "digits may be lost"),
                          ("object_id,ra,dec\n7,1,2\n7,3,4\n", "7 twice")):
        with pytest.raises(InputError, match=word):
            frame(content)


def test_redshifts_of_others_by_position(tmp_path):
    from types import SimpleNamespace

    from skyloom.verbs import peer

    sky = many()
    store.write_columns(tmp_path / "t.hdf5", {"object_id": np.arange(100), "specz_redshift": np.full(100, 0.5),
                                              "ra": sky["ra"].to_numpy(), "dec": sky["dec"].to_numpy()})
    theirs = sky[["ra", "dec"]].iloc[::-1].assign(zb=np.arange(100)[::-1] / 100.0).iloc[:90]
    theirs.iloc[0, 2] = -99.0  # no estimate
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    peer._given(SimpleNamespace(settings={"peer": "theirs", "seed": 1, "options": {"ra": "ra", "dec": "dec", "z": "zb"}},
                                testing=tmp_path / "t.hdf5", table=str(tmp_path / "theirs.csv"), out=tmp_path / "o.h5",
                                timing=tmp_path / "t.json"))
    z = store.columns(tmp_path / "o.h5")["z"]
    assert np.isnan(z).tolist() == [True] * 10 + [False] * 89 + [True]
    assert z[10:99].tolist() == (np.arange(10, 99) / 100.0).tolist()


def fits_file(path, *parts):
    from astropy.io import fits

    hdus = [fits.PrimaryHDU()]
    for name, frame in parts:
        if isinstance(frame, np.ndarray):
            hdus.append(fits.ImageHDU(frame, name=name))
        else:
            made = [fits.Column(c, {"i": "K", "f": "D"}[frame[c].dtype.kind], array=frame[c].to_numpy()) for c in frame]
            hdus.append(fits.BinTableHDU.from_columns(made, name=name))
    fits.HDUList(hdus).writeto(path)
    return str(path)


def test_fits_by_name_or_number_and_never_another_table(tmp_path):
    good, other = pandas.DataFrame(ROWS, columns=NAMES), pandas.DataFrame({"x": [1.0]})
    path = fits_file(tmp_path / "a.fits", ("IMAGE", np.zeros((3, 3))), ("PHOTOMETRY", good), ("OTHER", other))
    for group in (":PHOTOMETRY", ":photometry", ":2"):
        same(path + group)
    for group, words in (("", ["2 tables", "2 (PHOTOMETRY, 6 rows), 3 (OTHER, 1 rows)"]), (":1", ["no table 1"]),
                         (":IMAGE", ["no table IMAGE"]),
                         (":NONE", ["no table NONE", "PHOTOMETRY"]), (":OTHER", ["no column `ra`; it has x"])):
        with pytest.raises(InputError) as error:
            tables.read(path + group, COLUMNS, "training")
        assert all(word in str(error.value) for word in words), error.value
    same(fits_file(tmp_path / "b.fits", ("LDAC_IMHEAD", other), ("LDAC_OBJECTS", good)))
    same(fits_file(tmp_path / "c.fits", ("IMAGE", np.zeros((3, 3))), ("", good)))
    with pytest.raises(InputError, match="no table"):
        tables.load(fits_file(tmp_path / "d.fits", ("IMAGE", np.zeros((3, 3)))))
    put(tmp_path / "e.fits.gz", gzip.compress((tmp_path / "c.fits").read_bytes()))
    same(str(tmp_path / "e.fits.gz"))
    with pytest.raises(InputError, match="can't be read"):
        tables.load(put(tmp_path / "f.fits", "<html>"))


def test_fits_columns_of_every_kind(tmp_path):
    from astropy.table import MaskedColumn, Table

    table = Table({"id": MaskedColumn([5, 6], mask=[False, True]), "name": ["J1", "J2"], "z": np.array([0.5, 0.25], ">f4"),
                   "text": ["20.5", "1.2D1"], "mags": np.zeros((2, 3))})
    table.write(tmp_path / "a.fits")
    found = tables.load(str(tmp_path / "a.fits"))
    assert found["text"].tolist() == [20.5, 12] and found.ids("name")["source_id"].tolist() == ["J1", "J2"]
    for name, word in (("mags", "has 3 values a row"), ("absent", "no column `absent`")):
        with pytest.raises(InputError, match=word):
            found.numbers(name)
    with pytest.raises(InputError, match="no id in row 1"):
        found.ids("id")


def hdf5(path, **groups):
    with h5py.File(path, "w") as handle:
        for group, frame in groups.items():
            for name in frame:
                handle[f"{group}/{name}".removeprefix("root/")] = frame[name].to_numpy()
    return str(path)


@pytest.mark.filterwarnings("ignore")
def test_hdf5_groups_found_or_named(tmp_path):
    from astropy.table import Table

    good, other = pandas.DataFrame(ROWS, columns=NAMES), pandas.DataFrame({"x": [1.0]})
    for path in (hdf5(tmp_path / "a.hdf5", photometry=good), hdf5(tmp_path / "b.hdf5", root=good)):
        same(path)
    same(f"{tmp_path / 'a.hdf5'}:photometry")
    same(f"{tmp_path / 'a.hdf5'}:/photometry/")
    same(f"{tmp_path / 'b.hdf5'}:/")
    Table.from_pandas(good).write(tmp_path / "c.h5", path="photometry")
    same(str(tmp_path / "c.h5"))
    same(f"{tmp_path / 'c.h5'}:photometry")
    several = hdf5(tmp_path / "d.hdf5", photometry=good, other=other)
    deep = hdf5(tmp_path / "e.hdf5", root=other, **{"deep/photometry": good})
    same(f"{deep}:deep/photometry")
    for path, words in ((several, ["2 tables", "d.hdf5:other, ", "d.hdf5:photometry"]),
                        (deep, ["e.hdf5:/", "e.hdf5:deep/photometry"]),
                        (f"{tmp_path / 'b.hdf5'}:photometry", ["no table photometry", "b.hdf5:/"]),
                        (f"{several}:other", ["no column `ra`; it has x"]),
                        (hdf5(tmp_path / "f.h5"), ["no tables", "another file"]),
                        (put(tmp_path / "g.h5", "rubbish"), ["can't be read", "mend the file"])):
        with pytest.raises(InputError) as error:
            tables.read(path, COLUMNS, "training")
        assert all(word in str(error.value) for word in words), error.value


def test_hdf5_columns_of_other_shapes_are_said(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle["t/z"], handle["t/g"], handle["t/edges"], handle["t/pz"] = [0.1, 0.2], [20.0, 21], np.arange(9.0), np.zeros((2, 9))
        handle["df/axis0"] = [b"g"]
        handle["df"].attrs["pandas_type"] = "frame"
    table = tables.load(f"{tmp_path / 'a.h5'}:t")
    assert table["z"].tolist() == [0.1, 0.2] and len(table) == 2
    for name, word in (("edges", r"has the shape \(9,\), not 2 values"), ("pz", r"shape \(2, 9\)")):
        with pytest.raises(InputError, match=word):
            table.numbers(name)
    with pytest.raises(InputError, match="pandas' to_hdf"):
        tables.load(f"{tmp_path / 'a.h5'}:df")


def test_parquet_with_its_index(tmp_path):
    good = pandas.DataFrame(ROWS, columns=NAMES)
    good.set_index("id").to_parquet(tmp_path / "a.parquet")
    good.drop(columns="id").set_index(pandas.RangeIndex(5000, 5006, name="id")).to_parquet(tmp_path / "b.parquet")  # no column
    good[good["id"] > 0].to_parquet(tmp_path / "c.pq")
    for name in ("a.parquet", "b.parquet", "c.pq"):
        same(str(tmp_path / name))
    with pytest.raises(InputError, match="no group|has none"):
        tables.load(f"{tmp_path / 'a.parquet'}:x")
    odd = good.assign(vector=[[1, 2]] * 6, when=pandas.Timestamp("2026-01-01"), z=pandas.array([1, None, 3, 4, 5, 6], "Int64"))
    odd.to_parquet(tmp_path / "d.parquet")
    table = tables.load(str(tmp_path / "d.parquet"))
    assert np.isnan(table["z"]).tolist() == [False, True] + [False] * 4
    for name, word in (("vector", "holds lists"), ("when", "no numbers")):
        with pytest.raises(InputError, match=word):
            table.numbers(name)


def test_names_of_files_are_not_cut_at_their_colons(tmp_path):
    path = put(tmp_path / "a:b.csv", text())
    same(path)
    folder = tmp_path / "run:2"
    folder.mkdir()
    hdf5(folder / "t.h5", photometry=pandas.DataFrame(ROWS, columns=NAMES))
    same(f"{folder / 't.h5'}:photometry")
    assert paths.split_path(path) == (path, "") and paths.split_path("no.h5:a/b") == ("no.h5", "a/b")
    assert paths.split_path("not:there.csv") == ("not:there.csv", "")
    for name, word in (("none.csv", "none.csv does not exist"), ("none.h5:x", "none.h5 does not exist"), ("run:2", "is a folder"),
                       ("a:b.csv:x", "names a group")):
        with pytest.raises(InputError, match=word):
            tables.load(str(tmp_path / name))


def test_a_clean_table_of_many_rows_is_read_in_seconds(tmp_path):
    """100,000 rows of 15 columns; a million take ten times as long."""
    import time

    rng = np.random.default_rng(1)
    frame = pandas.DataFrame({"id": np.arange(100_000), **{f"c{k}": rng.normal(20, 1, 100_000).round(5) for k in range(14)}})
    frame.to_csv(tmp_path / "t.csv", index=False, quoting=csv.QUOTE_MINIMAL)
    started = time.process_time()
    table = tables.load(str(tmp_path / "t.csv"))
    assert table["c3"].tolist() == frame["c3"].tolist() and table.ids("id")["object_id"].tolist() == frame["id"].tolist()
    assert time.process_time() - started < 5
