import math

import pytest
import torch
import torch.distributed as dist

from satkit import losses
from tests.processes import join, start

# One map of four patches: mean 0.5; M(1-M) = 0, 0, 0.25, 0.25 without smoothing.
MAP = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])


class TestSmoothingKernel:
    def test_official_values(self):
        kernel = losses.smoothing_kernel("official")
        expected = torch.tensor([0.00262846, 0.0460116, 0.80543974])
        measured = torch.stack([kernel[0, 0], kernel[0, 1], kernel[1, 1]])
        torch.testing.assert_close(measured, expected, atol=5e-9, rtol=1e-6)
        assert torch.equal(kernel, kernel.T) and kernel.sum().item() == pytest.approx(1)

    def test_official_acts_like_sigma_0_418(self):
        kernel = losses.smoothing_kernel("official").double()
        sigma = math.sqrt(-0.5 / math.log(kernel[0, 1] / kernel[1, 1]))
        assert sigma == pytest.approx(0.418, abs=5e-4)

    def test_gaussian_of_sigma_six(self):
        kernel = losses.smoothing_kernel("gaussian", sigma=6.0)
        measured = torch.stack([kernel[1, 1], kernel[0, 1], kernel[0, 0]])
        torch.testing.assert_close(
            measured, torch.tensor([0.1132, 0.1116, 0.1101]), atol=5e-5, rtol=0
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"kind": "box"}, "'box'; expected one of official, gaussian"),
            ({"kind": "gaussian", "size": 4}, "size is 4"),
            ({"kind": "gaussian", "sigma": 0.0}, "sigma is 0.0"),
        ],
    )
    def test_bad_values(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            losses.smoothing_kernel(**arguments)


class TestSmooth:
    def test_zero_padding_darkens_the_border(self):
        smoothed = losses.smooth(torch.ones(1, 14, 14))
        assert smoothed[0, 5, 5].item() == pytest.approx(1)
        assert smoothed[0, 0, 5].item() == pytest.approx(0.949, abs=5e-4)  # edge
        assert smoothed[0, 0, 0].item() == pytest.approx(0.900, abs=5e-4)  # corner

    def test_replicate_padding_does_not(self):
        ones = torch.ones(1, 14, 14)
        torch.testing.assert_close(losses.smooth(ones, padding="replicate"), ones)

    def test_none_changes_nothing(self):
        assert torch.equal(losses.smooth(MAP, None), MAP)

    def test_a_kernel_first_used_without_gradients_serves_training(self):
        losses._kernel.cache_clear()
        with torch.inference_mode():
            expected = losses.smooth(MAP).clone()
        maps = MAP.clone().requires_grad_()
        smoothed = losses.smooth(maps)
        (smoothed * (1 - smoothed)).mean().backward()
        assert torch.equal(smoothed, expected) and maps.grad.abs().sum() > 0
        assert losses.smooth(MAP.double()).dtype == torch.float64

    def test_unknown_padding(self):
        with pytest.raises(ValueError, match="padding is 'mirror'"):
            losses.smooth(MAP, padding="mirror")


class TestLosses:
    def test_batch_area_by_hand(self):
        maps = torch.cat([MAP, torch.ones(1, 2, 2)])  # mean areas 0.5 and 1: the batch's is 0.75
        assert losses.batch_area_loss(maps, 0.25).item() == pytest.approx(0.5)
        assert losses.batch_area_loss(maps, 1.0).item() == pytest.approx(0.25)

    def test_one_large_and_one_small_object_cost_nothing(self):
        maps = torch.stack([torch.full((4, 4), 0.1), torch.full((4, 4), 0.4)])
        assert losses.batch_area_loss(maps, 0.25).item() == pytest.approx(0, abs=1e-7)

    @pytest.mark.parametrize("target", [-0.1, 1.5, float("nan")])
    def test_target_area_outside(self, target):
        with pytest.raises(ValueError, match="target_area is"):
            losses.batch_area_loss(MAP, target)

    def test_normalization_by_hand(self):
        assert losses.normalization_loss(MAP, None).item() == pytest.approx((0.25 + 0.25) / 4)
        certain = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        assert losses.normalization_loss(certain, None).item() == 0
        assert losses.normalization_loss(torch.full((2, 3, 3), 0.2), None).item() == pytest.approx(
            0.16
        )

    def test_normalization_sees_neighbours(self):
        """A checkerboard is certain everywhere, but the smoothed map is not."""
        board = torch.eye(2).repeat(3, 3)[None]
        assert losses.normalization_loss(board, None).item() == 0
        assert losses.normalization_loss(board, "official").item() > 0.05

    def test_weighted_entropy_by_hand(self):
        half = torch.full((1, 2, 2), 0.5)
        assert losses.weighted_entropy_loss(half).item() == pytest.approx(math.log(2), abs=1e-6)
        low = losses.weighted_entropy_loss(torch.full((1, 2, 2), 0.2)).item()
        entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
        assert low == pytest.approx(entropy * math.exp(-0.09 / 0.02), rel=1e-5)
        assert low == pytest.approx(0.0056, abs=5e-5)  # «close to zero» (Fig. 10c)

    def test_area_by_hand(self):
        assert losses.area_loss(MAP).item() == pytest.approx(0.5)

    def test_classification_by_hand(self):
        logits = torch.tensor([[0.0, math.log(3)]])
        loss = losses.classification_loss(logits, torch.tensor([1]))
        assert loss.item() == pytest.approx(math.log(4 / 3))

    def test_labels_outside_the_classes(self):
        with pytest.raises(ValueError, match=r"labels run from 1 to 7.*2 classes"):
            losses.classification_loss(torch.zeros(2, 2), torch.tensor([1, 7]))


class TestTotalLoss:
    logits, labels = torch.zeros(1, 2), torch.tensor([0])

    def test_is_the_sum_of_its_terms(self):
        terms = losses.total_loss(self.logits, MAP, self.labels, target_area=0.25)
        assert set(terms) == {"cls", "batch_area", "normalization", "total"}
        parts = sum(float(value) for name, value in terms.items() if name != "total")
        assert terms["total"].item() == pytest.approx(parts)

    @pytest.mark.parametrize(
        ("area", "pixel", "names"),
        [
            ("none", "none", {"cls"}),
            ("batch_area", "none", {"cls", "batch_area"}),
            ("area", "weighted_entropy", {"cls", "area", "weighted_entropy"}),
        ],
    )
    def test_chosen_terms(self, area, pixel, names):
        terms = losses.total_loss(
            self.logits, MAP, self.labels, target_area=0.25, area_term=area, pixel_term=pixel
        )
        assert set(terms) == names | {"total"}

    def test_unknown_term(self):
        with pytest.raises(ValueError, match="'size'"):
            losses.total_loss(self.logits, MAP, self.labels, target_area=0.25, area_term="size")


def _area_on_one_process(rank: int, world: int, rendezvous: str, results: str) -> None:
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    shares = _uneven_maps().split([3, 1])  # processes with batches of different size
    maps = shares[rank].clone().requires_grad_()
    loss = losses.batch_area_loss(maps, 0.25)
    loss.backward()
    torch.save({"loss": loss.detach(), "grad": maps.grad}, f"{results}/{rank}.pt")
    dist.destroy_process_group()


def _uneven_maps() -> torch.Tensor:
    return torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(0))


def test_batch_area_over_processes_equals_one_process(tmp_path):
    """Summed over processes, as data parallelism does before it takes the mean."""
    maps = _uneven_maps().requires_grad_()
    loss = losses.batch_area_loss(maps, 0.25)
    loss.backward()
    rendezvous = f"file://{tmp_path}/rendezvous"
    join(start(_area_on_one_process, (2, rendezvous, str(tmp_path)), 2))
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for part in parts:
        torch.testing.assert_close(part["loss"], loss.detach())
    # every process's gradient counts the whole loss once for each process; the mean takes it out
    together = torch.cat([part["grad"] for part in parts]) / 2
    torch.testing.assert_close(together, maps.grad)
