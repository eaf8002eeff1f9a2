"""Write the docs' tables from files: configuration.md from the schema, models.md's from the families, multi_survey.md's from the
imaging surveys, result pages from metrics.csv.

    python docs/make_tables.py                     # all but the result pages
    python docs/make_tables.py results/galaxiesml  # docs/results_galaxiesml.md with figures
"""

import dataclasses
import shutil
import sys
import urllib.parse
from pathlib import Path

import pandas

from skyloom.models import artefact, families
from skyloom.schema import schema
from skyloom.surveys import imaging, spectro

DOCS = Path(__file__).resolve().parent
SHOWN = [("bias", "mean(1+z)|mean"), ("scatter", "1.48mad_unscaled|mean"), ("scatter", "1.48mad(1+z)|mean"),
         ("outlier_fraction", "0.15|mean"), ("rms", "(1+z)|mean"), ("mse", "unscaled|mean"), ("loss", "eq1,gamma=0.15|mean")]
NOTES = {"embedded": "**Made on the embedded sky: it shows the software at work, not a survey's performance. Sky 2** "
                     "([sky](sky.md))."}


def keys(node, place=""):
    """(key, type or values, default, description) of every leaf of the schema."""
    for name, inner in node.get("properties", {}).items():
        where = f"{place}.{name}" if place else name
        if inner.get("properties"):
            yield from keys(inner, where)
            continue
        kind = inner.get("type") or ", ".join(map(str, inner.get("enum", []))) or "mapping"
        kind = " or ".join(kind) if isinstance(kind, list) else kind
        default = inner.get("default", "")
        yield where, kind, "" if default == "" else f"`{default}`", inner.get("description", "")


def configuration() -> str:
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in keys(schema())]
    head = ["# configuration", "", "Written by `python docs/make_tables.py` from `workflow/schemas/config.schema.yaml` and the "
            "registries. Options of models: [models](models.md).", "", "| key | type | default | |", "|---|---|---|---|"]
    return "\n".join(head + rows) + "\n"


MARKS = ("<!-- families: written by docs/make_tables.py -->", "<!-- end of families -->")
IMAGING = ("<!-- imaging surveys: written by docs/make_tables.py -->", "<!-- end of imaging surveys -->")
KINDS = {"number": "a number", "array": "a list", "object": "a mapping"}
READS = {"columns": "magnitudes and other columns", "stamps": "magnitudes and stamps of the run's survey",
         "surveys": "stamps of several surveys, E(B-V)", "scenes": "tiles of an imaging survey"}


def allowed(constraints: dict) -> str:
    """What an option may be, in words."""
    if "enum" in constraints or "oneOf" in constraints:
        one_of = [one.get("const") or KINDS[one["type"]] for one in constraints.get("oneOf", ())]
        return ", ".join(shown(value) for value in constraints.get("enum", one_of))
    ends = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    return " ".join([constraints["type"], *(f"{word} {constraints[key]:g}" for key, word in ends.items() if key in constraints)])


def model_families() -> str:
    """Tables of the model families and of their options, between the marks of models.md."""
    known = [family for family in families.REGISTRY.values() if type(family).__module__.startswith("skyloom.")]
    lines = [MARKS[0], "| family | what it is | reads | parameters (variant) |", "|---|---|---|---|"]
    for family in known:
        size = artefact.describe(family.name, {})
        told = ("model", "parameters", "head_parameters", "parts")
        variant = ", ".join(f"{key} {size[key]}" for key in size if key not in told)
        about = f"{family.title} ({family.citation})" if family.citation else family.title
        lines.append(f"| `{family.name}` | {about} | {READS[family.reads]} | {size['parameters']:,} ({variant}) |")
    fields = {family.name: {field.name: field for field in dataclasses.fields(family.Options)} for family in known}
    names = dict.fromkeys(name for options in fields.values() for name in options)
    heads = " | ".join(f"`{family.name}`" for family in known)
    lines += ["", f"| option | | allowed | {heads} |", "|---" * (3 + len(known)) + "|"]
    for name in names:
        having = [options[name] for options in fields.values() if name in options]
        words = list(dict.fromkeys(field.metadata["about"] for field in having))
        limits = list(dict.fromkeys(allowed(field.metadata["schema"]) for field in having))
        cells = [shown(options[name].default) if name in options else "" for options in fields.values()]
        lines.append(f"| `{name}` | {' / '.join(words)} | {' / '.join(limits)} | {' | '.join(cells)} |")
    return "\n".join([*lines, MARKS[1]])


