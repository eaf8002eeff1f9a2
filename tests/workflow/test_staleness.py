"""The staleness contract: what reruns after which change, by dry runs on a copy of the tiny run."""

import re
import shutil

import pytest
import yaml

from tests.conftest import snakemake

pytestmark = [pytest.mark.xdist_group("tiny"), pytest.mark.timeout(600)]


@pytest.fixture()
def copy(tiny_run, tmp_path):
    """A copy of the finished tiny run that may be edited."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns("trace", "sqlite", "*.pt"))
    return folder


def stale(folder, *targets) -> set[str]:
    """Rules that a call would run."""
    done = snakemake(folder, "-n", "--cores", "1", *targets)
    assert done.returncode == 0, done.stderr[-3000:]
    text = done.stdout + done.stderr
    table = re.search(r"^job\s+count\n-+\s+-+\n(.*?)\ntotal", text, re.M | re.S)
    return {line.split()[0] for line in table[1].splitlines()} - {"all", "plan"} if table else set()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


AFTER_CUT = {"cut", "plan_shards", "download_cutouts", "measure", "measure_structure", "assign_splits", "pack", "support",
             "train", "predict", "build_catalog", "evaluate", "report"}
AFTER_MEASURE = AFTER_CUT - {"cut", "plan_shards", "download_cutouts", "measure_structure", "assign_splits"}


def test_each_change_reruns_what_it_should(copy):
    config = copy / "config.yaml"
    source = copy / "src" / "skyloom"
    assert stale(copy) == set()
    # a comment, a touch, a rate, a fault, more memory: nothing
    edit(source / "measure" / "sources.py", "PETRO_LIMIT,", "# a comment\nPETRO_LIMIT,")
    (source / "sample" / "cuts.py").touch()
    edit(config, "rpm: 6000", "rpm: 12")
    edit(copy / "workflow" / "rules" / "measure.smk", "mem_mb=700", "mem_mb=900")
    assert stale(copy) == set()
    # a formula in morphology: morphology and after, no download
    original = (source / "measure" / "sources.py").read_text()
    edit(source / "measure" / "sources.py", "1 - b / a", "1 - (b / a) ** 2")
    assert stale(copy) == AFTER_MEASURE
    (source / "measure" / "sources.py").write_text(original)
    # a cut: cuts and after
    text = config.read_text()
    config.write_text(text + "cuts: {z_max: 1.0}\n")
    assert stale(copy) == AFTER_CUT
    # structure left out: it is packed without, and nothing is measured again
    config.write_text(text + "structure: {measure: false}\n")
    assert stale(copy) == AFTER_MEASURE - {"measure"}
    # a training setting: its model and after, not the other model
    config.write_text(text.replace("galaxiesml_nn: {max_epochs: 40}", "galaxiesml_nn: {max_epochs: 41}"))
    assert stale(copy) == {"train", "predict", "build_catalog", "evaluate", "report"}
    # the SQL template is an input
    config.write_text(text)
    edit(copy / "resources" / "sql" / "hsc_targets.sql", "AND i_extendedness_value = 1", "AND i_extendedness_value = 1.0")
    assert "query" in stale(copy)


def test_new_galaxies_touch_only_the_shards_that_get_them(copy):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["query"]["region"][1] -= 0.13  # half the sky: fewer galaxies is a change of members too
    config["targets"]["every"] = 81
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    before = {p.name: p.read_bytes() for p in (copy / "results/tiny/shards").glob("*.parquet")}
    done = snakemake(copy, "--cores", "2", "plan")
    assert done.returncode == 0, done.stderr[-3000:]
    after = {p.name: p.read_bytes() for p in (copy / "results/tiny/shards").glob("*.parquet")}
    changed = {name.removesuffix(".parquet") for name in after if after[name] != before[name]}
    dry = snakemake(copy, "-n", "--cores", "1", "cutouts")
    asked = set(re.findall(r"output: results/tiny/cutouts/hsc/(\S+)\.h5", dry.stdout + dry.stderr))
    assert asked == changed and changed


def test_a_changed_parser_parses_again_and_asks_for_nothing(tiny_run, tmp_path):
    """With the cache of raw replies in place and no server in reach, the stamps are rebuilt."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns("trace"))
    edit(folder / "src" / "skyloom" / "cutouts" / "stamps.py", "<= size / 4", "<= size / 3")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["services"]["hsc"] |= {f"{kind}_url": "http://127.0.0.1:9/" for kind in ("sql", "cutout", "psf")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "download_cutouts" in stale(folder, "cutouts")
    done = snakemake(folder, "--cores", "2", "cutouts")
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_dead_server_without_a_cache_fails_with_a_sentence(copy):
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["services"]["hsc"] |= {f"{kind}_url": "http://127.0.0.1:9/" for kind in ("sql", "cutout", "psf")}
    config["services"]["hsc"] |= {"attempts": 2}
    config["stamps"]["size"] = 129
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.rmtree(copy / "cache")
    done = snakemake(copy, "--cores", "2", "cutouts")
    assert done.returncode != 0
    assert re.search(r"skyloom: \d+ of \d+ stamps failed", done.stderr + done.stdout)
