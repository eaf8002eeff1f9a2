# Scenes: what finds their sources, and its way into the run's dataset.
if ON_SCENES:

    ruleorder: pack_detections > query

    rule train_scenes:
        """A network that finds, deblends, classifies and measures; its state lies in cache/, so that a killed training goes on."""
        input:
            training=scene_files(["training"]),
            training_labels=scene_labels(["training"]),
            validation=scene_files(["validation"]),
            validation_labels=scene_labels(["validation"]),
            pretrained=pretrained,
        output:
            weights=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.safetensors",
            card=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.json",
            history=f"{RESULTS}/models/{{model}}/seed{{seed}}/history.csv",
        log:
            f"logs/{RUN}/train/{{model}}_seed{{seed}}.log",
        benchmark:
            f"logs/{RUN}/train/{{model}}_seed{{seed}}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(NETWORKS) or "a^",
        conda:
            "../../envs/train.yaml"
        threads: config["train"]["threads"]
        resources:
            mem_mb=training_memory,
            training_slots=1,
            gpu=GPU,
        params:
            settings=network_settings,
            code=model_code("train-scenes"),
            state=f"{CACHE}/train",
        shell:
            "python -m skyloom train-scenes --settings {params.settings:q} --training {input.training:q} "
            "--training-labels {input.training_labels:q} --validation {input.validation:q} "
            "--validation-labels {input.validation_labels:q} --state {params.state:q} --code {params.code:q} "
            "--weights {output.weights:q} --card {output.card:q} --history {output.history:q} 2> {log:q}"

    rule detect:
        """Every source of one shard's tiles by a network."""
        input:
            scenes=f"{RESULTS}/scenes/{config['scenes']['survey']}/{{scene}}.h5",
            weights=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/model.safetensors",
            card=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/model.json",
        output:
            detections=f"{RESULTS}/detections/{{model}}/{{scene}}.parquet",
            masks=f"{RESULTS}/detections/{{model}}/{{scene}}_masks.h5",
            pz=f"{RESULTS}/detections/{{model}}/{{scene}}_pz.h5",
        log:
            f"logs/{RUN}/detect/{{model}}_{{scene}}.log",
        benchmark:
            f"logs/{RUN}/detect/{{model}}_{{scene}}.benchmark.tsv"
        wildcard_constraints:
            model="|".join(NETWORKS) or "a^",
        conda:
            "../../envs/core.yaml"
        threads: config["train"]["threads"]
        resources:
            mem_mb=3000,
            training_slots=1,
            gpu=GPU,
        params:
            settings=settings(device=config["train"]["device"]),
            code=model_code("detect"),
            folder=lambda wildcards, input: os.path.dirname(input.card),
        shell:
            "python -m skyloom detect {input.scenes:q} --settings {params.settings:q} --model {params.folder:q} "
            "--out {output.detections:q} --masks {output.masks:q} --pz {output.pz:q} 2> {log:q}"

    rule pack_detections:
        """The sources of the chosen detector as the run's samples."""
        input:
            detections=lambda wildcards: detection_files(DETECTOR),
            labels=scene_labels(suffix="parquet"),
            other=lambda wildcards: [
                path for name in DETECTORS if name != DETECTOR for path in detection_files(name)
            ],
        output:
            known=f"{RESULTS}/found/raw.parquet",
            targets=f"{RESULTS}/targets/raw.parquet",
        log:
            f"logs/{RUN}/pack_detections.log",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=2000,
        params:
            settings=detection_settings(),
            code=fingerprint("pack-detections"),
            others=[name for name in DETECTORS if name != DETECTOR],
        shell:
            "python -m skyloom pack-detections --settings {params.settings:q} --detections {input.detections:q} "
            "--labels {input.labels:q} --other {input.other:q} --others {params.others:q} --known {output.known:q} "
            "--targets {output.targets:q} 2> {log:q}"

    rule predict_scenes:
        """p(z) of the network whose sources are the run's objects, as any model's."""
        input:
            data=packed(SPLITS),
            pz=lambda wildcards: detection_files(DETECTOR, "_pz.h5"),
            detections=lambda wildcards: detection_files(DETECTOR),
            card=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/model.json",
        output:
            predictions=f"{RESULTS}/models/{{model}}/seed{SEEDS[0]}/predictions.h5",
        log:
            f"logs/{RUN}/predict/{{model}}.log",
        wildcard_constraints:
            model=DETECTOR if DETECTOR in NETWORKS else "a^",
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=1500,
        params:
            settings=settings(),
            code=fingerprint("predict-scenes"),
        shell:
            "python -m skyloom predict-scenes --settings {params.settings:q} --card {input.card:q} "
            "--detections {input.detections:q} --pz {input.pz:q} --data {input.data:q} --out {output.predictions:q} 2> {log:q}"
