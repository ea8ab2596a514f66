"""The comparison of systems as one self-contained HTML page."""

from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np

from t2i_jax.evaluation.figures import KINDS, written
from t2i_jax.evaluation.overview import Entry, Prompt, summary, tables
from t2i_jax.evaluation.page import png

WAYS = {"higher": "↑", "lower": "↓", "real": "≈"}


def page(entries: Sequence[Entry], asked: Sequence[Prompt], drawn: dict[str, list[np.ndarray]],
         settings: dict[str, Any]) -> str:
    """HTML with every picture inside it; captions are escaped, nothing is loaded from elsewhere and no script runs.

    drawn: {system: for each prompt its draws, uint8 [N, H, W, C]}.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pictures: dict[str, list[tuple[str, list[list[str]]]]] = {}
    for number, prompt in enumerate(asked):
        cells = [prompt.real, *(drawn[entry.name][number] for entry in entries)]
        shown = [[png(picture) for picture in cell] for cell in cells]
        pictures.setdefault(prompt.group, []).append((prompt.text, shown))
    return environment.from_string(TEMPLATE).render(
        entries=entries, data=entries[0].card["data"], evaluator=entries[0].card["evaluator"], summary=summary(entries),
        pictures=pictures, tables=tables(entries), written=written, ways=WAYS, kinds=KINDS.values(), settings=settings,
    )


TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison of {{ entries | map(attribute="name") | join(", ") }}</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 100rem; padding: 0 1rem; }
  h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; margin: .8rem 0; }
  th, td { padding: .18rem .5rem; text-align: right; font-variant-numeric: tabular-nums; vertical-align: middle; }
  th { font-weight: 600; border-bottom: 2px solid #888; vertical-align: bottom; }
  tbody tr:nth-child(even) { background: #f6f6f6; }
  th:first-child, td:first-child { text-align: left; min-width: 10rem; max-width: 16rem; }
  .pictures td, .pictures th { text-align: left; }
  .figures td { white-space: nowrap; } .best { font-weight: 700; background: #fff3d6; }
  .way, .note { color: #666; font-size: .85rem; }
  img { image-rendering: pixelated; border: 1px solid #ddd; vertical-align: top; height: 40px; width: 40px; }
  .set { white-space: nowrap; } .set img { margin-right: 2px; }
</style>
</head>
<body>
<h1>{{ entries | length }} systems on the same pictures</h1>
<p>{{ data.source }} (fingerprint {{ data.fingerprint[:12] }}…), {{ data.licence }}. Evaluator
{{ evaluator.sha256[:12] }}…, at most {{ settings.num }} pictures of each group, seed {{ settings.seed }}, averaged
weights.</p>
<div class="scroll"><table class="figures">
<thead><tr>{% for text in summary[0] %}<th>{{ text }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in summary[1:] %}
<tr>{% for text in row %}<td>{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
<p class="note">R: R-precision, top 1 of 100 captions; FD: Fréchet distance; train: training captions, the others held
out. Training speed: average of the last call of training, compilation, saving and samples included. Drawing: time of a
batch by the number of its pictures, the median of several after one that compiles. Both on the machine, and beside the
other work, of the day they were measured.</p>
<table class="pictures"><tbody>
{% for entry in entries %}
<tr><td><b>{{ entry.name }}</b></td><td>{{ entry.config }}</td><td>system {{ entry.system }}</td>
<td>{{ "{:,}".format(entry.card.model.images) }} images of training</td></tr>
{% endfor %}
</tbody></table>
{% for group, rows in pictures.items() %}
<h2>Pictures: {{ group }}</h2>
<div class="scroll"><table class="pictures">
<thead><tr><th></th><th>real</th>{% for entry in entries %}<th>{{ entry.name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for text, cells in rows %}
<tr><td>{{ text }}</td>
{% for sources in cells %}
<td class="set">{% for source in sources %}<img src="{{ source }}" alt="{{ text }}">{% endfor %}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% for group, columns, lines in tables %}
<h2>Figures: {{ group }}</h2>
<div class="scroll"><table class="figures">
<thead><tr><th></th>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in lines %}
<tr><td>{{ line.label }} <span class="way">{{ ways[line.better] }}</span></td>
{% for column in columns %}
<td{% if column in line.best %} class="best"{% endif %}>{{ written(line.cells.get(column)) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
<h2>What the figures are</h2>
<p class="note">↑ more is better, ↓ less is better, ≈ near the real pictures' is best; the best system is marked.
ridge, copy: baselines that need no adversary. Protocols are on each system's own card.</p>
<table class="pictures"><tbody>
{% for kind in kinds %}
<tr><td>{{ kind.label }}</td><td>{{ kind.meaning }}</td></tr>
{% endfor %}
</tbody></table>
</body>
</html>
"""
