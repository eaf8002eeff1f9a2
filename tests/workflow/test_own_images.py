"""Images of one's own through Snakemake: whatever their names, and rerun after an edit that no time tells."""

import os

import numpy as np
import pytest
import yaml

from tests.conftest import snakemake, workplace
from tests.unit.own_images import SKY, header, matrix, put, rows, source


@pytest.mark.slow
def test_images_of_any_name_are_read_and_one_edited_in_place_reruns_its_stamps(tmp_path):
    work, own = workplace(tmp_path / "work"), tmp_path / "o'b \"x\" 12:00 é; %s &[1]*#"
    own.mkdir()
    noise = np.random.default_rng(1).normal(size=(61, 61))
    put(own / "a{1} $HOME ~.fits", source(matrix(0.3), 27.0) + noise, header(matrix(0.3)))
    kernel = put(own / "psf, 'i'.fits", np.ones((5, 5)))
    given = {"path": "a{1} $HOME ~.fits", "psf_path": kernel.name, "zero_point": 27}
    rows(own, given, given | {"ra": SKY[0] + 2 / 3600}, name="the manifest.csv")
    recipe = yaml.safe_load((work / "resources" / "recipes" / "images.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(recipe | {"local": {"images": str(own / "the manifest.csv")}}, allow_unicode=True)
    (work / "config.yaml").write_text(text, encoding="utf-8")
    target = ["results/images/cutouts/local/h1_0.h5", "--cores", "1"]
    done = snakemake(work, *target)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in (kernel, own / "a{1} $HOME ~.fits"):
        stat, body = path.stat(), path.read_bytes()
        for content, words in ((body[:-2881] + b"?" + body[-2880:], "rule download_cutouts"), (body, "Nothing to be done")):
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert words in snakemake(work, *target, "-n").stdout
