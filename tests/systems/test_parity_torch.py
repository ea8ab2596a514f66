"""gan_vae and dcgan beside PyTorch twins: the same weights and inputs, then one turn of each player.

In float32 outputs, losses and gradients agree to 1e-4 of their size; in float64 the weights and running statistics
after both turns to 1e-6.
"""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import playing
import pytest

from t2i_jax import keys, systems
from t2i_jax.paths import flat
from t2i_jax.training import alternate

torch = pytest.importorskip("torch", reason="the reference implementation comes with pip install 't2i_jax[parity]'")
import twins  # noqa: E402

COUNT, LENGTH = 8, 20


def mlp():
    """Dense layers 128, 256, 512 and back; a bag of words of 100 dimensions; 16x16x3 pictures."""
    return "gan_vae.py:mlp", ["data.resolution=16", "data.vocabulary=64"], {
        "text": twins.Text(64, 100, LENGTH),
        "generator": twins.DenseGenerator((100 + 100, 128, 256, 512, 768), (16, 16, 3), normalized=False),
        "decoder": twins.DenseGenerator((100, 128, 256, 512, 768), (16, 16, 3), normalized=False),
        "encoder": twins.Encoder((768, 512, 256, 128), 100),
        "discriminator": twins.DenseDiscriminator((768, 512, 256, 128), 100, 100),
    }


def mnist():
    """Dense 100 to 28x28 by 128, 256, 512, 1024 with batch normalization; convolutions of 32, 64, 128, 256."""
    return "dcgan.py:mnist", ["data.vocabulary=64", "text.depth=0"], {
        "text": twins.Text(64, 128, LENGTH),
        "generator": twins.DenseGenerator((100 + 128, 128, 256, 512, 1024, 784), (28, 28, 1), normalized=True),
        "discriminator": twins.ConvDiscriminator((1, 32, 64, 128, 256), 2 * 2 * 256, 128, 128),
    }


def convolutional():
    """Both convolutional, with every term of the game."""
    changes = ["data.vocabulary=64", "text.depth=0", "losses.augment=0.0", "losses.l1=0.001", "losses.l2=0.001"]
    return "dcgan.py:tiny", changes, {
        "text": twins.Text(64, 16, LENGTH),
        "generator": twins.ConvGenerator(8 + 16, 4, (16, 8), 3),
        "discriminator": twins.ConvDiscriminator((3, 8, 16), 4 * 4 * 16, 16, 16),
    }


def batch_of(data):
    """Pictures whose captions all differ, so that the next one is wrong for each."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, LENGTH, COUNT)
    number = np.arange(1, COUNT + 1, dtype=np.uint32)
    return {
        "image": rng.uniform(-1, 1, (COUNT, data.resolution, data.resolution, data.channels)).astype(np.float32),
        "tokens": rng.integers(1, 64, (COUNT, LENGTH)).astype(np.int32),
        "mask": np.arange(LENGTH)[None] < lengths[:, None],
        "caption": number,
        "captions": number[:, None],
    }


def cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype in (np.float32, np.float64) else x, tree)


def gradients(opt_state, b1):
    """After Adam's first step from nothing its first moment is (1 - b1) times the gradient."""
    (moments,) = [part.mu for part in opt_state if hasattr(part, "mu")]
    return {path: x / (1 - b1) for path, x in moments.items()}


def statistics_of(state):
    return flat(state.aux.get("generator", {}))


def ours(config, system, state, batch):
    """What the twin is compared with: pictures drawn, and after each turn (loss, gradients, parameters, statistics)."""

    @playing.quick
    def run(state, batch):
        turn = playing.turn_of(state, batch)
        found = {"images": system.generate(state.params, state.aux, batch, turn.keys)}
        for use in ("noise", "posterior"):  # drawn in the same program, whose rounding may not be another's
            found[use] = keys.normal(keys.named(turn.keys, use), (config.noise,))
        for phase in system.stages[0].phases:
            state, terms = alternate.run_phase(system, phase, state, playing.turn_of(state, batch, stage=system.stages[0]))
            slopes = gradients(state.opt_state[phase.name], config.optimizers[phase.name].b1)
            found[phase.name] = {"loss": {"": terms["loss"]}, "gradients": slopes, "parameters": flat(state.params),
                                 "statistics": statistics_of(state)}
        return found

    return jax.tree.map(np.asarray, run(state, batch))


