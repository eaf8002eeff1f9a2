"""The files of one's own images: a bad one costs its object, an edited one its stamps, and any name will do."""

import os

import numpy as np
import pytest
from astropy.io import fits

from skyloom.archives import manifest
from skyloom.errors import InputError, ServiceError
from skyloom.provenance import contents, fingerprint
from tests.unit.own_images import SKY, cutouts, header, matrix, put, rows, source, stamp

# r: a bad file costs one object

def raw_card(path, key, value):
    """Set a card to bytes that astropy wouldn't write."""
    body = path.read_bytes()
    at = body.index(f"{key:<8}=".encode())
    path.write_bytes(body[:at] + f"{key:<8}= {value:>20}".ljust(80).encode() + body[at + 80:])


def unreadable(folder):
    """Names of files that hold no image, one a fault."""
    body = (folder / "good.fits").read_bytes()
    for name, content in (("cut.fits", body[:6000]), ("head.fits", body[:800]), ("page.fits", b"<html>not found</html>"),
                          ("empty.fits", b""), ("half.npz", b"PK\x03\x04half")):
        (folder / name).write_bytes(content)
    (folder / "folder.fits").mkdir()
    (folder / "loop.fits").symlink_to("loop.fits")
    np.savez(folder / "objects.npz", image=np.array([[{}, 1]], object))
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "table.fits")
    return ["cut.fits", "head.fits", "page.fits", "empty.fits", "half.npz", "folder.fits", "loop.fits", "objects.npz",
            "table.fits", "absent.fits"]


def misleading(folder):
    """{file whose header can't be used: cause}, one a fault."""
    cd, sip = matrix(0.2), {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 0.5,
                            "B_0_2": 0.5, "CRVAL1": SKY[0] + 0.5}
    heads = {"no_matrix bad_wcs": header(cd * 0), "scaleless bad_wcs": header(cd * 0), "sip bad_wcs": header(cd, **sip),
             "twice bad_wcs": header(cd, CTYPE2="RA---TAN"), "linear no_position": header(cd, CTYPE1="LINEAR", CTYPE2="LINEAR"),
             "behind off_centre": header(cd, CRVAL1=SKY[0] + 180, CRVAL2=-2.0), "off off_centre": header(cd, CRVAL1=SKY[0] + 0.1),
             "zp no_zero_point": header(cd, ZP="unknown"), "unit unknown_unit": header(cd, BUNIT="bananas"),
             "units unit_mismatch": header(cd, BUNIT="nJy", ZP=27.0), "nan bad_wcs": header(cd), "crval bad_wcs": header(cd)}
    for name, head in heads.items():
        put(folder / f"{name.split()[0]}.fits", source(cd, 27.0) + 1, head)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        fits.delval(folder / "scaleless.fits", key)
    raw_card(folder / "nan.fits", "CD1_1", "NaN")
    raw_card(folder / "crval.fits", "CRVAL1", "1.5.0.2")
    return {f"{name.split()[0]}.fits": name.split()[1] for name in heads}


@pytest.fixture
def good(tmp_path):
    return {"path": put(tmp_path / "good.fits", source(matrix(0.2), 27.0) + 1, header(matrix(0.2), ZP=27.0)).name}


def test_a_bad_file_costs_its_object_alone_and_the_cause_names_it(tmp_path, good):
    bad = {name: "missing_file" if name == "absent.fits" else "" for name in unreadable(tmp_path)} | misleading(tmp_path)
    given = [{"path": name, "zero_point": "" if name in ("zp.fits", "units.fits") else 27.0} for name in bad]
    rows(tmp_path, good, *given, good)
    found, _ = cutouts(tmp_path, list(range(1, len(bad) + 3)))
    assert found[1] == found[len(bad) + 2] == (0, "")
    for (name, cause), (status, told) in zip(bad.items(), list(found.values())[1:], strict=False):
        assert status == 4 and name in told and cause in told and len(told) < 500, (name, told)


@pytest.mark.parametrize("column", ["variance_path", "ivar_path", "mask_path", "psf_path"])
def test_a_bad_plane_costs_its_object_alone_too(tmp_path, good, column):
    names = unreadable(tmp_path)
    rows(tmp_path, good, *(good | {column: name} for name in names))
    found, _ = cutouts(tmp_path, list(range(1, len(names) + 2)))
    assert found[1] == (0, "")
    assert all(found[k + 2][0] == 4 and name in found[k + 2][1] for k, name in enumerate(names)), found


