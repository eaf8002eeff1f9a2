"""What each rule's numbers depend on: the functions behind `params` and some inputs."""

# Asked of a scheduler only where the config says that there are GPUs; a cluster without any refuses a job that asks.
# A profile may say so for a run that leaves `train.device` at auto.
GPU = int(config["train"]["device"] == "cuda")


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
    if not config["scenes"]["survey"]:
        del science["scenes"]
    usual = acquisition.identity(config["archive"], config["query"]["release"], EMBEDDED)
    found = {name: archive_identity(name) for name, block in config["services"].items()}
    rehearsed = {name: origin for name, origin in found.items() if origin != usual}
    return digest(science | {"embedded": EMBEDDED} | ({"answered_by": rehearsed} if rehearsed else {}))


def archive_identity(service):
    """What the raw replies of a service depend on besides the request: the archive, and hosts that are not its own."""
    return acquisition.identity(
        config["archive"], config["query"]["release"], EMBEDDED, service, config["services"].get(service)
    )


def job_slots(service):
    """What one job takes of a service's slots, never more than a command line or profile gives: Snakemake refuses that."""
    caps, name = workflow.global_resources, f"{service}_slots"
    taken = acquisition.share(config, service)[0]
    return min(taken, max(1, int(getattr(caps[name], "value", caps[name])))) if name in caps else taken


def survey_service(wildcards):
    """The service that hands out a survey's stamps; none for images of the user's own."""
    return "" if config["archive"] == "local" else imaging.REGISTRY[wildcards.survey].service.name


def survey_rpm(wildcards):
    """A download job's share of its service's requests a minute; 60 for images of the user's own, which asks nobody."""
    service = survey_service(wildcards)
    return acquisition.share(config, service)[1] if service else 60


def slots(service):
    """What a download job takes of a service's slots, 0 where it asks another: a cap holds the sum."""
    return lambda wildcards: (job_slots(service) if survey_service(wildcards) == service else 0)


def survey_modules(wildcards):
    """The module that decides a survey's stamps; none for images of the user's own."""
    return [] if config["archive"] == "local" else [imaging.REGISTRY.modules[wildcards.survey]]


def model_size(model):
    """Stamp size whose files a model reads; a network without images reads the smallest."""
    return (model not in STACK and FAMILIES[model].size(OPTIONS[model])) or min(SIZES)


def model_code(verb, *more):
    """Fingerprint of a verb at work on a model: of its family and its trainer alone, not of others', and of the modules `more`."""
    return lambda wildcards: fingerprint(verb, *families.modules(wildcards.model), *more)


def model_data(splits):
    """Input function: the dataset files of the given splits at the model's size."""
    return lambda wildcards: [f"{dataset_name(s, model_size(wildcards.model))}.hdf5" for s in splits]


def model_settings(wildcards):
    """The model's block with the training settings."""
    options = TRAINED[wildcards.model]
    own = {"acquisition": acquired()} if FAMILIES[wildcards.model].reads == "surveys" else {}
    return settings("train", model=wildcards.model, seed=int(wildcards.seed), options=options, **own)


def tuned(wildcards):
    """The settings chosen for a model with `tune`."""
    wanted = wildcards.model not in SWEEP and OPTIONS[wildcards.model].tune
    return [f"{RESULTS}/models/{wildcards.model}/tuned.json"] if wanted else []


def reweighted(wildcards):
    """The weights of a model's training objects."""
    like = OPTIONS[wildcards.model].reweight
    return [f"{RESULTS}/dataset/weights_{like}.h5"] if like else []


def tune_settings(wildcards):
    """The model's block with what cross-validation needs; one choice for all seeds."""
    own = {"model": wildcards.model, "seed": SEEDS[0], "options": TRAINED[wildcards.model]}
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
    """MB of a training."""
    return FAMILIES[wildcards.model].memory_mb(OPTIONS[wildcards.model])


def pretrained(wildcards):
    """Files that a model starts from."""
    return list(FAMILIES[wildcards.model].files(OPTIONS[wildcards.model]).values())


def sweep_points():
    """The options that make the points of the grids differ."""
    names = sorted({name for one in config["sweep"] for name in one["grid"]})
    return {model: {name: options.get(name) for name in names} for model, options in SWEEP.items()}


def predictions_of(model):
    """The predictions of all seeds of a model; a stack has one file of all its members' seeds."""
    if model in STACK + STACKED:
        return [f"{RESULTS}/models/{model}/predictions.h5"]
    return expand(f"{RESULTS}/models/{model}/seed{{seed}}/predictions.h5", seed=seeds_of(model))


def seeds_of(model):
    """The seeds with which a model is trained."""
    return SEEDS[:1] if model in NETWORKS else SEEDS


def stack_members(wildcards):
    """The members of a stack, at its size where it is one of a learning curve."""
    return [f"{model}{wildcards.stack.removeprefix('stack')}" for model in config["stack"]["models"]]


def stack_settings(wildcards):
    """Name, members and columns of a stack."""
    own = {"name": wildcards.stack, "models": stack_members(wildcards), "columns": config["stack"]["columns"]}
    return settings(seed=SEEDS[0], grid=config["evaluation"]["grid"], **own)


