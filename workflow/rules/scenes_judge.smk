# Scenes: the classical chain, and detectors against what really is in the tiles.
if CLASSICAL in DETECTORS:

    rule tune_sep:
        """The best of the classical chain's settings on validation; its star/galaxy classifier from training."""
        input:
            training=scene_files(["training"]),
            training_labels=scene_labels(["training"], "parquet"),
            validation=scene_files(["validation"]),
            validation_labels=scene_labels(["validation"], "parquet"),
        output:
            tuned=f"{RESULTS}/models/{CLASSICAL}/tuned.json",
        log:
            f"logs/{RUN}/tune_sep.log",
        benchmark:
            f"logs/{RUN}/tune_sep.benchmark.tsv"
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=2000,
        params:
            settings=tuning_settings(),
            code=fingerprint("tune-sep"),
        shell:
            "python -m skyloom tune-sep --settings {params.settings:q} --training {input.training:q} "
            "--training-labels {input.training_labels:q} --validation {input.validation:q} "
            "--validation-labels {input.validation_labels:q} --out {output.tuned:q} 2> {log:q}"

    rule detect_sep:
        """Every source of one shard's tiles by the classical chain."""
        input:
            scenes=f"{RESULTS}/scenes/{SCENES['survey']}/{{scene}}.h5",
            tuned=rules.tune_sep.output.tuned,
        output:
            detections=f"{RESULTS}/detections/{CLASSICAL}/{{scene}}.parquet",
            masks=f"{RESULTS}/detections/{CLASSICAL}/{{scene}}_masks.h5",
        log:
            f"logs/{RUN}/detect_sep/{{scene}}.log",
        benchmark:
            f"logs/{RUN}/detect_sep/{{scene}}.benchmark.tsv"
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1500,
        params:
            settings=settings(),
            code=fingerprint("detect-sep"),
        shell:
            "python -m skyloom detect-sep {input.scenes:q} --settings {params.settings:q} --tuned {input.tuned:q} "
            "--out {output.detections:q} --masks {output.masks:q} 2> {log:q}"


if JUDGED:

    rule judge_scenes:
        """Completeness, purity, blends, classes, fluxes and masks of every detector on the testing tiles, and the bars."""
        input:
            scenes=scene_files(["testing"]),
            truth=scene_truth(["validation", "testing"]),
            labels=scene_labels(["testing"]) if SCENES["labels"] == "truth" else [],
            detections=judged_files(["validation", "testing"]),
            masks=judged_files(["testing"], "_masks.h5"),
        output:
            tables=report(
                scene_tables(SCENE_TABLES),
                category="Scenes",
            ),
            figures=report(
                expand(
                    f"{RESULTS}/evaluation/scenes_{{figure}}.png", figure=["completeness", "scene", "blends"]
                ),
                category="Scenes",
            ),
        log:
            f"logs/{RUN}/judge_scenes.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=3000,
        params:
            settings=judging_settings("scenes"),
            code=fingerprint("judge-scenes"),
            validation=scene_shards(["validation"]),
            testing=scene_shards(["testing"]),
            scenes=f"{RESULTS}/scenes/{SCENES['survey']}",
            truth=f"{RESULTS}/scenes/truth",
            labels=option("--labels", f"{RESULTS}/scenes/labels" if SCENES["labels"] == "truth" else ""),
            detections=f"{RESULTS}/detections",
            final=option("--final", "docs/final_runs.csv" if FINAL else ""),
            folder=f"{RESULTS}/evaluation",
        shell:
            "python -m skyloom judge-scenes --settings {params.settings:q} --validation {params.validation:q} "
            "--testing {params.testing:q} --scenes {params.scenes:q} --truth {params.truth:q} {params.labels:q} "
            "--detections {params.detections:q} {params.final:q} --folder {params.folder:q} 2> {log:q}"

    rule judge_scene_redshifts:
        """p(z) of gold galaxies that every detector found, by every model, and its bars."""
        input:
            scenes=scene_files(["testing"]),
            truth=scene_truth(["testing"]),
            detections=judged_files(["testing"]),
            thresholds=f"{RESULTS}/evaluation/scenes_thresholds.csv",
            predictions=predictions_with_pz,
            calibrated=calibrated,
        output:
            tables=report(
                scene_tables(REDSHIFT_TABLES),
                category="Scenes",
            ),
        log:
            f"logs/{RUN}/judge_scene_redshifts.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=3000,
        params:
            settings=judging_settings(
                "redshifts of scenes",
                model_against=f"tabular_{CLASSICAL}",
                grid=config["evaluation"]["grid"],
            ),
            code=fingerprint("judge-scene-redshifts"),
            testing=scene_shards(["testing"]),
            scenes=f"{RESULTS}/scenes/{SCENES['survey']}",
            truth=f"{RESULTS}/scenes/truth",
            detections=f"{RESULTS}/detections",
            final=option("--final", "docs/final_runs.csv" if FINAL else ""),
            folder=f"{RESULTS}/evaluation",
        shell:
            "python -m skyloom judge-scene-redshifts --settings {params.settings:q} --testing {params.testing:q} "
            "--scenes {params.scenes:q} --truth {params.truth:q} --detections {params.detections:q} "
            "--thresholds {input.thresholds:q} --predictions {input.predictions:q} {input.calibrated:q} "
            "{params.final:q} --folder {params.folder:q} 2> {log:q}"
