"""Stacked digits in the small: modes and KL against hand counts, perfect and collapsed samplers, one short training."""

import json

import jax
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("sklearn", reason="the digits and the classifier come from scikit-learn, of the extra `test`")

import stacked_digits
from sklearn.neighbors import KNeighborsClassifier
from stacked_digits import Coverage, Settings

UNIFORM = np.full(10, 0.1)
SHORT = Settings(images=96, batch_size=32, noise=4, width=16)


def test_modes_and_kl_equal_hand_counts():
    labels = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0], [9, 9, 9]])
    modes, kl = stacked_digits.coverage(labels, UNIFORM)
    assert modes == 3
    np.testing.assert_allclose(kl, 0.5 * np.log(500) + 0.5 * np.log(250), rtol=1e-12)
    halves = np.array([0.5, 0.25, *[0.25 / 8] * 8])
    modes, kl = stacked_digits.coverage(np.array([[0, 0, 0], [0, 1, 1]]), halves)
    assert modes == 2
    np.testing.assert_allclose(kl, 0.5 * np.log(0.5 / 0.5**3) + 0.5 * np.log(0.5 / (0.5 * 0.25**2)), rtol=1e-12)


def test_a_perfect_sampler_covers_every_mode_and_a_collapsed_one_its_own():
    frequencies = np.linspace(0.08, 0.12, 10)
    labels = np.random.default_rng(0).choice(10, (stacked_digits.SAMPLES, 3), p=frequencies)
    modes, kl = stacked_digits.coverage(labels, frequencies)
    assert modes == 1000
    np.testing.assert_allclose(kl, 999 / (2 * len(labels)), rtol=0.1)  # the bias of a plug-in KL
    assert stacked_digits.coverage(labels, UNIFORM).kl > kl + 0.01  # frequencies count
    collapsed = stacked_digits.coverage(np.full((100, 3), 7), UNIFORM)
    assert collapsed.modes == 1 and np.isclose(collapsed.kl, np.log(1000))


@pytest.fixture(scope="module")
def ten():
    """One picture of each digit, and a classifier that knows them."""
    data = stacked_digits.digits()
    pictures = np.stack([data.train[data.train_labels == digit][0] for digit in range(10)])
    return pictures, KNeighborsClassifier(1).fit(pictures.reshape(10, 64), range(10))


def test_each_channel_is_one_digit_and_is_read_as_such(ten):
    pictures, classifier = ten
    assert pictures.dtype == np.float32 and pictures.min() == -1 and 0.8 < pictures.max() <= 1
    stacked = np.asarray(stacked_digits.stack(pictures, jax.random.key(0), stacked_digits.SAMPLES))
    assert stacked.shape == (stacked_digits.SAMPLES, 8, 8, 3)
    modes, kl = stacked_digits.judged(stacked, classifier, UNIFORM)
    assert modes == 1000 and kl < 0.03  # channels are drawn independently
    same = np.stack([pictures] * 3, axis=-1)
    assert stacked_digits.judged(same, classifier, UNIFORM) == (10, pytest.approx(np.log(100)))
    twice = np.stack([np.stack([pictures[1], pictures[2], pictures[3]], axis=-1)] * 2)
    frequencies = np.array([0, 0.5, 0.3, 0.2, *[0] * 6])
    with np.errstate(divide="ignore"):
        assert stacked_digits.judged(twice, classifier, frequencies) == (1, pytest.approx(-np.log(0.5 * 0.3 * 0.2)))


def test_a_training_that_diverged_covers_nothing(ten):
    pictures = np.zeros((4, 8, 8, 3), np.float32)
    pictures[0, 0, 0, 0] = np.nan
    assert stacked_digits.judged(pictures, ten[1], UNIFORM) == Coverage(0, float("inf"))


def test_training_is_deterministic(monkeypatch):
    monkeypatch.setattr(stacked_digits, "SAMPLES", 16)
    game = stacked_digits.system("relativistic", stacked_digits.PENALTIES["R1 + R2"], SHORT)
    train = stacked_digits.compile_training(game, stacked_digits.digits().train, SHORT)
    states = [train(jax.random.key(seed)) for seed in (0, 0, 1)]
    assert int(states[0].step) == 3 and int(states[0].images[1]) == 96
    first, again, other = (stacked_digits.draw(game, state, averaged=False) for state in states)
    assert np.array_equal(first, again) and not np.allclose(first, other, atol=0.1)
    assert first.shape == (16, 8, 8, 3) and np.abs(first).max() <= 1
    assert not np.array_equal(first, stacked_digits.draw(game, states[0], averaged=True))


def test_the_script_writes_figures_and_table(tmp_path, monkeypatch):
    monkeypatch.setattr(stacked_digits, "SAMPLES", 2_000)
    command = ["--out", str(tmp_path / "digits.json"), "--seeds", "1", "--images", "128", "--losses", "hinge"]
    result = CliRunner().invoke(stacked_digits.main, command)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "digits.json").read_text())
    rows = {(row["loss"], row["penalty"]): row["last"] for row in written["trainings"]}
    assert [*rows][2:] == [("hinge", "none"), ("hinge", "R1"), ("hinge", "R1 + R2")]
    real, untrained = [*rows.values()][:2]
    assert real["modes"] > 800 and untrained["modes"] < 700 and real["kl"] < untrained["kl"]
    assert len({row["kl"] for row in rows.values()}) == 5  # every penalty counts
    assert f"| {rows['hinge', 'R1']['modes']} | {rows['hinge', 'R1']['kl']:.3f} |" in result.output
    assert CliRunner().invoke(stacked_digits.main, ["--out", "x.json", "--images", "100"]).exit_code == 2
