from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"
include: "workflow/rules/settings.smk"
include: "workflow/rules/specz.smk"
include: "workflow/rules/redshifts.smk"
include: "workflow/rules/cutouts.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/dust.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/fusion.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/scene_settings.smk"
include: "workflow/rules/scenes.smk"
include: "workflow/rules/detect.smk"
include: "workflow/rules/scenes_judge.smk"
include: "workflow/rules/pz.smk"
include: "workflow/rules/catalog.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


# Archives are asked from the submitting host: compute nodes often have no way out.
localrules:
    all,
    plan,
    cutouts,
    dataset,
    catalog,
    query,
    download_cutouts,
    download_map,


rule all:
    """The catalog and its report."""
    default_target: True
    input:
        [rules.build_catalog.output.catalogs, rules.report.output.html] if MODELS else [],
        dataset_files,
        f"{RESULTS}/dataset/leaks.csv",
        judged_scenes(),


rule plan:
    """The samples, the frozen shard plan and, once it is known, the members of each shard."""
    input:
        f"{RESULTS}/shards/plan.tsv",
        members_if_planned,


rule cutouts:
    """Every stamp."""
    input:
        cutout_files,


rule dataset:
    """The machine-learning files."""
    input:
        dataset_files,
        f"{RESULTS}/dataset/leaks.csv",


rule catalog:
    """The photo-z catalog without the report."""
    input:
        rules.build_catalog.output,
