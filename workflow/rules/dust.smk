rule download_map:
    """One dust map: the user's own copy, or a download that stays in cache/."""
    output:
        facts=f"{RESULTS}/dust/maps/{{map}}.json",
    log:
        f"logs/{RUN}/download_map/{{map}}.log",
    retries: 1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=4000,
    params:
        settings=canonical({"run": RUN, "archive": config["archive"], "identity": archive_identity("dust")}),
        code=fingerprint("download-map"),
        own=lambda wildcards: option("--own", config["dust"]["files"][wildcards.map]),
        folder=f"{CACHE}/dust",
    shell:
        "python -m skyloom download-map --map {wildcards.map:q} --settings {params.settings:q} {params.own:q} "
        "--folder {params.folder:q} --out {output.facts:q} 2> {log:q}"


rule measure_dust:
    """E(B-V) of a shard's members from each map."""
    input:
        members=f"{RESULTS}/shards/{{shard}}.parquet",
        maps=expand(f"{RESULTS}/dust/maps/{{map}}.json", map=config["dust"]["maps"]),
    output:
        dust=f"{RESULTS}/dust/{{shard}}.parquet",
    log:
        f"logs/{RUN}/measure_dust/{{shard}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=4000,
    params:
        settings=settings(),
        code=fingerprint("measure-dust"),
    shell:
        "python -m skyloom measure-dust {input.members:q} --maps {input.maps:q} --settings {params.settings:q} "
        "--out {output.dust:q} 2> {log:q}"
