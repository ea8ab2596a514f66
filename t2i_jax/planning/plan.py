"""A plan: one stage of a config on one slice, and where it does not fit, the smallest change under which it does."""

import dataclasses
from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from t2i_jax.errors import UserError
from t2i_jax.planning.chips import chip_of
from t2i_jax.planning.compiling import Compiled, DoesNotFit, compile_stage, mesh_of, model_flops
from t2i_jax.planning.estimate import Estimate, estimate

Batch = Callable[[ConfigDict], dict]  # config -> ShapeDtypeStructs of one global batch


@dataclasses.dataclass(frozen=True)
class Plan:
    """One stage on one slice."""

    topology: str
    chips: int
    stage: str
    batch_size: int
    fsdp: int
    images: int  # of the stage
    compiled: Compiled | None  # None: does not fit
    estimate: Estimate | None
    refusal: DoesNotFit | None = None
    changes: dict[str, object] | None = None  # under which it does; None: none of those tried
    changed: "Plan | None" = None  # with them

    @property
    def chip_hours(self) -> float:
        """Of the whole stage."""
        return self.images / self.estimate.images_per_second * self.chips / 3600


def plan(config: ConfigDict, stage: str, topology: str, batch: Batch, search: bool = True) -> Plan:
    """Compile and judge; where it does not fit and `search`, try changes one after another until one does.

    Raises UserError for a topology or stage that does not exist and a batch that the chips do not divide.
    """
    chip, chips = chip_of(topology)
    if config.batch_size % chips:
        raise UserError(f"batch size {config.batch_size} does not divide over {chips} chips; accepted: a multiple of {chips}")
    config = fitted(config, stage)
    mesh = mesh_of(topology, min(config.fsdp, chips))
    about = (topology, mesh.size, stage, config.batch_size, mesh.shape["fsdp"], config.stages[stage])
    try:
        compiled = compile_stage(config, stage, mesh, batch(config))
        if compiled.peak > chip.memory:  # the compiler lets a little more pass than its parts, added up, leave room for
            raise DoesNotFit(compiled.peak, chip.memory, compiled.largest)
    except DoesNotFit as refusal:
        for changes in ladder(config, chips) if search else ():
            changed = plan(with_changes(config, changes), stage, topology, batch, search=False)
            if changed.compiled:
                return Plan(*about, None, None, refusal, changes, changed)
        return Plan(*about, None, None, refusal)
    found = estimate(compiled, chip, mesh.size, config.scan_length, config.batch_size, model_flops(config, stage, batch(config)))
    return Plan(*about, compiled, found)


def fitted(config: ConfigDict, stage: str) -> ConfigDict:
    """With the length of the stage rounded to whole calls of the batch planned for."""
    chunk = config.batch_size * config.scan_length
    return with_changes(config, {f"stages.{stage}": max(1, round(config.stages[stage] / chunk)) * chunk})


def ladder(config: ConfigDict, chips: int) -> Iterator[dict[str, object]]:
    """Changes to try, the one that costs least time first: less kept, more shared, fewer images."""
    sections = [name for name, section in config.items() if isinstance(section, ConfigDict) and "remat" in section]
    changes: dict[str, object] = {}
    kept = {f"{name}.keep": False for name in sections if config[name].get("keep")}
    if kept:
        changes |= kept
        yield dict(changes)
    again = {f"{name}.remat": True for name in sections if not config[name].remat}
    if again:
        changes |= again
        yield dict(changes)
    fsdp = config.fsdp
    while fsdp * 2 <= chips and chips % (fsdp * 2) == 0:
        fsdp *= 2
        yield changes | {"fsdp": fsdp}
    changes |= {"fsdp": fsdp} if fsdp != config.fsdp else {}
    size = config.batch_size
    while size % (2 * chips) == 0:
        size //= 2
        yield changes | {"batch_size": size}


def with_changes(config: ConfigDict, changes: dict[str, object]) -> ConfigDict:
    """A copy with {"section.key": value} set."""
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        for key, value in changes.items():
            *sections, name = key.split(".")
            section = changed
            for each in sections:
                section = section[each]
            section[name] = value
    return changed.lock()
