"""Reference implementations in PyTorch, and how tests prepare them."""

import pytest

REFERENCE = "the reference implementation comes with pip install 't2i_jax[parity]'"


def shaken(network):
    """The reference with every parameter random: its own start has zeros and ones that would hide mistakes."""
    torch = pytest.importorskip("torch", reason=REFERENCE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return network.eval()
