"""report.html: one self-contained page about a run."""

from __future__ import annotations

import base64
import html
from pathlib import Path

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-size:13px;margin:.6rem 0;display:block;
overflow-x:auto}td,th{padding:.15rem .6rem;border-bottom:1px solid #eee;
text-align:right}th{background:#f6f6f6}td:first-child,th:first-child{text-align:left}img{max-width:100%}
.note{background:#fff6e0;border-left:4px solid #e0a000;padding:.5rem 1rem}figcaption{font-size:13px;color:#555}"""

TITLES = {"ablations": "Fusion models by the surveys they see (Mantis Shrimp's Table 4)",
          "subsets": "Named subsets (Mantis Shrimp's Table 5)",
          "paired": "Differences between models on the same objects; intervals over objects and seeds",
          "nz": "Mean redshift of the stacked p(z) of tomographic bins against the truth",
          "degradation": "One model when surveys are hidden from it", "sweep": "Grid of options on validation, best first",
          "attribution": "Shapley values and MM-SHAP of every band in bins of z_spec",
          "learning": "Learning curves: metrics on testing by number of training objects, not calibrated, with 95 % intervals",
          "learning_paired": "Learning curves: differences between models on the same objects, with 95 % intervals",
          "learning_attenuation": "Learning curves: slope of z_phot on z_spec inside cells of colour (1: no pull to their mean)"}
CAPTIONS = {"binned": "Metrics in redshift bins", "attribution": "What each band does to the redshift: a positive Shapley value "
            "means that the target's light in this band raises it",
            "learning": "Learning curves of ensembles, not calibrated, with 95 % intervals",
            "learning_steps": "Loss on select over training steps; losses of different models are of different kinds"}


def table(frame, most: int = 200) -> str:
    """An HTML table of a DataFrame's first `most` rows; floats with 4 significant digits, NaN as n/a."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    rows = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
                   for row in frame.head(most).itertuples(index=False))
    more = f"<p>{len(frame) - most} more rows in the file.</p>" if len(frame) > most else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _cell(value) -> str:
    if isinstance(value, float):
        return "n/a" if value != value else f"{value:.4g}"
    return html.escape(str(value))


def figure(path, caption: str) -> str:
    """A figure element with the PNG inside it."""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return (f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>")


def page(title: str, note: str, sections: list[tuple[str, str]]) -> str:
    """The whole page: a title, a note, and (heading, body) sections."""
    body = "".join(f"<section><h2>{html.escape(head)}</h2>{text}</section>" for head, text in sections)
    warning = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>{warning}{body}</body></html>\n")


def flow_chart(chain) -> str:
    """The way from archive to catalog as SVG: one box a step and sample, with the rows that pass (a ledger table)."""
    parts, width, height, gap = [], 150, 46, 34
    samples = list(dict.fromkeys(chain["sample"]))
    for line, sample in enumerate(samples):
        rows = chain[chain["sample"] == sample]
        y = 10 + line * (height + 40)
        for k, step in enumerate(rows.itertuples()):
            x = 10 + k * (width + gap)
            parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#eef3fb" stroke="#4a72b0"/>'
                         f'<text x="{x + width / 2}" y="{y + 19}" text-anchor="middle">{html.escape(step.step)}</text>'
                         f'<text x="{x + width / 2}" y="{y + 36}" text-anchor="middle" fill="#555">{step.rows_out} rows'
                         f"{f', {step.rows_lost} lost' if step.rows_lost else ''}</text>")
            if k:
                parts.append(f'<path d="M{x - gap} {y + height / 2}h{gap - 6}" stroke="#4a72b0" marker-end="url(#a)"/>')
        parts.append(f'<text x="10" y="{y + height + 16}" fill="#777">{html.escape(sample)}</text>')
    steps = int(chain.groupby("sample").size().max())
    size = f'viewBox="0 0 {20 + steps * (width + gap)} {20 + len(samples) * (height + 40)}"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
            '<defs><marker id="a" orient="auto" markerWidth="6" markerHeight="6" refX="3" refY="3">'
            '<path d="M0 0l6 3l-6 3z" fill="#4a72b0"/></marker></defs>' + "".join(parts) + "</svg>")
