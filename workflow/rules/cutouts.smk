rule download_cutouts:
    """The stamps of one shard; raw replies stay in cache/, which Snakemake neither declares nor deletes."""
    localrule: True
    input:
        members=f"{RESULTS}/shards/{{shard}}.parquet",
    output:
        cutouts=f"{RESULTS}/cutouts/hsc/{{shard}}.h5",
    log:
        f"logs/{RUN}/download_cutouts/hsc/{{shard}}.log",
    benchmark:
        f"logs/{RUN}/download_cutouts/hsc/{{shard}}.benchmark.tsv"
    retries: 1
    resources:
        mem_mb=700,
        hsc_slots=1,
        rpm=hsc_rpm,
    conda:
        "../../envs/core.yaml"
    params:
        settings=settings("stamps", rerun=config["query"]["rerun"], identity=archive_identity()),
        code=fingerprint("download-cutouts"),
        cache=lambda wildcards: f"{CACHE}/hsc/{wildcards.shard}.sqlite",
    shell:
        "{PYTHON} -m skyloom download-cutouts {input.members:q} --settings {params.settings:q} "
        "--cache {params.cache:q} --rpm {resources.rpm} --out {output.cutouts:q} 2> {log}"
