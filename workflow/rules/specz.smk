rule query:
    """Ask the archive for the rows of a sample, as they come."""
    input:
        template=query_template,
        tables=query_tables,
    output:
        **query_reports(),
        raw=f"{RESULTS}/{{sample}}/raw.parquet",
    log:
        f"logs/{RUN}/query/{{sample}}.log",
    retries: 1
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=2500,
        hsc_slots=job_slots("hsc"),
        rpm=acquisition.share(config, "hsc")[1],
    params:
        settings=query_settings,
        code=fingerprint("query"),
        template=lambda wildcards, input: option("--template", input.template),
        tables=query_arguments,
        values=lambda wildcards, output: option(
            "--values", output.values if config["archive"] == "local" else ""
        ),
    shell:
        "python -m skyloom query --settings {params.settings:q} {params.template:q} --tables {params.tables:q} "
        "{params.values:q} --rpm {resources.rpm:q} --out {output.raw:q} 2> {log:q}"


rule cut:
    """Quality cuts, every rejected row kept with its reason."""
    input:
        raw=f"{RESULTS}/{{sample}}/raw.parquet",
        known=known_sample,
    output:
        selected=f"{RESULTS}/{{sample}}/selected.parquet",
        rejected=f"{RESULTS}/{{sample}}/rejected.parquet",
        counts=report(f"{RESULTS}/{{sample}}/cuts.csv", category="Sample", labels={"sample": "{sample}"}),
    log:
        f"logs/{RUN}/cut/{{sample}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
    params:
        settings=cut_settings,
        code=fingerprint("cut"),
        known=lambda wildcards, input: option("--known", input.known),
    shell:
        "python -m skyloom cut {input.raw:q} --settings {params.settings:q} {params.known:q} "
        "--selected {output.selected:q} --rejected {output.rejected:q} --counts {output.counts:q} 2> {log:q}"


if not PLAN.exists():

    # Only while there is no plan: once made it is frozen, and the rule is gone.
    rule freeze_plan:
        """The shard plan: the one shipped with the recipe, else drawn from the selected objects."""
        input:
            selected=[] if SHARDS else expand(f"{RESULTS}/{{sample}}/selected.parquet", sample=SAMPLES),
            shipped=[SHIPPED] if SHIPPED else [],
        output:
            plan=PLAN,
        log:
            f"logs/{RUN}/freeze_plan.log",
        conda:
            "../../envs/core.yaml"
        params:
            settings=canonical({**config["shards"], "n_shards": config["local"]["n_shards"]}),
            by_hash=["--by-hash"] if config["archive"] == "local" or ON_SCENES else [],
        shell:
            "python -m skyloom plan --settings {params.settings:q} --shipped {input.shipped:q} {params.by_hash:q} "
            "--selected {input.selected:q} --out {output.plan:q} 2> {log:q}"


rule plan_shards:
    """The members of every shard of the frozen plan."""
    input:
        selected=expand(f"{RESULTS}/{{sample}}/selected.parquet", sample=SAMPLES),
        plan=PLAN,
    output:
        members=expand(f"{RESULTS}/shards/{{shard}}.parquet", shard=SHARDS or ["s0_0"]),
    log:
        f"logs/{RUN}/plan_shards.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
    params:
        settings=settings(),
        code=fingerprint("plan-shards"),
        samples=SAMPLES,
        folder=lambda wildcards, output: os.path.dirname(output.members[0]),
    shell:
        "python -m skyloom plan-shards {input.selected:q} --samples {params.samples:q} --plan {input.plan:q} "
        "--settings {params.settings:q} --folder {params.folder:q} 2> {log:q}"