def theirs(config, players, statistics, batch, z, noise):
    """The same of the twin."""
    players = torch.nn.ModuleDict(players)
    images, tokens, mask = (torch.from_numpy(np.array(batch[name])) for name in ("image", "tokens", "mask"))
    z, noise = (torch.from_numpy(np.array(x)) for x in (z, noise))
    read = lambda: players["text"](tokens, mask)
    with torch.no_grad():
        found = {"images": players["generator"].eval()(z, read()).numpy()}
    players.train()
    optimizers = {}
    others = [player for player in players if player != "discriminator"]
    for name, moved in (("discriminator", ["discriminator"]), ("generator", others)):
        adam = config.optimizers[name]
        optimizers[name] = torch.optim.Adam([p for player in moved for p in players[player].parameters()],
                                            lr=2e-4, betas=(adam.b1, adam.b2), eps=1e-8)

    def step(name, loss):
        players.zero_grad()
        loss.backward()
        own = {id(p) for group in optimizers[name].param_groups for p in group["params"]}
        slopes = twins.arrays(players, lambda p: p.grad)
        slopes = {path: slopes[path] for path, p, _ in twins.parameters(players) if id(p) in own}
        optimizers[name].step()
        side = config.data.resolution
        counts = {path: COUNT for path in twins.norms(players["generator"])}
        if isinstance(players["generator"], twins.ConvGenerator):
            counts = {path: COUNT * (side // 4 * 2**n) ** 2 for n, path in enumerate(counts)}
        moved = twins.statistics(players["generator"], statistics, counts) if name == "generator" else statistics
        found[name] = {"loss": {"": loss.detach().numpy()}, "gradients": slopes,
                       "parameters": twins.arrays(players, lambda p: p), "statistics": moved}

    beside = copy.deepcopy(players["generator"])  # the discriminator's turn moves no running statistics
    with torch.no_grad():
        sentence = read()
        made = beside(z, sentence)
    step("discriminator", twins.discriminator_loss(config.losses, players["discriminator"], images, made, sentence))
    sentence = read()
    made = players["generator"](z, sentence)
    loss = twins.generator_loss(config.losses, players["discriminator"], made, sentence)
    if "encoder" in players:
        loss = loss + twins.vae_loss(config.losses, players, images, made, sentence, noise)
    step("generator", loss)
    return found


def both(preset, dtype):
    spec, changes, players = preset()
    config = playing.config(spec, *changes)
    system = systems.build(config, tokenizer=None)
    with jax.enable_x64(dtype == np.float64):
        state = playing.state_of(system)
        state, batch = (cast(tree, dtype) for tree in (state, jax.tree.map(jnp.asarray, batch_of(config.data))))
        found = ours(config, system, state, batch)
    twin = torch.nn.ModuleDict(players).to({np.float32: torch.float32, np.float64: torch.float64}[dtype])
    statistics = jax.tree.map(np.asarray, statistics_of(state))
    twins.load(twin, flat(state.params), statistics)
    z, noise = (found[use].astype(dtype) for use in ("noise", "posterior"))
    return found, theirs(config, twin, statistics, batch, z, noise)


def assert_close(found, expected, what, difference, share=0.0):
    """Arrays by path, within a difference and a share of the largest value of each."""
    assert found.keys() == expected.keys() and found, what
    for path, array in expected.items():
        assert found[path].dtype == array.dtype, (what, path)
        allowed = difference + share * np.abs(array).max()
        np.testing.assert_allclose(found[path], array, rtol=0, atol=allowed, err_msg=f"{what} {path}")


@pytest.mark.parametrize("preset", [mlp, mnist])
def test_outputs_losses_and_gradients_in_float32(preset):
    found, expected = both(preset, np.float32)
    np.testing.assert_allclose(found["images"], expected["images"], atol=1e-4)
    for player in ("discriminator", "generator"):
        for what in ("loss", "gradients"):
            assert_close(found[player][what], expected[player][what], f"{player} {what}", 1e-6, share=1e-4)


@pytest.mark.parametrize("preset", [mlp, mnist, convolutional])
def test_weights_and_running_statistics_after_each_turn_in_float64(preset):
    found, expected = both(preset, np.float64)
    before = None
    for player in ("discriminator", "generator"):
        assert_close(found[player]["gradients"], expected[player]["gradients"], f"{player} gradients", 1e-12, share=1e-9)
        assert_close(found[player]["parameters"], expected[player]["parameters"], player, 1e-6)
        if preset is not mlp:
            assert_close(found[player]["statistics"], expected[player]["statistics"], player, 1e-6)
        moved = {path for path, x in found[player]["parameters"].items() if before is None or (x != before[path]).any()}
        assert player in {path.split("/")[0] for path in moved}
        before = found[player]["parameters"]