def shown(default) -> str:
    """A default as a config has it."""
    if default is None or default in ("", ()):
        return "none"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def renewed(page: str, marks: tuple[str, str], tables: str) -> str:
    """A page with what stands between its marks written anew."""
    before, rest = page.split(marks[0])
    return before + tables + rest.split(marks[1])[1]


def a_band(survey, facts) -> str:
    """A number a band, in the order of the bands; words as they are."""
    return facts if isinstance(facts, str) else ", ".join(f"{facts[band]:g}" for band in survey.bands if facts)


def imaging_surveys() -> str:
    """Tables of the imaging surveys that come with skyloom, between the marks of multi_survey.md."""
    known = [survey for survey in imaging.REGISTRY.values() if imaging.REGISTRY.modules[survey.name].startswith("skyloom.")]
    lines = [IMAGING[0], "| survey | | bands in this order | pivot, nm | scale | px | zero point (AB) | ivar | PSF | "
             "A_b / E(B-V) | aperture where nothing is found |", "|---" * 11 + "|"]
    for survey in known:
        size = f"{survey.size} ({survey.sizes[0]} to {survey.sizes[1]})" if survey.size else "`stamps.size`"
        width = f"Gaussian, {a_band(survey, survey.fwhm)} arcsec" if survey.fwhm else "archive"
        cells = (f"`{survey.name}`", survey.title, " ".join(survey.bands), a_band(survey, survey.bands), f'{survey.scale:g}"',
                 size, a_band(survey, survey.zero_point), ", or ".join(survey.ivar_sources), width,
                 a_band(survey, survey.extinction), f"{survey.aperture:g} px")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| survey | service | streams | requests a minute | licence | cite |", "|---" * 6 + "|"]
    for survey in known:
        asked, hosts = survey.service, sorted({urllib.parse.urlsplit(url).hostname for url in survey.service.urls.values()})
        cells = (f"`{survey.name}`", f"`services.{asked.name}` ({', '.join(hosts)})",
                 f"{asked.streams}, at most {asked.most_streams}", str(asked.rpm), survey.licence, survey.citation)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, IMAGING[1]])


LIMITS = {"skyserver": "60 queries a minute, 600 s and 500,000 rows each; over the rate a 200 with an error text: waited for",
          "fits": "one file, resumed by byte range under its ETag", "text": "one file, resumed by byte range under its ETag",
          "tap": "sync first; a result cut off (OVERFLOW) is asked for again as an async job; one at a time"}


ABOUT = """
GAMA's server turns away agents that it doesn't know (403). We say who we are first; refused, we say so in
the log and take VizieR's copy (J/MNRAS/513/439/gamadr4), whose columns have other names; which ids it has we ask it.
Its default of 50 rows does not apply: pages and totals are ours. Every address can be replaced:
`services.<survey>.url`; several files (VVDS has six, VIPERS two) with spaces between.

## What is believed

| reply | what becomes of it |
|---|---|
| a table with the columns that were asked for | taken; a null (empty, `null`, NaN, masked, TNULL) is a state of its cell |
| "No objects have been found"; a VOTable without rows that says `QUERY_STATUS` OK; a file with its header alone | no rows |
| anything else with status 200: HTML, text, other columns, a header without rows, half a row | asked again, then the job fails |

A file refused so is deleted; the next run asks again. A reply is never taken for the name of a file or an address. Ids
stay integers of up to 20 digits. A row without an id is cut as `id_given`, one without a position or redshift as
`position_finite` or `redshift_finite`; a row without the key of its photo object repeats no other.

## Another survey

is one file in `src/skyloom/surveys/spectro`, or one module of a package of your own with an entry point:

    [project.entry-points."skyloom.spectro"]
    toy = "my_package.toy:SURVEY"

    SURVEY = SpectroSurvey(
        name="toy", release="1", access="text", where="NQ", columns=("ID", "RA", "DEC", "Z", "NQ"),
        normalise=lambda f: {"survey_id": f["ID"], "ra": f["RA"], "dec": f["DEC"], "z": f["Z"], "z_err": 1e-4,
                             "quality": f["NQ"], "class": ""},
        cuts=(("nq", lambda quality, kind: quality >= 3),), confidence=rated((4, 0.99), (3, 0.95)), order=9,
        service=Service("toy", {"url": "https://example.org/toy.txt"}), licence="public", citation="nobody")

Then `query.surveys: [sdss, toy]` and `services.toy` are known to the config. Import numpy, astropy and the like inside
functions: the Snakefile lists the surveys. The embedded sky doesn't know it: give `services.toy.url`.
"""


