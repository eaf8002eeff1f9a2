"""Exporters: what is written reads back, in memory that doesn't grow; text beyond ASCII; formats of the config and of others."""

import tracemalloc
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from astropy.io import fits

from skyloom import config, registry
from skyloom.errors import InputError, SkyloomError
from skyloom.pz import distribution
from skyloom.release import exporters

NAMES = ["J1000\u2212020001", "J1000-020001", "caf\u00e9", "cafe", "back\\slash", "\u661f\u7cfb", "trailing ", "trailing",
         "tab\there", ""]
MINIMAL = {"run": "x", "archive": "embedded"}


def table(n: int = 10, **more) -> dict:
    rng = np.random.default_rng(0)
    return {"object_id": np.arange(n) + 2**62, "ra": rng.uniform(0, 360, n), "split": np.array(["training"] * n, object),
            "flags": np.arange(n, dtype=np.int32), "z_m": np.where(np.arange(n) % 3, rng.random(n), np.nan), **more}


def joined(blocks) -> dict:
    blocks = list(blocks)
    return {name: blocks[0][name] if name in distribution.SHARED else np.concatenate([block[name] for block in blocks])
            for name in blocks[0]}


CATALOGS = [name for name, one in zip(exporters.REGISTRY, exporters.REGISTRY.values(), strict=True) if one.kind == "catalog"]


@pytest.mark.parametrize("name", CATALOGS)
@pytest.mark.parametrize("n", [0, 1, 10])
def test_a_catalog_reads_back_as_it_was(name, n, tmp_path):
    columns = table(n, source_id=np.array(NAMES[:n], object))
    exporters.export(exporters.REGISTRY[name], tmp_path / "c", exporters.blocks_of(columns, rows=4),
                     {"run": "r\u00e9", "seed": 1})
    found = joined(exporters.REGISTRY[name].read(tmp_path / "c"))
    assert list(found) == list(columns) and [p.name for p in tmp_path.iterdir()] == ["c"]
    for key, values in columns.items():
        if name == "csv" and values.dtype == object:  # an empty text is a missing value there
            assert [v if isinstance(v, str) else "" for v in found[key]] == list(values)
        elif values.dtype == object:
            assert list(found[key]) == list(values), key
        else:
            assert name == "csv" or found[key].dtype == values.dtype
            assert found[key] == pytest.approx(values, rel=1e-9, nan_ok=True), key


def test_fits_takes_any_text_as_ascii_and_no_two_names_become_one(tmp_path):
    """Case: the Unicode minus in object names killed the last step, after training."""
    path = tmp_path / "c.fits"
    exporters.export(exporters.REGISTRY["fits"], path, exporters.blocks_of(table(10, source_id=np.array(NAMES, object)), rows=3),
                     {"flag_bits": "{}", "note": "d\u00e9j\u00e0 vu"})
    with fits.open(path) as hdus:
        hdus.verify("exception")
        stored, header = [str(v) for v in hdus[1].data["source_id"]], hdus[1].header
        assert header["escaped_columns"] == "source_id" and header["note"] == r"d\xe9j\xe0 vu"
        assert len(set(stored)) == len(NAMES) and stored[0] == r"J1000\u2212020001" and stored[1] == "J1000-020001"
    plain = table(3, source_id=np.array(["a\\u2212", "b", "c"], object))
    exporters.export(exporters.REGISTRY["fits"], path, exporters.blocks_of(plain), {})
    with fits.open(path) as hdus:  # ASCII stays as it is, a backslash too
        assert hdus[1].data["source_id"][0] == "a\\u2212" and "escaped_columns" not in hdus[1].header


def test_fits_in_blocks_holds_the_bytes_of_a_table_written_at_once(tmp_path):
    columns = table(50, source_id=np.array([f"n{k}" * (1 + k % 5) for k in range(50)], object))
    for rows in (7, 1000):
        exporters.export(exporters.REGISTRY["fits"], tmp_path / f"{rows}", exporters.blocks_of(columns, rows=rows), {"run": "r"})
    assert (tmp_path / "7").read_bytes() == (tmp_path / "1000").read_bytes()


PZ = {"histogram": {"pz": np.full((5, 4), 0.25), "edges": np.linspace(0, 2, 5)},
      "mixture": {"weights": np.ones((5, 1)), "means": np.linspace(0, 1, 5)[:, None], "stds": np.ones((5, 1))},
      "quantiles": {"levels": np.array([0.25, 0.5, 0.75]), "locs": np.arange(15.0).reshape(5, 3)}}


