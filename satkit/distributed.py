"""Several processes that train as one: who is who, what each takes, and what they tell each other.

All of it works in a lone process too, where it costs nothing. Whatever starts the processes
(``accelerate launch``, ``torchrun``, ``notebook_launcher``), they find each other in :func:`start`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor, nn

T = TypeVar("T")
#: How long the others wait for one process, which may be scoring a large data set
TIMEOUT = timedelta(hours=1)


def start() -> None:
    """Join the other processes, if a launcher started some; called again it does nothing."""
    launched = int(os.environ.get("WORLD_SIZE", 1)) > 1
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    PartialState(cpu=launched and on_cpu, timeout=TIMEOUT)


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes are here."""
    if world_size() > 1:
        dist.barrier()


def from_first(make: Callable[[], T]) -> T:
    """Let the first process make a value, and give it to all.

    Args:
        make: Called in the first process only.

    Returns:
        The same value in every process.
    """
    if world_size() == 1:
        return make()
    box = [make() if is_first() else None]
    dist.broadcast_object_list(box)
    return box[0]  # type: ignore[return-value]


def gather(value: T) -> list[T]:
    """Collect a value of every process.

    Args:
        value: Of this process.

    Returns:
        The values by rank, in every process.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def own_part(batch: list[int]) -> tuple[list[int], float]:
    """Cut this process's images out of a batch that all processes share.

    The parts follow each other in the order of the ranks; their sizes differ by one at most.

    Args:
        batch: Indices of the images of one step, equal in all processes.

    Returns:
        The indices of this process, and the weight of their mean: the mean over processes of
        weight times mean is the mean over the batch. Where the batch has fewer images than there
        are processes, a process without one gets an image of weight 0, so that it takes part.
    """
    first, last = (len(batch) * place // world_size() for place in (rank(), rank() + 1))
    own = batch[first:last]
    return own or batch[:1], len(own) * world_size() / len(batch)


def mean(values: Tensor) -> Tensor:
    """Mean over processes, without gradient.

    Args:
        values: Of this process, of equal shape in all.

    Returns:
        The same in every process.
    """
    if world_size() == 1:
        return values.detach()
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


class _Sum(torch.autograd.Function):
    """Sum over processes; its gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.apply(gradients[0].contiguous())


@torch.compiler.disable
def sum_with_gradient(tensor: Tensor) -> Tensor:
    """Sum over processes that gradients pass.

    Every process's gradient counts what all processes make of the sum. Data parallelism averages
    the gradients of the weights, so the result is the gradient of the *mean* of the processes'
    losses.

    Args:
        tensor: Of this process, of equal shape in all.

    Returns:
        The same in every process.
    """
    return tensor if world_size() == 1 else _Sum.apply(tensor)


def join_batch_norms(model: nn.Module) -> list[JointBatchNorm]:
    """Let a model's BatchNorms see the batch of all processes; a lone process keeps its own.

    Args:
        model: Changed in place; weights keep their names.

    Returns:
        The joint layers, of which ``counted`` is to be set.
    """
    if world_size() == 1:
        return []
    joint = []
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                joint.append(JointBatchNorm(child))
                setattr(parent, name, joint[-1])
    return joint


class JointBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the images of all processes, on any device.

    PyTorch's SyncBatchNorm does the same on GPUs only, and counts images of weight 0.

    Args:
        norm: Its weights and running statistics are taken over, with the activation behind it
            where timm put one there.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self._buffers.update(norm._buffers)
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        self.train(norm.training)
        self.counted = True  # whether this process's images are among those of the batch

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: Features of this process's images [B, C, H, W].

        Returns:
            [B, C, H, W].
        """
        out = self._over_the_batch(x) if self.training else super().forward(x)
        return self.act(self.drop(out))  # type: ignore[no-any-return]

    def _over_the_batch(self, x: Tensor) -> Tensor:
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        flat = values.transpose(0, 1).flatten(1)  # [C, B·H·W]
        count = sum_with_gradient(flat.new_full((), flat.shape[1] * self.counted))
        mean = sum_with_gradient(flat.sum(dim=1) * self.counted) / count  # [C]
        off = (flat - mean[:, None]).square().sum(dim=1)  # [C]
        variance = sum_with_gradient(off * self.counted) / count  # [C]
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        gain = self.weight * (variance + self.eps).rsqrt()  # [C]
        out = (values - mean[:, None, None]) * gain[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics as BatchNorm does."""
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        momentum = self.momentum or 0.0
        self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
        self.running_var.lerp_(variance, momentum)  # type: ignore[union-attr]
