rule tune:
    """A model's settings by cross-validation on the training split."""
    input:
        training=model_data(["training"]),
    output:
        tuned=f"{RESULTS}/models/{{model}}/tuned.json",
    log:
        f"logs/{RUN}/tune/{{model}}.log",
    conda:
        "../../envs/train.yaml"
    threads: config["train"]["threads"]
    resources:
        mem_mb=3000,
        training_slots=1,
        gpu=GPU,
    params:
        settings=tune_settings,
        code=model_code("tune"),
    shell:
        "python -m skyloom tune --settings {params.settings:q} --training {input.training:q} --out {output.tuned:q} 2> {log:q}"


rule train:
    """One model and seed; its state lies in cache/, so that a killed training goes on where it was."""
    input:
        training=model_data(["training"]),
        validation=model_data(["validation"]),
        pretrained=pretrained,
        tuned=tuned,
        weights_of=reweighted,
    output:
        weights=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.json",
        history=f"{RESULTS}/models/{{model}}/seed{{seed}}/history.csv",
    log:
        f"logs/{RUN}/train/{{model}}_seed{{seed}}.log",
    benchmark:
        f"logs/{RUN}/train/{{model}}_seed{{seed}}.benchmark.tsv"
    wildcard_constraints:
        model=TABLED,
    conda:
        "../../envs/train.yaml"
    threads: config["train"]["threads"]
    resources:
        mem_mb=training_memory,
        training_slots=1,
        gpu=GPU,
    params:
        settings=model_settings,
        code=model_code("train"),
        state=f"{CACHE}/train",
        tuned=lambda wildcards, input: option("--tuned", input.tuned),
        weights_of=lambda wildcards, input: option("--weights-of", input.weights_of),
    shell:
        "python -m skyloom train --settings {params.settings:q} --training {input.training:q} "
        "--validation {input.validation:q} {params.tuned:q} {params.weights_of:q} --state {params.state:q} --code {params.code:q} "
        "--weights {output.weights:q} --card {output.card:q} --history {output.history:q} 2> {log:q}"


rule predict:
    """z of every object of every split."""
    input:
        weights=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.safetensors",
        card=f"{RESULTS}/models/{{model}}/seed{{seed}}/model.json",
        data=model_data(SPLITS),
    output:
        predictions=f"{RESULTS}/models/{{model}}/seed{{seed}}/predictions.h5",
    log:
        f"logs/{RUN}/predict/{{model}}_seed{{seed}}.log",
    wildcard_constraints:
        model=TABLED,
    conda:
        "../../envs/train.yaml"
    threads: config["train"]["threads"]
    resources:
        mem_mb=3000,
        training_slots=1,
        gpu=GPU,
    params:
        settings=canonical({"run": RUN, "device": config["train"]["device"]}),
        code=model_code("predict"),
        folder=lambda wildcards, input: os.path.dirname(input.card),
    shell:
        "python -m skyloom predict --settings {params.settings:q} --model {params.folder:q} --data {input.data:q} "
        "--out {output.predictions:q} 2> {log:q}"
