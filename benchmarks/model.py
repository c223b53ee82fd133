"""Time SAT against its plain form and against the bare classifier, after showing that it is equal.

    python benchmarks/model.py            # DeiT-S on a CPU; on a GPU DeiT-T, -S and -B: minutes
    python benchmarks/model.py --small    # the same steps on a tiny model: seconds

Every form at every setting (a *candidate*) lives in a process of its own, which gives its peak
memory; the processes take turns, round by round, so that a ratio compares times from the same
minutes. Writes ``results/model_<device>.json``: equality, operations and bytes, the machine's
matmul ceiling, all times, and the ratios beside their targets.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
import typer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.baselines.sat import PlainSAT  # noqa: E402
from benchmarks.goals import goal, say  # noqa: E402
from satkit import create_model  # noqa: E402
from satkit.cost import HALF, parameter_count  # noqa: E402
from satkit.losses import total_loss  # noqa: E402
from satkit.model import Localization  # noqa: E402
from satkit.results import device_name, device_slug, provenance, write_json  # noqa: E402
from satkit.training import allow_tf32, compiled, parameter_groups  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
TINY, SMALL, BASE = (f"deit_{size}_patch16_224" for size in ("tiny", "small", "base"))
DROP_PATH, LAMBDA = 0.1, 0.35
#: Largest deviation from the plain form in fp32, as a share of the largest value
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}
#: Memory of a process on Linux in pages of 2 MB that are kept; weights packed for inference
CPU_BEST = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.trim_threshold=8589934592:glibc.malloc.hugetlb=1",
    "TORCHINDUCTOR_FREEZING": "1",
}


@dataclass(frozen=True)
class Candidate:
    """A form of the model at a setting.

    Attributes:
        form: ``plain`` (as the official program), ``fused`` (satkit's) or ``bare`` (timm's
            classifier alone).
        precision: ``fp32``, ``tf32`` or ``bf16``.
        compile: Through torch.compile.
        environment: Variables of its process.
    """

    form: str
    precision: str = "fp32"
    compile: bool = False
    environment: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def setting(self) -> str:
        """Name of the setting."""
        words = [self.precision, *["compiled"] * self.compile, *["tuned"] * bool(self.environment)]
        return " ".join(words)


@dataclass(frozen=True)
class Plan:
    """What one backbone is measured at; the targets look at the last batch size."""

    backbone: str
    candidates: list[Candidate]
    batches: tuple[int, ...]
    rounds: int
    steps: int
    image_size: int = 224
    classes: int = 1000


def on_gpu() -> list[Plan]:
    """DeiT-S at all settings, DeiT-T and DeiT-B at the official one and at our best."""
    plain = [Candidate("plain", p) for p in ("fp32", "tf32", "bf16")]
    fused = [Candidate("fused", p) for p in ("fp32", "tf32", "bf16")]
    best = [Candidate(form, "bf16", True) for form in ("plain", "fused", "bare")]
    every = [*plain, *fused, Candidate("bare", "bf16"), Candidate("fused", "tf32", True), *best]
    few = [Candidate("plain", "tf32"), Candidate("fused", "tf32"), best[1], best[2]]
    return [
        Plan(SMALL, every, (64, 256), rounds=5, steps=5),
        Plan(TINY, few, (256,), rounds=5, steps=5),
        Plan(BASE, few, (128,), rounds=5, steps=3),
    ]


def on_cpu() -> list[Plan]:
    """DeiT-S in fp32; ours also compiled, in a process with the memory settings."""
    forms = [Candidate(form) for form in ("plain", "fused", "bare")]
    best = Candidate("fused", "fp32", True, CPU_BEST)
    return [Plan(SMALL, [*forms, best], (8, 32), rounds=7, steps=1)]


def small() -> list[Plan]:
    """Seconds: DeiT-T on images of 32 pixels, not compiled."""
    forms = [Candidate(form) for form in ("plain", "fused", "bare")]
    return [Plan(TINY, forms, (2, 4), rounds=2, steps=1, image_size=32, classes=10)]


# -- the forms ----------------------------------------------------------------------------------


def build(form: str, plan: Plan, drop_path: float = DROP_PATH) -> nn.Module:
    """The form's model, with the same weights in ``plain`` and ``fused``."""
    torch.manual_seed(0)
    if form == "bare":
        return timm.create_model(
            plan.backbone, num_classes=plan.classes, img_size=plan.image_size,
            drop_path_rate=drop_path,
        )  # fmt: skip
    model = create_model(
        "sat", plan.backbone, plan.classes, image_size=plan.image_size, drop_path=drop_path
    )
    return PlainSAT(model) if form == "plain" else model


