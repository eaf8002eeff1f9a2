rule download_cutouts:
    """The stamps of one shard; raw replies stay in cache/, which Snakemake neither declares nor deletes."""
    input:
        members=f"{RESULTS}/shards/{{shard}}.parquet",
        manifest=[config["local"]["images"]] if config["archive"] == "local" and IMAGES else [],
        images=image_files,
    output:
        cutouts=f"{RESULTS}/cutouts/{{survey}}/{{shard}}.h5",
    log:
        f"logs/{RUN}/download_cutouts/{{survey}}/{{shard}}.log",
    benchmark:
        f"logs/{RUN}/download_cutouts/{{survey}}/{{shard}}.benchmark.tsv"
    retries: 1
    conda:
        "../../envs/core.yaml"
    resources:
        **{f"{service}_slots": slots(service) for service in SERVICES},
        mem_mb=700,
        rpm=survey_rpm,
    params:
        settings=stamp_settings,
        code=lambda wildcards: fingerprint("download-cutouts", *survey_modules(wildcards)),
        images=image_content,
        source=lambda wildcards, input: (
            option("--manifest", input.manifest)
            or option("--cache", f"{CACHE}/{wildcards.survey}/{wildcards.shard}.sqlite")
        ),
    shell:
        "python -m skyloom download-cutouts {input.members:q} --settings {params.settings:q} "
        "--survey {wildcards.survey:q} {params.source:q} --rpm {resources.rpm:q} --out {output.cutouts:q} 2> {log:q}"
