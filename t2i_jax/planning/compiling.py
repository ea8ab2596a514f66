"""The real training chunk, compiled ahead of time for a TPU slice that need not be there."""

import dataclasses
import importlib.util
import os
import re
import time

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from t2i_jax import systems
from t2i_jax.distributed import sharding
from t2i_jax.distributed.mesh import make_mesh
from t2i_jax.errors import UserError
from t2i_jax.planning import hlo
from t2i_jax.planning.counts import Counts, count
from t2i_jax.planning.model_flops import matrix_flops
from t2i_jax.pretrained import captions
from t2i_jax.systems import Stage, System
from t2i_jax.training import alternate
from t2i_jax.training.state import State, create

# libtpu looks for TPUs of this machine and its neighbours, locks them, and complains where there are none; planning needs
# neither, and several plans may be made at once.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_HOSTNAMES": "localhost",
               "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3"}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of one stage, per chip."""

    parameters: float  # bytes of its share
    optimizer: float
    averages: float
    batch: float  # of the scan's pictures and captions
    temporary: float  # activations, gradients, gathered weights
    code: float
    counts: Counts  # of `scan_length` steps
    largest: tuple[tuple[str, float], ...]  # (what, bytes) of the largest arrays it makes
    seconds: float  # that compiling took

    @property
    def peak(self) -> float:
        """Bytes of HBM."""
        return self.parameters + self.optimizer + self.averages + self.batch + self.temporary + self.code


class DoesNotFit(Exception):
    """The compiler needs more HBM than there is."""

    def __init__(self, needed: float, limit: float, largest: tuple[tuple[str, float], ...]):
        super().__init__(f"needs {needed / 2**30:.2f} of {limit / 2**30:.2f} GiB")
        self.needed, self.limit, self.largest = needed, limit, largest


def refused(message: str) -> DoesNotFit | None:
    """What libtpu says where HBM is too small, with the allocations it lists, if any; None for any other message."""
    size = r"([\d.]+)([KMGT]?)"
    for words in (rf"Used {size} of {size} hbm", rf"\({size}\) exceeds available HBM \({size}\)"):
        if found := re.search(words, message):
            return DoesNotFit(_size(*found.group(1, 2)), _size(*found.group(3, 4)), _named_in(message))
    return None


def mesh_of(topology: str, fsdp: int) -> Mesh:
    """The mesh that training would have on the slice. UserError without libtpu or for a slice that it does not know."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        devices = topologies.get_topology_desc(topology, platform="tpu").devices
    except Exception as error:  # whatever libtpu raises
        if "libtpu" in str(error).lower() and "not found" in str(error).lower() or not _has_libtpu():
            raise UserError("t2i plan needs the TPU compiler: pip install 't2i_jax[plan]'") from error
        raise UserError(f"topology {topology!r}: libtpu does not know it: {str(error).splitlines()[0]}") from error
    return make_mesh(fsdp, devices)


def _has_libtpu() -> bool:
    return importlib.util.find_spec("libtpu") is not None


def stage_of(system: System, name: str) -> Stage:
    """UserError for a stage that the system does not have."""
    for stage in system.stages:
        if stage.name == name:
            return stage
    raise UserError(f"stage {name!r} is unknown; accepted: {', '.join(stage.name for stage in system.stages)}")


def compile_stage(config: ConfigDict, stage: str, mesh: Mesh, batch: dict) -> Compiled:
    """Compile K steps of a stage for the devices of `mesh`; batch: ShapeDtypeStructs of one global batch [B, ...].

    Raises DoesNotFit where HBM is too small, UserError where the config does not work.
    """
    begin = time.monotonic()
    system = systems.build(config, captions.opened(config))
    state = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    update = alternate.compile_update(system, stage_of(system, stage), state, batch, config.scan_length, mesh)
    stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((config.scan_length, *x.shape), x.dtype), batch)
    try:
        compiled = update.run.lower(state, stacked).compile()
    except jax.errors.JaxRuntimeError as error:
        refusal = refused(str(error))
        if refusal is None:
            raise
        raise refusal from error
    program = hlo.parse(compiled.as_text())
    memory = compiled.memory_analysis()
    share = lambda tree, placed: sum(
        np.prod(s.shard_shape(x.shape)) * x.dtype.itemsize
        for x, s in zip(jax.tree.leaves(tree), jax.tree.leaves(placed), strict=True) if hasattr(x.dtype, "itemsize"))
    placed = sharding.parameters(state, mesh)
    part = lambda name: float(share(getattr(state, name), getattr(placed, name)))
    parameters, optimizer, averages = part("params") + part("aux"), part("opt_state"), part("ema")
    kept = memory.output_size_in_bytes - memory.alias_size_in_bytes  # results that reuse no argument
    return Compiled(
        parameters, optimizer, averages,
        batch=memory.argument_size_in_bytes - parameters - optimizer - averages,
        temporary=memory.temp_size_in_bytes + kept,
        code=memory.generated_code_size_in_bytes,
        counts=count(program),
        largest=largest(program),
        seconds=time.monotonic() - begin,
    )


def model_flops(config: ConfigDict, stage: str, batch: dict) -> float:
    """Operations of one step that the model asks for: matrix products and convolutions, nothing computed twice."""
    plain = config.copy_and_resolve_references()
    with plain.unlocked():
        for section in plain.values():
            if isinstance(section, ConfigDict) and "remat" in section:
                section.remat = False
    system = systems.build(plain, None)
    state: State = jax.eval_shape(lambda key: create(system, key), jax.random.key(0))
    found = stage_of(system, stage)
    cycle = alternate.cycle_length(found)
    steps = (matrix_flops(lambda s, b, p=p: alternate.step(system, found, p, s, b), state, batch) for p in range(cycle))
    return sum(steps) / cycle


def largest(program: hlo.Program, count: int = 5) -> tuple[tuple[str, float], ...]:
    """The largest arrays in HBM that instructions make, by what in the model they came of."""
    found: dict[str, float] = {}
    for run in hlo.runs(program):
        for instruction in program.computations[run.computation].values() if not run.fused else ():
            if instruction.opcode in ("fusion", "convolution", "copy", "all-gather", "broadcast", "dynamic-update-slice"):
                for shape in instruction.shapes:
                    if not shape.fast:
                        what = f"{shape.dtype}{list(shape.sizes)} of {_short(instruction.source)}"
                        found[what] = shape.bytes
    return tuple(sorted(found.items(), key=lambda entry: -entry[1])[:count])


def _short(source: str) -> str:
    return "/".join(part for part in source.split("/") if part not in ("while", "body", "closed_call", "jit(chunk)", "checkpoint"))


def _size(number: str, unit: str) -> float:
    return float(number) * 1024 ** " KMGT".index(unit or " ")


def _named_in(message: str) -> tuple[tuple[str, float], ...]:
    """The allocations that libtpu's message lists."""
    entries = re.findall(r"Size: ([\d.]+)([KMGT]?)B?\s.*?Operator: op_name=\"([^\"]*)\".*?Shape: (\S+)", message, re.DOTALL)
    return tuple((f"{shape.split('{')[0]} of {_short(name)}", _size(size, unit)) for size, unit, name, shape in entries[:5])
