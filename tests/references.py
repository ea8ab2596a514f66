"""Reference implementations in PyTorch, and how tests prepare them."""

import pytest

REFERENCE = "the reference implementation comes with pip install 't2i_jax[parity]'"


def shaken(kind, config):
    """The reference with random parameters, the same at every call: its own start has zeros and ones that would hide mistakes."""
    torch = pytest.importorskip("torch", reason=REFERENCE)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = kind(config)
        for parameter in network.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape))
    return network.eval()
