# What a multi-survey run tells about its networks: bands, missing surveys, grids of options.
if FUSIONS:

    rule attribute:
        """Shapley values of every band for some testing objects of one model, at the first seed."""
        input:
            weights=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/model.safetensors",
            card=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/model.json",
            data=f"{RESULTS}/dataset/multi_testing.hdf5",
        output:
            table=f"{RESULTS}/models/{{model}}/attribution.parquet",
        log:
            f"logs/{RUN}/attribute/{{model}}.log",
        benchmark:
            f"logs/{RUN}/attribute/{{model}}.benchmark.tsv"
        conda:
            "../../envs/core.yaml"
        threads: config["train"]["threads"]
        resources:
            mem_mb=4000,
            training_slots=1,
            gpu=GPU,
        params:
            settings=settings(objects=config["attribution"]["objects"], device=config["train"]["device"]),
            code=model_code("attribute", *SURVEY_MODULES),
            folder=lambda wildcards, input: os.path.dirname(input.card),
        shell:
            "python -m skyloom attribute --settings {params.settings:q} --model {params.folder:q} --data {input.data:q} "
            "--out {output.table:q} 2> {log:q}"

    rule summarize_attribution:
        """Mean Shapley values and MM-SHAP in bins of redshift, with their figure."""
        input:
            tables=expand(
                f"{RESULTS}/models/{{model}}/attribution.parquet", model=config["attribution"]["models"]
            ),
        output:
            table=report(f"{RESULTS}/evaluation/attribution.csv", category="Evaluation"),
            figure=report(f"{RESULTS}/evaluation/attribution.png", category="Evaluation"),
        log:
            f"logs/{RUN}/summarize_attribution.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1000,
        params:
            settings=settings(bin_width=config["attribution"]["bin_width"]),
            code=fingerprint("summarize-attribution"),
        shell:
            "python -m skyloom summarize-attribution {input.tables:q} --settings {params.settings:q} "
            "--out {output.table:q} --figure {output.figure:q} 2> {log:q}"

    rule degrade:
        """Metrics of a model trained with `survey_dropout` when surveys are hidden from it."""
        input:
            weights=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.json",
            data=f"{RESULTS}/dataset/multi_testing.hdf5",
        output:
            table=f"{RESULTS}/models/{{model}}/seed{{seed}}/degradation.csv",
        log:
            f"logs/{RUN}/degrade/{{model}}_seed{{seed}}.log",
        conda:
            "../../envs/core.yaml"
        threads: config["train"]["threads"]
        resources:
            mem_mb=3000,
            training_slots=1,
            gpu=GPU,
        params:
            settings=settings(
                bootstrap=config["evaluation"]["bootstrap"],
                seed=config["seed"],
                grid=config["evaluation"]["grid"],
                device=config["train"]["device"],
            ),
            code=model_code("degrade"),
            folder=lambda wildcards, input: os.path.dirname(input.card),
        shell:
            "python -m skyloom degrade --settings {params.settings:q} --model {params.folder:q} --data {input.data:q} "
            "--out {output.table:q} 2> {log:q}"

    rule rank_sweep:
        """The points of the grids of options, best first on validation."""
        input:
            predictions=expand(
                f"{RESULTS}/models/{{model}}/seed{{seed}}/predictions.h5", model=SWEEP, seed=SEEDS
            ),
            data=f"{RESULTS}/dataset/multi_validation.hdf5",
        output:
            table=report(f"{RESULTS}/evaluation/sweep.csv", category="Evaluation"),
        log:
            f"logs/{RUN}/rank_sweep.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1000,
        params:
            settings=settings(points=sweep_points()),
            code=fingerprint("rank-sweep"),
        shell:
            "python -m skyloom rank-sweep --settings {params.settings:q} --predictions {input.predictions:q} "
            "--data {input.data:q} --out {output.table:q} 2> {log:q}"
