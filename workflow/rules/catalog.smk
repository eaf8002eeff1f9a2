rule build_catalog:
    """Catalog, ledger and lost objects."""
    input:
        data=packed(SPLITS),
        predictions=predictions,
        calibrated=calibrated,
        support=[f"{RESULTS}/dataset/support.h5"] if LABELLED else [],
        z_phot=rules.choose_z_phot.output.choice if Z_PHOT else [],
        raw=expand(f"{RESULTS}/{{sample}}/raw.parquet", sample=SAMPLES),
        rejected=expand(f"{RESULTS}/{{sample}}/rejected.parquet", sample=SAMPLES),
        selected=expand(f"{RESULTS}/{{sample}}/selected.parquet", sample=SAMPLES),
        lost=f"{RESULTS}/dataset/lost.parquet",
    output:
        catalogs=expand(
            f"{RESULTS}/catalog/photoz_catalog.{{suffix}}", suffix=exporters.suffixes(FORMATS, "catalog")
        ),
        ledger=report(f"{RESULTS}/ledger.csv", category="Sample"),
        lost=f"{RESULTS}/lost.parquet",
        pz=expand(
            f"{RESULTS}/catalog/pz_{{model}}.{{suffix}}",
            model=WITH_PZ + (["phot"] if Z_PHOT else []),
            suffix=exporters.suffixes(FORMATS, "pz"),
        ),
    log:
        f"logs/{RUN}/build_catalog.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=2000,
    params:
        settings=settings(
            "release", config_hash=science_hash(), grid=config["evaluation"]["grid"], **catalog_columns()
        ),
        code=fingerprint(
            "build-catalog", *SURVEY_MODULES, *(exporters.REGISTRY.modules[name] for name in FORMATS)
        ),
        formats=FORMATS,
        service=SERVICE,
        support=lambda wildcards, input: option("--support", input.support),
        z_phot=lambda wildcards, input: option("--z-phot", input.z_phot),
        folder=lambda wildcards, output: os.path.dirname(output.catalogs[0]),
    shell:
        "python -m skyloom build-catalog --settings {params.settings:q} --data {input.data:q} "
        "--predictions {input.predictions:q} --calibrated {input.calibrated:q} --raw {input.raw:q} --rejected {input.rejected:q} "
        "--selected {input.selected:q} --lost {input.lost:q} {params.support:q} {params.z_phot:q} --service {params.service:q} "
        "--formats {params.formats:q} --folder {params.folder:q} --ledger {output.ledger:q} --all-lost {output.lost:q} 2> {log:q}"


rule evaluate:
    """Metrics with intervals on the testing split, tables in the papers' layouts, figures."""
    input:
        catalog=f"{RESULTS}/catalog/photoz_catalog.parquet",
        data=packed(["testing"] if LABELLED else []),
        predictions=predictions,
        peers=peer_predictions,
        calibrated=calibrated,
        cuts=rules.choose_z_phot.output.cuts if Z_PHOT else [],
    output:
        metrics=report(f"{RESULTS}/evaluation/metrics.csv", category="Evaluation"),
        tables=report(
            expand(f"{RESULTS}/evaluation/{{table}}.csv", table=["ablations", "subsets", "paired", "nz"]),
            category="Evaluation",
        ),
        testing=[f"{RESULTS}/evaluation/z_phot_testing.csv"] if Z_PHOT else [],
        figures=report(
            expand(
                f"{RESULTS}/evaluation/{{figure}}.png",
                figure=["binned", "pit"] + [f"z_{m}" for m in MODELS + STACK + PEERS],
            ),
            category="Evaluation",
        ),
    log:
        f"logs/{RUN}/evaluate.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=settings(
            "evaluation",
            seed=config["seed"],
            archive=config["archive"],
            surveys=MODEL_SURVEYS,
            table=FINAL,
            **({"config_hash": science_hash()} if FINAL else {}),
        ),
        cuts=lambda wildcards, input: option("--z-phot-cuts", input.cuts),
        final=option("--final", "docs/final_runs.csv" if FINAL else ""),
        code=fingerprint("evaluate"),
        folder=lambda wildcards, output: os.path.dirname(output.metrics),
    shell:
        "python -m skyloom evaluate --settings {params.settings:q} --catalog {input.catalog:q} --data {input.data:q} "
        "--predictions {input.predictions:q} {input.peers:q} --calibrated {input.calibrated:q} {params.cuts:q} {params.final:q} --folder {params.folder:q} 2> {log:q}"