def ours() -> list:
    """The spectroscopic surveys that come with skyloom."""
    return [spectro.REGISTRY[name] for name in spectro.ours()]


def surveys_tsv() -> str:
    """resources/surveys.tsv: what we ask of whom, for programs that read no Python."""
    names = ("survey", "release", "access", "where", "columns", "url", "licence", "citation")
    rows = [(s.name, s.release, s.access, s.where, ",".join(s.columns), s.service.urls["url"], s.licence, s.citation)
            for s in ours()]
    return "".join("\t".join(row) + "\n" for row in (names, *rows))


def surveys() -> str:
    """Page of the spectroscopic surveys."""
    lines = ["# spectroscopic surveys", "",
             "Written by `python docs/make_tables.py` from `skyloom.surveys.spectro`, one file a survey.", "",
             "| survey | release | how | limits, and what we do | columns that are asked for | licence | cite |",
             "|---|---|---|---|---|---|---|"]
    for s in ours():
        cells = (s.name, s.release, s.access, LIMITS[s.access], ", ".join(s.columns), s.licence, s.citation)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + ABOUT


def extra(folder: Path):
    """(title, file) of the tables that a run has besides its metrics."""
    found = [("Fusion models by the surveys that they see (layout of Mantis Shrimp's table 4)", "evaluation/ablations.csv"),
             ("Named subsets (layout of its table 5)", "evaluation/subsets.csv"),
             ("Differences between models on the same objects, intervals over objects and seeds", "evaluation/paired.csv"),
             ("Grid of options on validation (its table 3)", "evaluation/sweep.csv")]
    for title, name in found:
        if (folder / name).exists():
            yield title, folder / name


def markdown(table) -> str:
    """A DataFrame as a table, numbers with four digits."""
    cells = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in table.itertuples(index=False)]
    head = [f"| {' | '.join(table.columns)} |", "|---" * len(table.columns) + "|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in cells])


def results(folder: Path) -> str:
    """Page of one run: metrics with intervals, ledger, figures copied beside it."""
    name = folder.name
    metrics = pandas.read_csv(folder / "evaluation" / "metrics.csv")
    overall = metrics[metrics["z_min"].isna() & metrics["subset"].isna()]
    lines = [f"# Results of run {name}", "", f"Written by `python docs/make_tables.py {folder}` from its `metrics.csv`."]
    report = (folder / "report.html").read_text()
    lines += ["", NOTES["embedded"] if "embedded sky" in report else "Real or published data, see docs/real_data.md.", ""]
    lines += ["| model | seed | n | " + " | ".join(f"{m} `{c.replace('|mean', '')}`" for m, c in SHOWN) + " |",
              "|---" * (3 + len(SHOWN)) + "|"]
    for (model, seed), block in overall.groupby(["model", "seed"], sort=False):
        cells = []
        for metric, convention in SHOWN:
            row = block[(block["metric"] == metric) & (block["convention"] == convention)].iloc[0]
            cells.append(f"{row['value']:.4f} [{row['lo68']:.4f}, {row['hi68']:.4f}]")
        lines.append(f"| {model} | {seed} | {row['n']} | " + " | ".join(cells) + " |")
    ledger = pandas.read_csv(folder / "ledger.csv")
    lines += ["", "Intervals: 68 %, bootstrap over testing objects.", ""]
    lines += ["| sample | step | rows in | rows out |", "|---|---|---|---|"]
    lines += [f"| {r.sample} | {r.step} | {r.rows_in} | {r.rows_out} |" for r in ledger.itertuples()]
    for title, path in extra(folder):
        table = pandas.read_csv(path)
        if len(table):
            lines += ["", f"## {title}", "", markdown(table)]
    for figure in sorted((folder / "evaluation").glob("*.png")):
        shutil.copy(figure, DOCS / f"{name}_{figure.name}")
        lines += ["", f"![{figure.stem}]({name}_{figure.name})"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (DOCS / "configuration.md").write_text(configuration())
    (DOCS / "surveys.md").write_text(surveys())
    (DOCS.parent / "resources" / "surveys.tsv").write_text(surveys_tsv())
    for page, marks, tables in (("models.md", MARKS, model_families()), ("multi_survey.md", IMAGING, imaging_surveys())):
        (DOCS / page).write_text(renewed((DOCS / page).read_text(), marks, tables))
    for path in map(Path, sys.argv[1:]):
        (DOCS / f"results_{path.name}.md").write_text(results(path))