def predictions(wildcards=None):
    return [path for model in MODELS + STACK for path in predictions_of(model)]


def predictions_with_pz(wildcards=None):
    """The same of the models that give p(z): what one of them says can stand for z_phot."""
    return [path for model in WITH_PZ for path in predictions_of(model)]


def calibrated(wildcards=None):
    wanted = WITH_PZ if config["calibration"]["methods"] else []
    return expand(f"{RESULTS}/models/{{model}}/calibrated.h5", model=wanted)


def peer_predictions(wildcards=None):
    return expand(f"{RESULTS}/peers/{{peer}}/predictions.h5", peer=PEERS)


def peer_table(wildcards):
    """The table of a peer that somebody else ran."""
    found = config["peers"]["tables"].get(wildcards.peer)
    return split_path(found["path"])[0] if found else []


def peer_table_argument(wildcards):
    """The same for the command line, with the group of an HDF5 file."""
    found = config["peers"]["tables"].get(wildcards.peer)
    return option("--table", found["path"] if found else "")


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


def survey_settings(wildcards):
    """What a spectroscopic survey's rows depend on."""
    return canonical(
        {
            "run": RUN,
            "release": "",
            "region": config["query"]["region"],
            "identity": archive_identity(wildcards.survey),
        }
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
        own = {"parts": parts, "beside_redshifts": LABELLED and wildcards.sample != "specz"}
        own |= {key: local[key] for key in ("columns", "missing", "max_undeclared")}
        return canonical({**own, "archive": "local", "run": RUN, "release": "local"})
    return canonical({**own, "run": RUN, "archive": config["archive"], "identity": archive_identity("hsc")})


def query_reports():
    """What local tables hold in place of values, beside the rows."""
    if config["archive"] != "local":
        return {}
    found = f"{RESULTS}/{{sample}}/values.csv"
    return {"values": report(found, category="Sample", labels={"sample": "{sample}"})}


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
        return split_path(config["targets"]["table"])[0] or config["local"]["images"]
    return [split_path(path)[0] for path in config["local"]["tables"].values()]


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
    if ON_SCENES and wildcards.sample in SAMPLES:
        own |= {"magnitudes": False, "region": None}
    if config["archive"] == "local":
        own |= {"magnitudes": False}
    if wildcards.sample == "targets":
        own |= {"isprimary": False}
    return canonical({**own, "run": RUN, "sample": wildcards.sample})


def known_sample(wildcards):
    """The sample whose objects a target may not be; sources of scenes are apart already, however close they lie."""
    wanted = wildcards.sample == "targets" and LABELLED and not ON_SCENES
    return f"{RESULTS}/specz/selected.parquet" if wanted else []


def stamp_settings(wildcards):
    """What the stamps of a survey depend on besides their members."""
    own = {"pixel_scale": config["local"]["pixel_scale"]} if config["archive"] == "local" else {}
    rerun = config["query"]["rerun"]
    origin = archive_identity(survey_service(wildcards))
    return settings(**acquisition.stamp_settings(config["stamps"], wildcards.survey, rerun, origin), **own)


@functools.cache
def shard_images():
    """{shard: the user's files that its stamps are made of}; those below the working folder relative to it."""
    from skyloom.archives import manifest

    here = os.getcwd() + os.sep
    found = manifest.files(manifest_rows(), shards())
    return {shard: [path.removeprefix(here) for path in paths] for shard, paths in found.items()}


def image_files(wildcards):
    """Every file of the user's own that a shard's stamps are made of: images, planes of noise, masks, kernels.

    What isn't there is no input: it costs its own stamp. Braces in a name would be taken for wildcards; of those files
    `image_content` tells alone.
    """
    named = shard_images().get(wildcards.shard, []) if OWN_IMAGES else []
    return [path for path in named if os.path.exists(path) and not {"{", "}"} & set(path)]


def image_content(wildcards):
    """What these files hold. Their times count for nothing: an image that is touched reruns nothing, one that gets its old time
    back after an edit its stamps."""
    named = shard_images().get(wildcards.shard, []) if OWN_IMAGES else []
    return contents.state(named, Path(CACHE) / "local" / "contents.json") if named else ""


def own_map(wildcards):
    """The user's own files of a dust map; that one is missing is the verb's to say."""
    where = config["dust"]["files"][wildcards.map]
    if not where:
        return []
    from skyloom.archives import dustmaps

    return [str(path) for path in dustmaps.own_files(wildcards.map, where) if os.path.exists(path)]


def overlap_arcsec():
    """Side of the square in which stamps of different splits must not overlap: the largest stamp of all surveys."""
    if ON_SCENES:
        return 0.0
    if config["split"]["overlap_arcsec"] is not None:
        return config["split"]["overlap_arcsec"]
    return acquisition.largest_stamp(config)


def split_settings():
    """The split and what packing adds: seed, the stamp whose overlaps count, the zero point of the counts."""
    zero_point = 31.4 if config["archive"] == "local" else 27.0
    own = {"evaluation": True} if "evaluation" in config["local"]["tables"] else {}
    own |= {"method": "part"} if ON_SCENES else {}
    own = config["split"] | own
    return settings(seed=config["seed"], stamp_arcsec=overlap_arcsec(), zero_point=zero_point, **own)
