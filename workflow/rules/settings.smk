"""What each rule's numbers depend on: the functions behind `params` and some inputs."""


def settings(*blocks, **more):
    """The canonical JSON of the config blocks that a rule's numbers depend on."""
    chosen = {"run": RUN, "release": config["query"]["release"]} | more
    for block in blocks:
        chosen |= config[block]
    return canonical(chosen)


def science_hash():
    """Hash of the configuration without what may change no number: rates, addresses, waits, faults."""
    science = {
        key: value for key, value in config.items() if key not in ("services", "run_wait_s", "embedded")
    }
    return digest(science | {"embedded": EMBEDDED})


def archive_identity():
    """What the raw replies depend on besides the request."""
    return acquisition.identity(config["archive"], config["query"]["release"], EMBEDDED)


def hsc_rpm(wildcards):
    """One job's share of the requests a minute: each of the `streams` jobs at a time takes one stream."""
    return max(1, config["services"]["hsc"]["rpm"] // config["services"]["hsc"]["streams"])


def survey_rpm(wildcards):
    """Requests a minute of a download job: HSC's jobs share them, every other service works on one shard at a time."""
    if wildcards.survey in ("hsc", "local"):
        return hsc_rpm(wildcards)
    return config["services"][acquisition.HOST.get(wildcards.survey, wildcards.survey)]["rpm"]


def slots(service):
    """1 for the jobs of a service, 0 for others: the profile caps the sum."""
    return lambda wildcards: int(acquisition.HOST.get(wildcards.survey, wildcards.survey) == service)


def model_size(model):
    """Stamp size whose files a model reads; a network without images reads the smallest."""
    return config["models"][model].get("size", 64) if model.startswith("galaxiesml_cnn") else min(SIZES)


def model_data(splits):
    """Input function: the dataset files of the given splits at the model's size."""
    return lambda wildcards: [f"{dataset_name(s, model_size(wildcards.model))}.hdf5" for s in splits]


def model_settings(wildcards):
    """The model's block with the training settings."""
    options = {**config["models"], **SWEEP}[wildcards.model]
    own = {"acquisition": acquired()} if wildcards.model in FUSIONS else {}
    return settings("train", model=wildcards.model, seed=int(wildcards.seed), options=options, **own)


def tuned(wildcards):
    """The settings chosen for a model with `tune`."""
    wanted = config["models"].get(wildcards.model, {}).get("tune")
    return [f"{RESULTS}/models/{wildcards.model}/tuned.json"] if wanted else []


def reweighted(wildcards):
    """The weights of a model's training objects."""
    like = {**config["models"], **SWEEP}[wildcards.model].get("reweight")
    return [f"{RESULTS}/dataset/weights_{like}.h5"] if like else []


def tune_settings(wildcards):
    """The model's block with what cross-validation needs; one choice for all seeds."""
    own = {"model": wildcards.model, "seed": SEEDS[0], "options": config["models"][wildcards.model]}
    return settings("tuning", threads=config["train"]["threads"], device=config["train"]["device"], **own)


def acquired():
    """How the stamps and dust of a multi-survey run were made: what a model needs for positions of its own."""
    return {
        "archive": config["archive"],
        "embedded": EMBEDDED,
        "release": config["query"]["release"],
        "rerun": config["query"]["rerun"],
        "stamps": config["stamps"],
        "dust": config["dust"],
    }


def training_memory(wildcards):
    """MB of a training: weights, gradients, the optimiser's state and the best weights of the large encoders."""
    options = {**config["models"], **SWEEP}[wildcards.model]
    large = wildcards.model in {**dict.fromkeys(FUSIONS), **SWEEP} and options.get("encoder", "large") in (
        "base",
        "large",
    )
    return 20000 if large else 4000


def pretrained(wildcards):
    """Files of published weights that a model starts from."""
    options = {**config["models"], **SWEEP}[wildcards.model]
    return [options[key] for key in ("pretrained", "pretrained_small") if options.get(key)]


def sweep_points():
    """The options that make the points of the grids differ."""
    names = sorted({name for one in config["sweep"] for name in one["grid"]})
    return {model: {name: options.get(name) for name in names} for model, options in SWEEP.items()}


def predictions(wildcards=None):
    return expand(f"{RESULTS}/models/{{model}}/seed{{seed}}/predictions.h5", model=MODELS, seed=SEEDS)


def calibrated(wildcards=None):
    wanted = WITH_PZ if config["calibration"]["methods"] else []
    return expand(f"{RESULTS}/models/{{model}}/calibrated.h5", model=wanted)


def peer_predictions(wildcards=None):
    return expand(f"{RESULTS}/peers/{{peer}}/predictions.h5", peer=PEERS)


def peer_table(wildcards):
    """The table of a peer that somebody else ran."""
    found = config["peers"]["tables"].get(wildcards.peer)
    return found["path"].split(":")[0] if found else []


def peer_table_argument(wildcards):
    """The same for the command line, with the group of an HDF5 file."""
    found = config["peers"]["tables"].get(wildcards.peer)
    return f"--table {shlex.quote(found['path'])}" if found else ""


def peer_settings(wildcards):
    """What a peer's p(z) depends on; its seed is the first of the run."""
    given = config["peers"]["tables"].get(wildcards.peer)
    return canonical(
        {
            "run": RUN,
            "release": "",
            "peer": wildcards.peer,
            "seed": SEEDS[0],
            "grid": config["evaluation"]["grid"],
            "points": config["peers"]["points"],
            "options": given or config["peers"]["options"].get(wildcards.peer, {}),
        }
    )


def survey_settings():
    """What a spectroscopic survey's rows depend on."""
    return canonical(
        {"run": RUN, "release": "", "region": config["query"]["region"], "identity": archive_identity()}
    )


def compile_settings():
    """The cuts and the matching of a compilation."""
    own = {key: config["query"][key] for key in ("dec_min", "match_arcsec")}
    own |= {key: config["cuts"][key] for key in ("z_min", "z_max")} | {"region": config["query"]["region"]}
    return canonical({**own, "run": RUN, "release": "compilation"})


def query_settings(wildcards):
    """What the answer depends on: the archive, and the sample's own part of the query."""
    own = config["query"] if wildcards.sample == "specz" else {**config["query"], **config["targets"]}
    if config["archive"] == "local":
        local = config["local"]
        if wildcards.sample == "specz":
            parts = list(local["tables"])
        else:
            parts = ["target"] if config["targets"]["table"] else ["manifest"]
        return canonical(
            {"archive": "local", "run": RUN, "release": "local", "parts": parts, "columns": local["columns"]}
        )
    return canonical({**own, "run": RUN, "archive": config["archive"], "identity": archive_identity()})


def query_template(wildcards):
    """The SQL template as an input, so that an edit reruns the query."""
    if config["archive"] == "local":
        return []
    return config["query" if wildcards.sample == "specz" else "targets"]["template"]


def query_tables(wildcards):
    """The local tables of a sample."""
    if config["archive"] != "local":
        return []
    if wildcards.sample == "targets":
        return config["targets"]["table"] or config["local"]["images"]
    return [str(path).split(":")[0] for path in config["local"]["tables"].values()]


def query_arguments(wildcards):
    """The local tables as they are named in the config, group and all."""
    if config["archive"] != "local":
        return []
    if wildcards.sample == "targets":
        return [config["targets"]["table"] or config["local"]["images"]]
    return list(config["local"]["tables"].values())


def cut_settings(wildcards):
    """The cuts; a table makes no magnitude cut, because 99 and -99 are states there, not mistakes."""
    own = config["cuts"] | {"region": config["query"]["region"]}
    if config["archive"] == "local":
        own |= {"magnitudes": False}
    if wildcards.sample == "targets":
        own |= {"isprimary": False}
    return canonical({**own, "run": RUN, "sample": wildcards.sample})


def known_sample(wildcards):
    """The sample whose objects a target may not be."""
    return f"{RESULTS}/specz/selected.parquet" if wildcards.sample == "targets" and LABELLED else []


def stamp_settings(wildcards):
    """What the stamps of a survey depend on besides their members."""
    own = {"pixel_scale": config["local"]["pixel_scale"]} if config["archive"] == "local" else {}
    rerun = config["query"]["rerun"]
    return settings(
        **acquisition.stamp_settings(config["stamps"], wildcards.survey, rerun, archive_identity()), **own
    )


def overlap_arcsec():
    """Side of the square in which stamps of different splits must not overlap."""
    if config["split"]["overlap_arcsec"] is not None:
        return config["split"]["overlap_arcsec"]
    scales = {
        "ps1": 0.25,
        "galex": 1.5,
        "unwise": 2.75,
        "hsc": 0.168,
        "local": config["local"]["pixel_scale"],
    }
    size = config["stamps"]["sizes"].get(SERVICE, config["stamps"]["size"]) if IMAGES else 0
    return round(size * scales[SERVICE], 6)


def split_settings():
    """The split and what packing adds: seed, the stamp whose overlaps count, the zero point of the counts."""
    zero_point = 31.4 if config["archive"] == "local" else 27.0
    return settings("split", seed=config["seed"], stamp_arcsec=overlap_arcsec(), zero_point=zero_point)