def random_batch(plan: Plan, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 3, plan.image_size, plan.image_size, generator=generator)
    return images.to(device), torch.arange(size, device=device) % plan.classes


def loss_of(output: Localization | Tensor, labels: Tensor) -> Tensor:
    """SAT's losses; cross-entropy for the bare classifier."""
    if isinstance(output, Tensor):
        return cross_entropy(output.float(), labels)
    logits, maps = output.logits.float(), output.maps.float()
    return total_loss(logits, maps, labels, target_area=LAMBDA)["total"]


class Bench:
    """One candidate, ready to be timed."""

    def __init__(self, candidate: Candidate, plan: Plan, threads: int) -> None:
        torch.set_num_threads(threads)
        allow_tf32(candidate.precision)
        torch.backends.cudnn.allow_tf32 = candidate.precision == "tf32"
        self.plan, self.device = plan, torch.device("cuda" if on_cuda() else "cpu")
        self.dtype = HALF.get(candidate.precision)
        self.before = peak_bytes()
        self.model = build(candidate.form, plan).to(self.device)
        groups = parameter_groups(self.model, 0.05)
        self.optimizer = torch.optim.AdamW(
            groups, fused=None if candidate.form == "plain" else True
        )
        self.network = compiled(self.model) if candidate.compile else self.model

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Forward, losses, backward, AdamW."""
        with self.autocast():
            output = self.network(images)
        loss_of(output, labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def inference_step(self, images: Tensor, labels: Tensor) -> None:
        """Forward."""
        with torch.no_grad(), self.autocast():
            self.network(images)

    def autocast(self) -> torch.autocast:
        """Of the precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def run(self, task: str, batch: int, steps: int) -> dict[str, float]:
        """Wall and CPU seconds a step, and the peak of memory in MB, weights included."""
        self.model.train(task == "training")
        step = self.train_step if task == "training" else self.inference_step
        images, labels = random_batch(self.plan, batch, self.device)
        if on_cuda():
            torch.cuda.reset_peak_memory_stats()
        synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step(images, labels)
        synchronize()
        return {
            "seconds": (time.perf_counter() - wall) / steps,
            "cpu_seconds": (time.process_time() - cpu) / steps,
            "peak_mb": (peak_bytes() - self.before) / 1e6,
        }


def on_cuda() -> bool:
    """Whether there is a GPU."""
    return torch.cuda.is_available()


def synchronize() -> None:
    """Wait for the device."""
    if on_cuda():
        torch.cuda.synchronize()


def peak_bytes() -> int:
    """Peak of this process: of torch's memory on a GPU, else of the resident size."""
    if on_cuda():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


# -- processes that take turns --------------------------------------------------------------------


class Remote:
    """A :class:`Bench` in a process of its own."""

    def __init__(self, candidate: Candidate, plan: Plan, threads: int) -> None:
        context, before = get_context("spawn"), dict(os.environ)
        self.pipe, other = context.Pipe()
        os.environ.update(candidate.environment)
        try:
            self.process = context.Process(target=serve, args=(candidate, plan, threads, other))
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        other.close()

    def run(self, *order: Any) -> dict[str, float]:
        """See :meth:`Bench.run`."""
        self.pipe.send(order)
        try:
            return self.pipe.recv()
        except EOFError:
            raise SystemExit("a candidate's process ended, see above") from None

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join()


