import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from satkit import create_model
from satkit.heads import class_map, pooled_logits

SIZES = [(3, 1, (5, 7)), (1, 0, (4, 4)), (5, 2, (4, 6)), (3, 1, (2, 2))]


def head_and_features(kernel, padding, size, dtype=torch.float64, classes=6):
    torch.manual_seed(0)
    head = torch.nn.Conv2d(8, classes, kernel, padding=padding, dtype=dtype)
    return head, torch.randn(3, 8, *size, dtype=dtype)


def gradients(value, head, features):
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value)
    return torch.autograd.grad((value * weights).sum(), [features, *head.parameters()])


@pytest.mark.parametrize(("kernel", "padding", "size"), SIZES)
def test_logits_and_their_gradients(kernel, padding, size):
    head, features = head_and_features(kernel, padding, size)
    features.requires_grad_()
    plain, fast = head(features).mean(dim=(2, 3)), pooled_logits(head, features)
    torch.testing.assert_close(fast, plain, atol=1e-13, rtol=1e-12)
    both = (gradients(value, head, features) for value in (plain, fast))
    for theirs, ours in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=1e-12)


def test_logits_in_single_precision():
    head, features = head_and_features(3, 1, (14, 14), torch.float32, classes=200)
    plain, fast = head(features).mean(dim=(2, 3)), pooled_logits(head, features)
    assert (fast - plain).abs().max() <= 1e-6 * plain.abs().max()


def test_logits_by_hand():
    """2x2 features of ones: the centre counts four times, an edge twice, a corner once, over 4."""
    head = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    kernel = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    head.weight.data.copy_(kernel[None, None])
    expected = (1 * (1 + 3 + 7 + 9) + 2 * (2 + 4 + 6 + 8) + 4 * 5) / 4
    assert pooled_logits(head, torch.ones(1, 1, 2, 2)).item() == pytest.approx(expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "padding", "size"), SIZES)
def test_map_of_the_asked_class(kernel, padding, size, bias):
    head, features = head_and_features(kernel, padding, size)
    if not bias:
        head.bias = None
    maps, labels = head(features), torch.tensor([5, 0, 2])
    logits = maps.mean(dim=(2, 3))
    for wanted, chosen in ((labels, labels), (None, logits.argmax(dim=1))):
        ours = class_map(head, features, logits, wanted)
        torch.testing.assert_close(ours, maps[range(3), chosen], atol=1e-13, rtol=1e-12)


class Largest(TorchDispatchMode):
    """Number of elements of the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("method", ["sat", "cam", "tscam", "attention_map"])
def test_no_tensor_has_the_maps_of_all_classes(method):
    """1,000 classes: weights of the head are the largest, in training and evaluation."""
    model = create_model(method, "vit_pico_convstem8_96", 1000, image_size=96)
    images, labels = torch.randn(16, 3, 96, 96), torch.arange(16)
    for training in (True, False):
        with Largest() as largest, torch.set_grad_enabled(training):
            output = model.train(training)(images, labels)
            if training:
                output.logits.sum().backward()
        assert largest.elements < 16 * 1000 * 12 * 12
        assert largest.elements >= 1000 * 128 * 9  # the kernel, as a gradient or a view
