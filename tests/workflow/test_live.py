"""What a live run asks for, seen without asking: dry runs."""

from tests.conftest import snakemake, workplace


def test_galaxiesml_live_without_a_region_makes_its_own_plan(tmp_path):
    folder = workplace(tmp_path / "w")
    (folder / "live.yaml").write_text("archive: live\nquery: {region: null, release: pdr3}\n")
    configs = ("--configfile", "resources/recipes/galaxiesml.yaml", "live.yaml")
    plain = snakemake(folder, "-n", *configs)
    assert plain.returncode == 1
    assert "run galaxiesml has no shard plan yet; make it with `snakemake plan`" in plain.stdout + plain.stderr
    planned = snakemake(folder, "-n", "-p", "plan", *configs)
    assert planned.returncode == 0, planned.stderr[-2000:]
    said = planned.stdout + planned.stderr
    assert "rule query" in said and "rule cut" in said and "--shipped  " in said.replace("--shipped --", "--shipped  --")
    assert '"region":null' in said and '"release":"pdr3"' in said and '"rerun":"pdr3_wide"' in said
    assert "resources/shards/galaxiesml.tsv" not in said