def serve(candidate: Candidate, plan: Plan, threads: int, pipe: Any) -> None:
    """What a candidate's process does: run what is asked until it is told to stop."""
    bench = Bench(candidate, plan, threads)
    while (order := pipe.recv()) is not None:
        pipe.send(bench.run(*order))


def measure(plan: Plan, threads: int, own_process: bool) -> list[dict[str, Any]]:
    """Median times of all candidates in turn; inference first, since memory only grows."""
    make = Remote if own_process else Bench
    benches = {candidate: make(candidate, plan, threads) for candidate in plan.candidates}
    rows = []
    for task in ("inference", "training"):
        for batch in plan.batches:
            first = {c: bench.run(task, batch, 1) for c, bench in benches.items()}  # compiles
            times: dict[Candidate, list[dict[str, float]]] = {c: [] for c in benches}
            for turn in range(plan.rounds + 1):
                for candidate, bench in benches.items():
                    found = bench.run(task, batch, plan.steps)
                    times[candidate] += [found] * (turn > 0)  # the first turn warms up
            for candidate, found in times.items():
                row = row_of(plan, candidate, task, batch, found)
                if not own_process:
                    del row["peak_mb"]
                rows.append({**row, "first_seconds": first[candidate]["seconds"]})
                print(describe(rows[-1]), flush=True)
    if own_process:
        for bench in benches.values():
            bench.close()
    return rows


def row_of(
    plan: Plan, candidate: Candidate, task: str, batch: int, found: list[dict[str, float]]
) -> dict[str, Any]:
    """One line of the result."""
    seconds, cpu = (statistics.median(f[k] for f in found) for k in ("seconds", "cpu_seconds"))
    return {
        "backbone": plan.backbone,
        "form": candidate.form,
        "setting": candidate.setting,
        "task": task,
        "batch": batch,
        "seconds": seconds,
        "spread": max(f["seconds"] for f in found) / min(f["seconds"] for f in found),
        "cpu_seconds": cpu,
        "images_per_second": batch / seconds,
        "peak_mb": max(f["peak_mb"] for f in found),
    }


def describe(row: dict[str, Any]) -> str:
    """A row as a line of text."""
    memory = f"{row['peak_mb']:8.0f} MB" if "peak_mb" in row else ""
    return (
        f"{row['backbone']} {row['task']:9} batch {row['batch']:<4} {row['form']:5} "
        f"{row['setting']:20} {row['images_per_second']:8.1f} images/s {memory}"
    )


# -- equality, operations, bytes, ceiling ----------------------------------------------------------


