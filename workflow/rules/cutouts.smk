rule download_cutouts:
    """The stamps of one shard; raw replies stay in cache/, which Snakemake neither declares nor deletes."""
    input:
        members=f"{RESULTS}/shards/{{shard}}.parquet",
        manifest=[config["local"]["images"]] if SERVICE == "local" and IMAGES else [],
    output:
        cutouts=f"{RESULTS}/cutouts/{SERVICE}/{{shard}}.h5",
    log:
        f"logs/{RUN}/download_cutouts/{{shard}}.log",
    benchmark:
        f"logs/{RUN}/download_cutouts/{{shard}}.benchmark.tsv"
    retries: 1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=700,
        hsc_slots=1,
        rpm=hsc_rpm,
    params:
        settings=stamp_settings(),
        code=fingerprint("download-cutouts"),
        source=lambda wildcards, input: (
            f"--manifest {input.manifest}"
            if input.manifest
            else f"--cache {CACHE}/hsc/{wildcards.shard}.sqlite"
        ),
    shell:
        "python -m skyloom download-cutouts {input.members:q} --settings {params.settings:q} "
        "{params.source} --rpm {resources.rpm} --out {output.cutouts:q} 2> {log}"
