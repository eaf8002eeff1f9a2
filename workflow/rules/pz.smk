rule weigh:
    """Importance weights of the training objects toward another split's magnitudes and colours."""
    input:
        training=packed(["training"]),
        like=packed(["{split}"]),
    output:
        weights=f"{RESULTS}/dataset/weights_{{split}}.h5",
    log:
        f"logs/{RUN}/weigh_{{split}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=settings(),
        code=fingerprint("weigh"),
    shell:
        "python -m skyloom weigh --settings {params.settings:q} --training {input.training:q} --like {input.like:q} "
        "--out {output.weights:q} 2> {log:q}"


rule support:
    """How unlike the training objects each object is."""
    input:
        data=packed(SPLITS),
    output:
        support=f"{RESULTS}/dataset/support.h5",
    log:
        f"logs/{RUN}/support.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
    params:
        settings=settings(),
        code=fingerprint("support"),
    shell:
        "python -m skyloom support --settings {params.settings:q} --data {input.data:q} --out {output.support:q} 2> {log:q}"


rule stack:
    """A mixture of models' p(z) as one more model."""
    input:
        predictions=[path for model in config["stack"]["models"] for path in predictions_of(model)],
        data=packed(SPLITS),
    output:
        predictions=f"{RESULTS}/models/stack/predictions.h5",
        weights=report(f"{RESULTS}/models/stack/stack.json", category="Evaluation"),
    log:
        f"logs/{RUN}/stack.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=settings("stack", seed=SEEDS[0], grid=config["evaluation"]["grid"]),
        code=fingerprint("stack"),
    shell:
        "python -m skyloom stack --settings {params.settings:q} --predictions {input.predictions:q} --data {input.data:q} "
        "--out {output.predictions:q} --weights {output.weights:q} 2> {log:q}"


rule calibrate:
    """One model's p(z), the mean over seeds, recalibrated on the objects kept for it if that improves it."""
    input:
        predictions=lambda wildcards: predictions_of(wildcards.model),
        data=model_data(SPLITS),
    output:
        calibrated=f"{RESULTS}/models/{{model}}/calibrated.h5",
        verdicts=report(
            f"{RESULTS}/models/{{model}}/calibration.json",
            category="Evaluation",
            labels={"model": "{model}"},
        ),
    log:
        f"logs/{RUN}/calibrate/{{model}}.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=2500,
    params:
        settings=settings("calibration", seed=config["seed"], grid=config["evaluation"]["grid"]),
        code=fingerprint("calibrate"),
    shell:
        "python -m skyloom calibrate --settings {params.settings:q} --predictions {input.predictions:q} "
        "--data {input.data:q} --out {output.calibrated:q} --verdicts {output.verdicts:q} 2> {log:q}"


rule choose_z_phot:
    """Which model stands for z_phot, and what cuts on its flags and widths buy."""
    input:
        predictions=predictions_with_pz,
        calibrated=calibrated,
        data=packed(SPLITS),
        support=f"{RESULTS}/dataset/support.h5",
    output:
        choice=report(f"{RESULTS}/evaluation/z_phot.json", category="Evaluation"),
        cuts=report(f"{RESULTS}/evaluation/z_phot_cuts.csv", category="Evaluation"),
    log:
        f"logs/{RUN}/choose_z_phot.log",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1500,
    params:
        settings=settings(
            z_phot=config["release"]["z_phot"],
            learned=LEARNED,
            seed=config["seed"],
            grid=config["evaluation"]["grid"],
        ),
        code=fingerprint("choose-z-phot"),
    shell:
        "python -m skyloom choose-z-phot --settings {params.settings:q} --predictions {input.predictions:q} "
        "--calibrated {input.calibrated:q} --data {input.data:q} --support {input.support:q} --out {output.choice:q} "
        "--cuts {output.cuts:q} 2> {log:q}"


rule peer:
    """p(z) of the testing objects by another estimator; it learns from training and validation."""
    input:
        training=packed(["training", "validation"]),
        testing=packed(["testing"]),
        table=peer_table,
    output:
        predictions=f"{RESULTS}/peers/{{peer}}/predictions.h5",
    log:
        f"logs/{RUN}/peer/{{peer}}.log",
    benchmark:
        f"logs/{RUN}/peer/{{peer}}.benchmark.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=4000,
    params:
        settings=peer_settings,
        code=fingerprint("peer"),
        python=config["rail"]["python"],
        timing=lambda wildcards: f"logs/{RUN}/peer/{wildcards.peer}.json",
        table=peer_table_argument,
    shell:
        "python -m skyloom peer --settings {params.settings:q} --python {params.python:q} --training {input.training:q} "
        "--testing {input.testing:q} {params.table:q} --out {output.predictions:q} --timing {params.timing:q} 2> {log:q}"
