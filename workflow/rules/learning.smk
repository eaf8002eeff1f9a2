# What models make of more and more training objects.
if LEARNING:

    rule learning:
        """Metrics of every model and size on testing, in pairs, inside cells of colour; losses over training steps."""
        input:
            predictions=[path for name in [*LEARNING, *STACKED] for path in predictions_of(name)],
            cards=expand(f"{RESULTS}/models/{{model}}/seed{{seed}}/model.json", model=LEARNING, seed=SEEDS),
            histories=expand(
                f"{RESULTS}/models/{{model}}/seed{{seed}}/history.csv", model=LEARNING, seed=SEEDS
            ),
            training=packed(["training"]),
            testing=packed(["testing"]),
        output:
            tables=report(
                expand(f"{RESULTS}/evaluation/learning{{table}}.csv", table=["", "_paired", "_attenuation"]),
                category="Evaluation",
            ),
            steps=f"{RESULTS}/evaluation/learning_steps.csv",
            figures=report(
                expand(f"{RESULTS}/evaluation/learning{{figure}}.png", figure=["", "_steps"]),
                category="Evaluation",
            ),
        log:
            f"logs/{RUN}/learning.log",
        benchmark:
            f"logs/{RUN}/learning.benchmark.tsv"
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1500,
        params:
            settings=settings(
                "learning",
                seed=config["seed"],
                **{key: config["evaluation"][key] for key in ("bins", "bootstrap", "grid")},
                **({"table": f"{FINAL} (learning)", "config_hash": science_hash()} if FINAL else {}),
            ),
            final=option("--final", "docs/final_runs.csv" if FINAL else ""),
            code=fingerprint("learning"),
            folder=lambda wildcards, output: os.path.dirname(output.tables[0]),
        shell:
            "python -m skyloom learning --settings {params.settings:q} --predictions {input.predictions:q} --cards {input.cards:q} "
            "--histories {input.histories:q} --training {input.training:q} --testing {input.testing:q} "
            "{params.final:q} --folder {params.folder:q} 2> {log:q}"