@pytest.mark.parametrize("form", PZ)
def test_pz_reads_back_in_its_form(form, tmp_path):
    order = np.array([4, 3, 1, 0, 2])
    rows = exporters.blocks_of({"object_id": np.arange(5), **PZ[form]}, order, rows=2, shared=distribution.SHARED)
    exporters.export(exporters.REGISTRY["qp"], tmp_path / "pz", rows, {"run": "r"})
    found = joined(exporters.REGISTRY["qp"].read(tmp_path / "pz"))
    assert found["object_id"].tolist() == order.tolist() and distribution.form(found) == form
    for name, values in PZ[form].items():
        assert found[name] == pytest.approx(values if name in distribution.SHARED else values[order]), name


@pytest.mark.parametrize("name", CATALOGS)
def test_memory_does_not_grow_with_the_rows(name, tmp_path):
    def make(rows, wide):
        for _ in range(rows // 1000):
            yield {"object_id": np.arange(1000), **{f"c{k}": np.zeros(1000) for k in range(wide)}}

    peaks = []
    for rows in (1000, 1000, 30000):  # the first loads the libraries
        tracemalloc.start()
        exporters.REGISTRY[name].write(tmp_path / "c", exporters.Blocks(rows, 0, lambda rows=rows: make(rows, 8)), {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 2 * peaks[1] + 3e5, peaks


def test_what_does_not_read_back_gets_no_name(tmp_path):
    """A writer that drops rows, one that drops a column, one that breaks off: nothing is half-written."""
    good = exporters.REGISTRY["parquet"]
    columns = table(5)

    def fewer(path, blocks, meta):
        good.write(path, exporters.blocks_of({name: values[:-1] for name, values in columns.items()}), meta)

    def narrow(path, blocks, meta):
        good.write(path, exporters.blocks_of({"object_id": columns["object_id"]}), meta)

    def full(path, blocks, meta):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    for write, error in ((fewer, SkyloomError), (narrow, SkyloomError), (full, OSError)):
        with pytest.raises(error, match="4 rows|object_id; expected|No space"):
            exporters.export(exporters.Exporter("bad", "bad", "catalog", write, good.read), tmp_path / "c",
                             exporters.blocks_of(columns), {})
        assert not list(tmp_path.iterdir())


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path):
    huge = exporters.Blocks(10**12, 10**18, lambda: iter(()))
    with pytest.raises(InputError, match="MB are free; free some space"):
        exporters.room(tmp_path / "new", [(exporters.REGISTRY["fits"], huge)])


def _jsonl(path, blocks, meta):
    with open(path, "w", encoding="utf-8") as handle:
        for block in blocks:
            handle.writelines(",".join(map(str, row)) + "\n" for row in zip(*block.values(), strict=True))


def _lines(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        yield {name: np.array([float(v)]) if name != "object_id" else np.array([int(v)])
               for name, v in zip(("object_id", "ra"), line.split(","), strict=True)}


TOY = exporters.Exporter("toy", "toy", "catalog", _jsonl, _lines)


def test_an_exporter_of_another_package_is_a_format_like_ours(monkeypatch, tmp_path):
    points = (EntryPoint("toy", f"{__name__}:TOY", "skyloom.exporters"),)
    monkeypatch.setattr(registry, "_points", lambda group: points if group == "skyloom.exporters" else ())
    for name in ("_found", "modules"):
        monkeypatch.delitem(exporters.REGISTRY.__dict__, name, raising=False)
    monkeypatch.setattr("skyloom.provenance.memory.remember", lambda *_: None)
    found = config.complete({**MINIMAL, "release": {"formats": ["toy", "fits"]}})
    assert exporters.chosen(found["release"]["formats"]) == ["parquet", "qp", "toy", "fits"]
    assert exporters.suffixes(["parquet", "qp", "toy"], "catalog") == ["parquet", "toy"] and exporters.by_suffix("a.toy") is TOY
    assert exporters.REGISTRY.modules["toy"] == __name__
    exporters.export(TOY, tmp_path / "c", exporters.blocks_of({"object_id": np.arange(3), "ra": np.arange(3.0)}), {})
    for name in ("_found", "modules"):
        monkeypatch.delitem(exporters.REGISTRY.__dict__, name, raising=False)


def test_formats_of_the_config(monkeypatch):
    assert config.complete(MINIMAL)["release"]["formats"] == ["parquet", "fits"]
    with pytest.raises(InputError, match=r"release.formats.*'csv', 'fits', 'parquet', 'qp'"):
        config.complete({**MINIMAL, "release": {"formats": ["fist"]}})
    with pytest.raises(InputError, match="no known suffix; end it in .csv or .fits or .parquet"):
        exporters.by_suffix("out.txt")
    other = exporters.Exporter("other", "parquet", "catalog", _jsonl, _lines)
    monkeypatch.setitem(exporters.REGISTRY._found, "other", (other, "x"))
    with pytest.raises(InputError, match="parquet and other, which both write .parquet"):
        exporters.chosen(["other"])
