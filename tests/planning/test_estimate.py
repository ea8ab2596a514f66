"""The roofline by hand, chips and slices by name, the order in which changes are tried."""

import dataclasses

import pytest
from running import CONFIGS

from t2i_jax import config as configs
from t2i_jax.commands.plan import images
from t2i_jax.errors import UserError
from t2i_jax.planning import plan as planning
from t2i_jax.planning import report
from t2i_jax.planning.chips import Chip, chip_of
from t2i_jax.planning.compiling import Compiled, DoesNotFit
from t2i_jax.planning.counts import Counts, Transfer
from t2i_jax.planning.estimate import estimate
from t2i_jax.planning.plan import fitted, ladder

CHIP = Chip(peak=100.0, memory=50.0, bandwidth=20.0, interconnect=5.0, clock=4.0, price=1.0)
TRANSFERS = (Transfer("all-gather", 4, 2, 30.0, True), Transfer("all-reduce", 4, 1, 10.0, False))


def compiled(cycles):
    return Compiled(1, 2, 3, 4, 5, 6, Counts(flops=400.0, bytes=100.0, cycles=cycles, transfers=TRANSFERS), (), 0.0)


@pytest.mark.parametrize("cycles, step, bound", [(40.0, 5 + 1, "compute"), (4.0, 3 + 1, "interconnect")])
def test_the_longest_of_what_runs_side_by_side_and_what_is_waited_for(cycles, step, bound):
    found = estimate(compiled(cycles), CHIP, chips=8, steps=2, batch_size=32, model_flops=1200.0)
    assert (found.compute, found.peak_compute, found.memory) == (cycles / 8, 2.0, 2.5)
    assert (found.overlapped, found.exposed, found.step, found.bound) == (3.0, 1.0, step, bound)
    assert found.images_per_second == 32 / step and found.utilisation == pytest.approx(1200 / (8 * 100 * step))
    assert compiled(0).peak == 21


def test_slices_and_batches_by_name():
    assert chip_of("v5e:16x16")[1] == 256 and chip_of("v5p:4x4x4")[1] == 64
    for wrong in ("v5e", "v9:2x2", "v5e:16", "v5e:axb"):
        with pytest.raises(UserError, match="for example v5e:4x4"):
            chip_of(wrong)
    assert images("4096", 8) == 4096 and images("16/chip", 8) == 128
    for wrong in ("0", "16/host", "many"):
        with pytest.raises(UserError, match="16/chip"):
            images(wrong, 8)


def test_less_is_kept_before_more_is_shared_before_fewer_images():
    config = configs.load(f"{CONFIGS / 'latent_gan_256.py'}:b", ["--config.fsdp=8", "--config.autoencoder.remat=False"])
    tried = list(ladder(config, chips=32))
    kept, again = {"generator.keep": False, "discriminator.keep": False}, {"autoencoder.remat": True}
    assert tried[:4] == [kept, kept | again, kept | again | {"fsdp": 16}, kept | again | {"fsdp": 32}]
    assert [change["batch_size"] for change in tried[4:]] == [1024, 512, 256, 128, 64, 32]
    assert fitted(config, "gan").stages.gan % (config.batch_size * config.scan_length) == 0


def test_the_first_change_that_fits_is_found_by_trying_and_reported(monkeypatch):
    tried = []

    def compile_stage(config, stage, mesh, batch):
        tried.append((config.generator.keep, config.fsdp, config.batch_size))
        if config.fsdp < 32:
            raise DoesNotFit(20 * 2**30, 15.75 * 2**30, (("bf16[9] of player", 3 * 2**30),))
        return dataclasses.replace(compiled(40.0), temporary=(16 if config.batch_size > 512 else 1) * 2**30)

    class Mesh:
        size, shape = 64, {"data": 2, "fsdp": 32}

    monkeypatch.setattr(planning, "compile_stage", compile_stage)
    monkeypatch.setattr(planning, "mesh_of", lambda topology, fsdp: Mesh())
    monkeypatch.setattr(planning, "model_flops", lambda config, stage, batch: 1e15)
    config = configs.load(f"{CONFIGS / 'latent_gan_256.py'}:b", ["--config.batch_size=1024"])
    found = planning.plan(config, "gan", "v5e:8x8", lambda config: {})
    assert tried == [(True, 16, 1024), (False, 16, 1024), (False, 32, 1024), (False, 64, 1024), (False, 64, 512)]
    assert found.compiled is None and found.changes == {
        "generator.keep": False, "discriminator.keep": False, "fsdp": 64, "batch_size": 512}
    said = report.text(found, 10)
    for words in ("needs 20.00 of 15.75 GiB", "3.00 GiB  bf16[9] of player", "--config.fsdp=64 --config.batch_size=512", "chip-hours"):
        assert words in said
    assert report.record(found, 10)["changed"]["fits"] and "20.00 of 15.75" in report.table([found], 10)
