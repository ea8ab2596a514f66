"""The text of the page that shows a card to people (Jinja)."""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {{ card.model.name }}</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
  h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
  h3 { font-size: 1rem; margin-bottom: .3rem; }
  table { border-collapse: collapse; margin: .8rem 0; }
  th, td { padding: .18rem .5rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
  th { font-weight: 600; border-bottom: 2px solid #888; }
  tbody tr:nth-child(even) { background: #f6f6f6; }
  th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13rem; }
  .model { background: #fff3d6; } tbody tr:nth-child(even) .model { background: #fbe9bd; }
  td a { color: inherit; text-decoration: none; } td a:hover { text-decoration: underline; }
  .way, .note, figcaption { color: #666; font-size: .85rem; }
  .pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.2rem; }
  figure { margin: 0; }
  img { image-rendering: pixelated; height: 64px; border: 1px solid #ddd; vertical-align: top; }
  .pictures figure { width: 19rem; }
  .strip { text-align: left; } .strip img { max-width: 100%; height: auto; width: {{ 16 * 40 }}px; }
  .set { display: flex; gap: 3px; } .set div { text-align: center; font-size: .68rem; color: #666; }
  .set img { height: 46px; width: 46px; } .failed { color: #a00; } .passed { color: #070; }
  .bars td { padding: .05rem .5rem; } .bars td:first-child { min-width: 8rem; }
  pre { background: #f6f6f6; padding: .6rem; overflow-x: auto; font-size: .8rem; margin: .2rem 0 1rem; }
  :target { background: #fff3a0; }
</style>
</head>
<body>
<h1>Evaluation of {{ card.model.name }}</h1>
<p>{{ "{:,}".format(card.model.images) }} images of training, {{ card.model.weights }} weights, judged on
{{ card.data.source }} (fingerprint {{ card.data.fingerprint[:12] }}…)
{{- ", prompts in " ~ card.data.language if "language" in card.data }}. {{ card.data.licence }}.
Evaluator {{ card.evaluator.sha256[:12] }}…</p>
<p class="note">Each number links to the protocol it was made under. ↑ more is better, ↓ less is better, ≈ near the
real pictures' is best. <b>real</b>: the real pictures, the ceiling of what the evaluator can see.
<b>reconstructions</b>: the same through the model's autoencoder. <b>ridge</b>, <b>regression</b>, <b>copy</b>:
baselines that need no adversary. <b>pca</b>: principal components, as many as the
autoencoder's latent has dimensions.</p>
{% macro figures(table) %}
<table>
<thead><tr><th></th>
{% for row in table.rows %}
<th{% if row == "model" %} class="model"{% endif %}>{{ row }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for name, better, cells in table.lines %}
<tr><td>{{ name }} <span class="way">{{ {"higher": "↑", "lower": "↓", "real": "≈"}[better] }}</span></td>
{% for row in table.rows %}
<td{% if row == "model" %} class="model"{% endif %}>
{%- if row in cells %}
{% set number, _, error = written(cells[row]).partition(" ± ") %}
<a href="#{{ cells[row].protocol }}">{{ number }}{% if error %} <small>± {{ error }}</small>{% endif %}</a>
{%- else %}–{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endmacro %}
{% for table in tables if table.group in card.groups %}
<h2>{{ table.group }} <span class="way">{{ card.groups[table.group] }} pictures</span></h2>
{{ figures(table) }}
<div class="pictures">
{% for item in shown.groups.get(table.group, []) %}
<figure><figcaption>{{ item.caption }}</figcaption>
<div class="set">
{% for row, picture in item.pictures.items() %}
<div><img src="{{ png(picture) }}" alt="{{ row }}"><br>{{ row[:7] }}</div>
{% endfor %}
</div>
</figure>
{% endfor %}
</div>
{% endfor %}
{% for table in tables if table.group not in card.groups %}
<h2>{{ table.group }}</h2>
<p class="note">Captions that leave something open, many draws of each. What is drawn should occur as often as in the
data: total variation distance at most 0.1 above what a perfect sampler stays below 95 times of 100. Draws should differ
from each other as the real pictures do: at least 70 % of their diversity.</p>
{{ figures(table) }}
{% for item in shown.prompts %}
{% set verdict = card.open_prompts[loop.index0] %}
<h3>{{ item.prompt }} <span class="way">{{ verdict.pictures }} real pictures</span></h3>
<table class="bars"><tbody>
{% for row in ("real", "model") %}{% set of = verdict.rows[row] %}
<tr><td>{{ row }}, diversity {{ "–" if of.diversity is none else "%.2f" % of.diversity }}</td>
<td class="strip"><img src="{{ strip(item.pictures[row]) }}" alt="draws of {{ row }}"></td></tr>
{% endfor %}
{% for found in verdict.rows.model.attributes %}
<tr><td>{{ found.attribute }} <span class="{{ "passed" if found.passed else "failed" }}">
{{ "as the data" if found.passed else "not as the data" }}</span>: total variation {{ "%.2f" % found.total_variation }},
perfect {{ "%.2f" % found.limit }}</td>
<td style="text-align: left; white-space: normal">
{% for value in found.data %}
{{ value }} {{ "%.0f" % (100 * found.data[value]) }} % → {{ "%.0f" % (100 * found.drawn[value]) }} %
{{- "; " if not loop.last }}
{% endfor %}
</td></tr>
{% endfor %}
</tbody></table>
{% endfor %}
{% endfor %}
{% if shown.nearest %}
<h2>Nearest to training pictures</h2>
<p class="note">Of each group the model's pictures that come nearest to a training picture, with that picture; the
number is the root mean square difference in grey levels, a near-copy below {{ "%.0f" % near }}.</p>
<div class="pictures">
{% for item in shown.nearest %}
<figure><div class="set"><div><img src="{{ png(item.drawn) }}" alt="drawn"><br>drawn</div>
<div><img src="{{ png(item.training) }}" alt="training"><br>training</div></div>
<figcaption>{{ "%.1f" % item.distance }}: “{{ item.caption }}” ({{ item.group }}); training picture
“{{ item.training_caption }}”</figcaption>
</figure>
{% endfor %}
</div>
{% endif %}
<h2>What the figures are</h2>
<table><tbody>
{% for kind in kinds %}
<tr><td>{{ kind.label }}</td><td style="text-align: left; white-space: normal">{{ kind.meaning }}</td></tr>
{% endfor %}
</tbody></table>
<h2>Protocols</h2>
{% for name, protocol in card.protocols.items() %}
<pre id="{{ name }}">{{ name }}: {{ json(protocol) }}</pre>
{% endfor %}
<p class="note">Made with
{% for name, version in card.versions.items() %}{{ name }} {{ version }}{{ ", " if not loop.last }}{% endfor %}.</p>
</body>
</html>
"""
