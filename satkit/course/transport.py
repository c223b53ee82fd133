"""Values as JSON, to pass an answer's outputs to a process that trusts nothing of them.

Only data pass: numbers, strings, arrays, tensors, and containers of them. No pickles.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor


def encode(value: Any) -> Any:
    """Turn a value into what JSON can hold.

    Args:
        value: Number, string, None, array, tensor, dtype, or tuples, lists, sets and mappings of
            them.

    Raises:
        TypeError: It is, or holds, something else, such as a function.
    """
    match value:
        case np.ndarray() | np.generic() if np.asarray(value).dtype.kind in "biufcSU":
            array = np.asarray(value)
            data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
            scalar = isinstance(value, np.generic)
            return {"array": data, "kind": array.dtype.str, "shape": array.shape, "scalar": scalar}
        case None | bool() | int() | str():
            return value
        case float() | Fraction():
            return {"float": repr(float(value))}
        case complex():
            return {"complex": [repr(value.real), repr(value.imag)]}
        case Tensor():
            tensor = value.detach().cpu().resolve_conj().resolve_neg()
            kind = str(tensor.dtype).removeprefix("torch.")
            wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            return {"tensor": encode(wide.numpy()), "kind": kind, "grad": value.requires_grad}
        case Mapping():
            return {"mapping": [[encode(key), encode(one)] for key, one in value.items()]}
        case list() | tuple():
            kind = "list" if isinstance(value, list) else "tuple"  # named tuples are tuples
            return {kind: [encode(one) for one in value]}
        case set() | frozenset():
            return {"set": [encode(one) for one in value]}
        case torch.dtype() | torch.device() | np.dtype():
            return {"name": str(value)}
    raise TypeError(f"{type(value).__name__} cannot be judged; give numbers, arrays or tensors")


def decode(value: Any) -> Any:
    """Turn back what :func:`encode` made.

    Raises:
        ValueError: It is nothing that `encode` makes.
    """
    if not isinstance(value, dict):
        return value
    try:
        return _decode(value)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no encoded value: {error}") from None


def _decode(value: dict[str, Any]) -> Any:
    match value:
        case {"float": text}:
            return float(text)
        case {"complex": [real, imaginary]}:
            return complex(float(real), float(imaginary))
        case {"tensor": array, "kind": kind, "grad": grad}:
            tensor = torch.from_numpy(np.array(decode(array)))
            tensor = tensor.bfloat16() if kind == "bfloat16" else tensor
            return tensor.requires_grad_(bool(grad)) if tensor.is_floating_point() else tensor
        case {"array": data, "kind": kind, "shape": shape, "scalar": scalar}:
            dtype = np.dtype(str(kind))
            if dtype.kind not in "biufcSU":
                raise ValueError(f"no encoded array: kind {kind!r}")
            array = np.frombuffer(base64.b64decode(data), dtype).reshape(shape).copy()
            return array[()] if scalar else array
        case {"mapping": pairs}:
            return {decode(key): decode(one) for key, one in pairs}
        case {"list": items}:
            return [decode(one) for one in items]
        case {"tuple": items}:
            return tuple(decode(one) for one in items)
        case {"set": items}:
            return {decode(one) for one in items}
        case {"name": text}:
            return {"name": str(text)}
    raise ValueError(f"no encoded value: {sorted(value)}")


def passed(value: Any) -> Any:
    """What arrives of a value that is passed on.

    Raises:
        TypeError: It cannot be passed.
    """
    return decode(encode(value))
