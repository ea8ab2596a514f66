"""Squared content loss on both embedders collapses them and InfoNCE does not: the benchmark, shortened."""

import pytest

pytest.importorskip("sklearn", reason="the digits come from scikit-learn, of the extra `test`")

import content_collapse


@pytest.mark.parametrize("name, collapses", [("mse", True), ("mse of unit vectors", True), ("info_nce", False)])
def test_only_squared_error_collapses(name, collapses):
    figures = content_collapse.train(name, 600, *content_collapse.pictures(), 0)
    assert (figures["spread"] < 0.3) if collapses else (figures["spread"] > 0.9 and figures["told"] > 0.9)
    assert figures["loss"] < (0.05 if collapses else 1)  # learnt: the collapse is the loss's own wish
