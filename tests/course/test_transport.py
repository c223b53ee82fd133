"""Values that pass from a student's process to the judge's."""

import json

import numpy as np
import pytest
import torch

from satkit.course import transport
from satkit.course.checks import same


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -2.5, float("inf"), "text", 1 + 2j, np.float64(0.5), np.int64(3),
        np.bool_(True), np.arange(6.0).reshape(2, 3), np.zeros((0, 4)), np.array(["a", "b"]),
        torch.eye(3),
        torch.tensor([1, 2]), torch.tensor(True), torch.zeros(2, 2, dtype=torch.bfloat16),
        torch.randn(3, dtype=torch.complex64), (1, [2.5, {"a": {3}}]), {1: (2, 3)}, frozenset("ab"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_data_arrive_as_they_were(value):
    arrived = transport.decode(json.loads(json.dumps(transport.encode(value))))
    assert same(arrived, value, 0.0) and same(value, arrived, 0.0)
    assert isinstance(arrived, torch.Tensor) == isinstance(value, torch.Tensor)
    if isinstance(value, torch.Tensor):
        assert arrived.dtype == value.dtype


def test_nan_and_gradients_arrive():
    assert np.isnan(transport.passed(float("nan")))
    assert transport.passed(torch.zeros(2, requires_grad=True) * 2).requires_grad
    assert not transport.passed(torch.zeros(2)).requires_grad


@pytest.mark.parametrize("value", [len, object(), [print], {"a": torch.nn.Linear(1, 1)}])
def test_other_things_do_not_pass(value):
    with pytest.raises(TypeError, match="cannot be judged"):
        transport.encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {"array": "AAAA", "kind": "|O", "shape": [1], "scalar": False},
        {"array": "AAAA", "kind": "<f8", "shape": [10**9], "scalar": False},
        {"pickle": "gASV"},
        {"mapping": 3},
        {"set": [{"list": []}]},
        {"float": "__import__('os')"},
        {"tensor": {"name": "x"}, "kind": 3, "grad": 1},
    ],
)
def test_forged_data_are_refused(value):
    with pytest.raises(ValueError):
        transport.decode(value)