def deviation(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def outcome(candidate: Candidate, plan: Plan, batch: int = 2) -> dict[str, Tensor]:
    """Logits, maps, loss and gradients of one batch, without stochastic depth."""
    bench = Bench(candidate, plan, torch.get_num_threads())
    bench.model = build(candidate.form, plan, drop_path=0.0).to(bench.device).train()
    images, labels = random_batch(plan, batch, bench.device)
    with bench.autocast():
        output = bench.model(images)
    loss = loss_of(output, labels)
    loss.backward()
    return {
        "logits": output.logits.detach().float(),
        "maps": output.maps.detach().float(),
        "loss": loss.detach()[None],
        **{f"gradient of {n}": p.grad for n, p in bench.model.named_parameters()},
    }


def equality(plan: Plan) -> dict[str, dict[str, float]]:
    """Deviations of the fused form from the plain form in fp32, by precision; too large: stop."""
    expected, report = outcome(Candidate("plain"), plan), {}
    for precision in {c.precision: None for c in plan.candidates if c.form == "fused"}:
        found = outcome(Candidate("fused", precision), plan)
        shares = {name: deviation(found[name], value) for name, value in expected.items()}
        gradients = [v for name, v in shares.items() if keeps_direction(name)]
        report[precision] = {
            **{name: shares[name] for name in ("logits", "maps", "loss")},
            "gradients": max(gradients) if precision == "fp32" else statistics.median(gradients),
            "tolerance": TOLERANCE[precision],
        }
        check_equal(precision, report[precision])
    return report


def keeps_direction(name: str) -> bool:
    """Whether it is a gradient above rounding: that of a key's bias is zero under softmax."""
    return name.startswith("gradient") and not name.endswith("qkv.bias")


def check_equal(precision: str, shares: dict[str, float]) -> None:
    """Refuse to time what is not equal.

    Raises:
        SystemExit: A deviation is above the tolerance.
    """
    limit = shares["tolerance"]
    far = {name: share for name, share in shares.items() if not share <= limit}
    if far:
        raise SystemExit(f"fused SAT in {precision} is not the plain one: {far}, above {limit}")


def count(form: str, plan: Plan) -> dict[str, float]:
    """Operations (two a multiply-add) and bytes of one image, in fp32.

    Bytes are those of all different tensors that the forward pass keeps for the backward pass.
    """
    model, kept = build(form, plan).train(), {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)  # alive, so addresses differ
        return tensor

    images, labels = random_batch(plan, 1, torch.device("cpu"))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of(model(images), labels)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        loss = loss_of(model(images), labels)
        forward = counter.get_total_flops()
        loss.backward()
    return {
        "parameters": parameter_count(model),
        "forward_gflop": forward / 1e9,
        "training_gflop": counter.get_total_flops() / 1e9,
        "saved_mb": sum(size for size, _ in kept.values()) / 1e6,
    }


def ceiling(precision: str, sides: tuple[int, ...]) -> float:
    """Best TFLOP/s of a square matrix product in that precision."""
    allow_tf32(precision)
    device = torch.device("cuda" if on_cuda() else "cpu")
    best = 0.0
    for side in sides:
        a, b = torch.randn(2, side, side, dtype=HALF.get(precision), device=device)
        for _ in range(6):
            synchronize()
            start = time.perf_counter()
            for _ in range(10 if on_cuda() else 1):
                a @ b
            synchronize()
            calls = 10 if on_cuda() else 1
            best = max(best, calls * 2 * side**3 / (time.perf_counter() - start) / 1e12)
    return best


# -- targets ---------------------------------------------------------------------------------------

Rows = list[dict[str, Any]]


def pick(rows: Rows, form: str, setting: str, task: str) -> dict[str, Any]:
    """The row of DeiT-S (or of the only backbone) at the largest batch."""
    fitting = [r for r in rows if (r["form"], r["setting"], r["task"]) == (form, setting, task)]
    fitting = [r for r in fitting if r["backbone"] == rows[0]["backbone"]]
    return max(fitting, key=lambda row: row["batch"])


def best(rows: Rows, form: str, task: str) -> dict[str, Any]:
    """The fastest row of a form at that batch."""
    own = [row for row in rows if row["backbone"] == rows[0]["backbone"]]
    settings = {row["setting"] for row in own if row["form"] == form}
    return min((pick(rows, form, s, task) for s in settings), key=lambda row: row["seconds"])


def speed(rows: Rows, form: str, setting: str, task: str) -> float:
    """Images a second of a form at a setting; ``best``: at its fastest one."""
    row = best(rows, form, task) if setting == "best" else pick(rows, form, setting, task)
    return row["images_per_second"]


@dataclass(frozen=True)
class Target:
    """A number that is wanted, and how it follows from the rows."""

    name: str
    value: Callable[[Rows], float]
    target: float
    more: bool = True
    unit: str = "x"


def faster(task: str, ours: str, theirs: str, target: float) -> Target:
    """How many times faster the fused form is than the plain one."""
    return Target(
        f"{task}: fused, {ours} / plain, {theirs}: images/s",
        lambda rows: speed(rows, "fused", ours, task) / speed(rows, "plain", theirs, task),
        target,
    )


def overhead(task: str, setting: str) -> Target:
    """SAT's own time, as a share of the bare classifier's."""
    return Target(
        f"{task}: SAT's own time over the bare classifier, {setting}",
        lambda rows: speed(rows, "bare", setting, task) / speed(rows, "fused", setting, task) - 1,
        0.05,
        more=False,
        unit="share",
    )


TASKS = ("inference", "training")
TARGETS = {
    "cuda": [
        faster("training", "best", "fp32", 4),
        faster("training", "best", "tf32", 4),
        faster("inference", "best", "fp32", 6),
        faster("inference", "best", "tf32", 6),
        faster("training", "bf16 compiled", "bf16 compiled", 1.5),
        Target(
            "training: peak memory, fused, best / plain, tf32",
            lambda rows: (
                best(rows, "fused", "training")["peak_mb"]
                / pick(rows, "plain", "tf32", "training")["peak_mb"]
            ),
            0.4,
            more=False,
        ),
        Target(
            "training: fused, best: images/s (on an H100)",
            lambda rows: speed(rows, "fused", "best", "training"),
            6000,
            unit="images/s",
        ),
        *[overhead(task, setting) for task in TASKS for setting in ("bf16", "bf16 compiled")],
    ],
    "cpu": [
        faster("training", "fp32", "fp32", 1.2),
        faster("inference", "fp32", "fp32", 1.5),
        faster("training", "best", "fp32", 2),
        faster("inference", "best", "fp32", 2),
        *[overhead(task, "fp32") for task in TASKS],
    ],
}


def judge(rows: Rows, targets: list[Target]) -> dict[str, dict[str, Any]]:
    """All targets with what was measured, and whether they are reached."""
    return {t.name: goal(t.value(rows), t.target, more=t.more, unit=t.unit) for t in targets}


def limits(rows: Rows, counts: dict[str, dict[str, float]]) -> list[str]:
    """How fast fused could be at most: at the machine's ceiling, against plain in fp32."""
    lines = []
    for task, work in (("inference", "forward_gflop"), ("training", "training_gflop")):
        share = pick(rows, "plain", "fp32", task)["share_of_ceiling"]
        most = counts["plain"][work] / counts["fused"][work] / share
        lines.append(
            f"In {task}, plain reaches {100 * share:.0f} % of the matmul ceiling in fp32: at the "
            f"whole ceiling, fused would be {most:.2f} x as fast."
        )
    return lines


def main(
    tiny: Annotated[bool, typer.Option("--small", help="A tiny model, in seconds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = RESULTS,
    threads: Annotated[int, typer.Option(help="Of a CPU.")] = 2,
) -> None:
    kind = "cuda" if on_cuda() else "cpu"
    plans = small() if tiny else on_gpu() if kind == "cuda" else on_cpu()
    torch.set_num_threads(threads)
    device = device_name()
    head: dict[str, Any] = {"load_average": os.getloadavg()[0], "threads": threads}
    head["equality"] = {plan.backbone: equality(plan) for plan in plans}
    head["counts"] = {
        p.backbone: {f: count(f, p) for f in ("plain", "fused", "bare")} for p in plans
    }
    precisions = sorted({c.precision for plan in plans for c in plan.candidates})
    sides = (256,) if tiny else (4096, 8192) if kind == "cuda" else (1024, 2048)
    head["ceiling_tflops"] = {p: ceiling(p, sides) for p in precisions}
    print(head, flush=True)
    rows = [row for plan in plans for row in measure(plan, threads, own_process=not tiny)]
    for row in rows:
        work = head["counts"][row["backbone"]][row["form"]]
        gflop = work["training_gflop" if row["task"] == "training" else "forward_gflop"]
        reached = gflop * row["images_per_second"] / 1e3
        row["share_of_ceiling"] = reached / head["ceiling_tflops"][row["setting"].split()[0]]
    head["goals"] = judge(rows, TARGETS[kind])
    head["notes"] = limits(rows, head["counts"][rows[0]["backbone"]])
    say(head["goals"])
    origin = provenance(device, "random pixels") | {"timm": timm.__version__}
    slug = "small" if tiny else device_slug(device)
    write_json(out / f"model_{slug}.json", {**head, "rows": rows, "provenance": origin})


if __name__ == "__main__":
    typer.run(main)
