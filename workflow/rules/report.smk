rule report:
    """One self-contained page about the run."""
    input:
        catalog=f"{RESULTS}/catalog/photoz_catalog.parquet",
        cuts=expand(f"{RESULTS}/{{sample}}/cuts.csv", sample=SAMPLES),
        ledger=f"{RESULTS}/ledger.csv",
        lost=f"{RESULTS}/lost.parquet",
        metrics=f"{RESULTS}/evaluation/metrics.csv",
        figures=rules.evaluate.output.figures
        + attribution_figure()
        + (rules.learning.output.figures if LEARNING else []),
        tables=rules.evaluate.output.tables
        + fusion_tables()
        + (rules.learning.output.tables if LEARNING else []),
        z_phot=([*rules.choose_z_phot.output, f"{RESULTS}/evaluation/z_phot_testing.csv"] if Z_PHOT else []),
        leaks=f"{RESULTS}/dataset/leaks.csv",
        stamps=lambda wildcards: (
            [f"{dataset_name('testing', max(SIZES))}.hdf5"] if IMAGES and not MULTI else []
        ),
        histories=[
            f"{RESULTS}/models/{model}/seed{seed}/history.csv"
            for model in MODELS
            for seed in SEEDS
            if model not in NETWORKS
        ],
    output:
        html=f"{RESULTS}/report.html",
    log:
        f"logs/{RUN}/report.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=settings(archive=config["archive"], z_phot=config["release"]["z_phot"]),
        code=fingerprint("report"),
        stamps=lambda wildcards, input: option("--stamps", input.stamps),
        z_phot=lambda wildcards, input: option("--z-phot", input.z_phot),
    shell:
        "python -m skyloom report --settings {params.settings:q} --catalog {input.catalog:q} --cuts {input.cuts:q} "
        "--ledger {input.ledger:q} --lost {input.lost:q} --metrics {input.metrics:q} --leaks {input.leaks:q} "
        "--tables {input.tables:q} --figures {input.figures:q} {params.stamps:q} {params.z_phot:q} --histories {input.histories:q} --out {output.html:q} 2> {log:q}"
