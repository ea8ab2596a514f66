"""Bounds on what a run reports: which figures warn, when, how often, and that a run that goes on warns alike."""

import fnmatch
import json
from pathlib import Path

import pytest

from t2i_jax import config as configs
from t2i_jax.training.health import ANY, COLLAPSED, DIVERGED, RULES, WON, Monitor, Rule

QUICKSTART, TOKENS = (Path(__file__).parents[2] / "configs" / name for name in ("quickstart.py", "token_transformer.py"))
RULE = Rule(WON, "*/pairs_told", -ANY, 0.9, 3, "it is told", "lower optimizers.{phase}.learning_rate")

# Of the quickstart: the first chunk of each stage, the worst values of the chunks after it, and a chunk near the end.
HEALTHY = (
    {"autoencoder/gradient_norm": 0.0445, "autoencoder/kl": 1305.0, "autoencoder/mean_square": 0.0143,
     "autoencoder/active": 1.0},
    {"discriminator/accuracy_fake": 0.603, "discriminator/accuracy_real": 0.588, "discriminator/gap": 0.437,
     "discriminator/gradient_norm": 12.7, "discriminator/pairs_told": 0.647, "discriminator/r1": 1.36,
     "discriminator/r2": 1.22, "generator/deviation": 0.868, "generator/diversity": 0.464,
     "generator/gradient_norm": 16.9, "generator/imitation": 1.27},
    {"discriminator/gap": 1.75, "discriminator/pairs_told": 0.980, "generator/deviation": 0.685,
     "generator/gradient_norm": 14.6},
    {"discriminator/accuracy_fake": 0.544, "discriminator/accuracy_real": 0.551, "discriminator/gap": 1.72,
     "discriminator/gradient_norm": 0.454, "discriminator/pairs_told": 0.976, "discriminator/r1": 0.243,
     "discriminator/r2": 0.330, "generator/deviation": 1.006, "generator/diversity": 0.220,
     "generator/gradient_norm": 2.99, "generator/norm_fake": 22.3, "generator/norm_real": 22.2,
     "generator/imitation": 0.0618, "ema_distance/generator": 0.0203},
)


def watch(monitor, term, values):
    """The verdicts that are warned of after each chunk, whose `term` has these values."""
    return [[finding.verdict for finding in monitor.see({term: value})] for value in values]


def test_a_bound_warns_once_when_its_patience_ends_and_again_after_all_was_well():
    monitor = Monitor(rules=(RULE,))
    high, low = 0.95, 0.5
    assert watch(monitor, "d/pairs_told", [high, high, low, high, high, high, high]) == [[], [], [], [], [], [WON], []]
    assert watch(monitor, "d/pairs_told", [low, high, high, high]) == [[], [], [], [WON]]


def test_a_warning_says_what_left_its_bounds_and_which_key_to_change():
    monitor = Monitor(rules=(RULE,))
    for _ in range(3):
        warnings = monitor.see({"critic/pairs_told": 0.95, "critic/loss": 1e9})
    (finding,) = warnings
    assert finding.text == ("discriminator won: critic/pairs_told = 0.95, above 0.9 for 3 chunks: it is told; "
                            "lower optimizers.critic.learning_rate")


def test_a_monitor_that_goes_on_where_another_stopped_warns_alike():
    values = [0.95, 0.95, 0.95, 0.95]
    for stop in range(4):
        first = Monitor(rules=(RULE,))
        said = watch(first, "d/pairs_told", values[:stop])
        streaks = json.loads(json.dumps(first.streaks))
        assert said + watch(Monitor(streaks, (RULE,)), "d/pairs_told", values[stop:]) == [[], [], [WON], []]


def test_one_bad_chunk_is_not_healthy_and_divergence_lasts_until_it_is_over():
    monitor = Monitor()
    assert monitor.healthy
    seen = []
    for norm in (1.0, 2e3, 2e3, 2e3, 2e3, 1.0):
        monitor.see({"g/gradient_norm": norm})
        seen.append((monitor.healthy, monitor.diverged is not None))
    assert seen == [(True, False), (False, False), (False, False), (False, True), (False, True), (True, False)]


def test_a_stage_without_a_term_ends_its_streak():
    monitor = Monitor(rules=(RULE,))
    assert not monitor.see({"d/pairs_told": 1.0}) and monitor.streaks
    assert not monitor.see({"autoencoder/loss": 1.0}) and not monitor.streaks


@pytest.mark.parametrize("means", HEALTHY)
def test_a_healthy_run_is_left_alone(means):
    monitor = Monitor()
    assert not any(monitor.see(means) for _ in range(100)) and monitor.healthy and not monitor.streaks


@pytest.mark.parametrize("verdict, phase, sick", [
    (DIVERGED, "generator", {"gradient_norm": 1e5}),
    (DIVERGED, "discriminator", {"gap": -80.0}),
    (DIVERGED, "discriminator", {"r2": 1e4}),
    (DIVERGED, "autoencoder", {"mean_square": 2.0}),
    (DIVERGED, "generator", {"deviation": 20.0}),
    (WON, "discriminator", {"pairs_told": 1.0}),
    (WON, "discriminator", {"gap": 20.0}),
    (COLLAPSED, "generator", {"deviation": 0.05}),
    (COLLAPSED, "generator", {"diversity": 0.003}),
    (COLLAPSED, "autoencoder", {"active": 0.0}),
    (COLLAPSED, "tokenizer", {"perplexity": 0.005}),
    (COLLAPSED, "tokenizer", {"used": 0.01}),
])
def test_each_illness_is_found_and_named(verdict, phase, sick):
    monitor, found = Monitor(), []
    healthy = HEALTHY[0] if phase == "autoencoder" else HEALTHY[-1]
    for _ in range(25):
        found += monitor.see(healthy | {f"{phase}/{term}": value for term, value in sick.items()})
    ((seen, term),) = [(finding.verdict, finding.term) for finding in found]
    assert seen == verdict and term == f"{phase}/{next(iter(sick))}"


def test_advice_names_keys_that_the_configs_have():
    keys = [*configs.flatten(configs.load(str(QUICKSTART))), *configs.flatten(configs.load(str(TOKENS)))]
    phases = {"*/gradient_norm": "autoencoder", "*/mean_square": "autoencoder", "*/active": "autoencoder",
              "*/perplexity": "tokenizer", "*/used": "tokenizer"}
    for rule in RULES:
        phase = phases.get(rule.term, "generator" if rule.verdict == COLLAPSED else "discriminator")
        words = rule.change.format(phase=phase).replace(",", " ").split()
        named = [word for word in words if "." in word]
        assert all(fnmatch.filter(keys, name) for name in named), (rule, named)
        assert named, rule