def test_too_many_failures_stop_the_shard_with_the_first_file(tmp_path, good):
    rows(tmp_path, good, {"path": "absent.fits"}, good)
    with pytest.raises(ServiceError, match=r"1 of 3 stamps failed.*absent\.fits"):
        cutouts(tmp_path, [1, 2, 3], max_failed_fraction=0.05)
    assert not (tmp_path / "out.h5").exists()


# s: links, names, contents, versions

@pytest.mark.parametrize("name", ["my data", "2026-11-27T12:00", "données", "o'brien \"x\"", "a;b {c} $HOME %s #1", "[1]*?"])
def test_any_name_of_folder_and_file_works(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    put(folder / f"{name}.fits", source(matrix(0.2), 27.0), header(matrix(0.2)))
    put(folder / f"{name} psf.fits", np.ones((5, 5)))
    row = rows(folder, {"path": f"{name}.fits", "psf_path": f"{name} psf.fits", "zero_point": 27}, name=f"{name}.csv")[0]
    found, kernel = stamp(row)
    assert found.status == "ok" and kernel.shape == (5, 5)
    entries = manifest.entries(folder / f"{name}.csv")
    assert manifest.files(entries, ["h1_0"])["h1_0"] == sorted(str(folder / f"{name}{end}.fits") for end in ("", " psf"))


def test_a_linked_manifest_finds_its_images_where_it_lies_or_where_the_link_does(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    put(tmp_path / "there" / "a.fits", np.ones((9, 9)))
    put(tmp_path / "here" / "b.fits", np.ones((9, 9)))
    rows(tmp_path / "there", {}, {"path": "b.fits"}, {"path": "absent.fits"})
    link = tmp_path / "here" / "m.csv"
    link.symlink_to("../there/m.csv")
    found = [os.path.relpath(row["path"], tmp_path) for row in manifest.entries(link)]
    assert found == ["there/a.fits", "here/b.fits", "there/absent.fits"]
    put(tmp_path / "here" / "a.fits", np.zeros((9, 9)))
    with pytest.raises(InputError, match=r"`a\.fits` is one file beside the link"):
        manifest.entries(link)


def test_every_file_that_a_shard_reads_is_its_own_and_no_other_shards(tmp_path):
    kinds = ("path", "variance_path", "mask_path", "psf_path")
    given = [{column: f"{column}{k}.fits" for column in kinds} for k in range(12)]
    given[0]["ivar_path"], given[0]["variance_path"] = "ivar0.fits", ""
    rows(tmp_path, *given)
    entries = manifest.entries(tmp_path / "m.csv")
    found = manifest.files(entries, ["h3_0", "h3_1", "h3_2", "all"])
    every = sorted(str(tmp_path / name) for row in given for name in row.values() if name)
    assert found["all"] == every == sorted(sum((found[f"h3_{k}"] for k in range(3)), [])) and len(every) == 48


@pytest.mark.parametrize("large", [False, True])
def test_an_edit_changes_the_content_though_size_and_time_are_set_back(tmp_path, large, monkeypatch):
    monkeypatch.setattr(contents, "BIG", 100 if large else 10**8)
    monkeypatch.setattr(contents, "BLOCK", 64)
    path, memo = put(tmp_path / "a.fits", np.ones((9, 9))), tmp_path / "memo.json"
    before, stat = contents.state([str(path)], memo), path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert (contents.state([str(path)], memo) == before) == (not large)  # a touch is no edit, where all bytes are read
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    put(path, np.full((9, 9), 2))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and path.stat().st_mtime_ns == stat.st_mtime_ns
    after = contents.state([str(path)], memo)
    assert after != before
    path.unlink()
    assert contents.state([str(path)], memo) not in (before, after)


@pytest.mark.parametrize(("verb", "library"), [("measure", "sep"), ("measure", "torch"), ("download-cutouts", "astropy"),
                                               ("measure", "numpy"), ("download-cutouts", "scipy"), ("train", "torch")])
def test_another_version_of_a_library_that_decides_numbers_is_another_code(verb, library, monkeypatch):
    make, known = fingerprint.fingerprint.__wrapped__, fingerprint._version
    before = make(verb)
    monkeypatch.setattr(fingerprint, "_version", lambda name: known(name) + ".1" * (name == library))
    assert make(verb) != before
