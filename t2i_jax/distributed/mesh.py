"""The device mesh: named axes over all devices of all processes."""

import jax
from jax.sharding import AxisType, Mesh

from t2i_jax.errors import UserError

AXES = ("data", "fsdp")


def make_mesh(fsdp: int = 1) -> Mesh:
    """Mesh [data, fsdp] over every device; `fsdp` devices share one copy of the parameters.

    Axes are `Auto`: the compiler places what the rules in `sharding` leave open.
    Raises UserError where `fsdp` does not divide the device count.
    """
    devices = jax.device_count()
    if fsdp < 1 or devices % fsdp:
        raise UserError(f"config: fsdp = {fsdp} is impossible on {devices} devices; accepted: a divisor of {devices}")
    return jax.make_mesh((devices // fsdp, fsdp), AXES, axis_types=(AxisType.Auto,) * len(AXES))
