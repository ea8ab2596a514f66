"""The device mesh: named axes over all devices of all processes."""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from t2i_jax.errors import UserError

AXES = ("data", "fsdp")


def make_mesh(fsdp: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh [data, fsdp] over every device, or those given; `fsdp` devices share one copy of the parameters.

    Axes are `Auto`: the compiler places what the rules in `sharding` leave open.
    Raises UserError where `fsdp` does not divide the device count, or a TPU slice does not have such sides.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if fsdp < 1 or count % fsdp:
        raise UserError(f"config: fsdp = {fsdp} is impossible on {count} devices; accepted: a divisor of {count}")
    try:
        return jax.make_mesh((count // fsdp, fsdp), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)
    except NotImplementedError as error:  # axes of the mesh are made of whole axes of the slice
        raise UserError(f"config: fsdp = {fsdp} cannot be laid out on {count} devices wired as these are; accepted: a product "
                        "of side lengths of the slice") from error


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """What the compiler is told for the devices of a mesh.

    TPU: never to split a product over shared weights into a ring of small products. It does so by default where weights
    come in slices, and slices of a layer are narrower than a matrix unit: the discriminator of the `b` size of
    configs/latent_gan_256.py was estimated to take 8 times as long.
    """
    tpu = mesh.devices.flat[0].platform == "tpu"
    return {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"} if tpu else {}
