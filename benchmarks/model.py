"""Time SAT against its plain form and against the bare classifier, after showing that it is equal.

    python benchmarks/model.py            # DeiT-S on a CPU; on a GPU DeiT-T, -S and -B
    python benchmarks/model.py --backbone deit_small_patch16_224 --precision bf16    # a slice
    python benchmarks/model.py --small    # the same steps on a tiny model: seconds

Every form at every setting (a *candidate*) lives in a process of its own, which gives its peak
memory; the processes take turns, round by round, so that a ratio compares times from the same
minutes. Writes ``results/model_<device>.json``: equality, operations and bytes, the machine's
matmul ceiling, all times, and the ratios beside their targets. The file is written after each
batch size, and slices of one commit and device add up in it.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from benchmarks.goals import say  # noqa: E402
from benchmarks.targets import TARGETS, TASKS, WORK, Rows, Target, judge, limits  # noqa: E402
from satkit import create_model  # noqa: E402
from satkit.choices import check_choice  # noqa: E402
from satkit.cost import HALF, parameter_count, peak_bytes  # noqa: E402
from satkit.losses import total_loss  # noqa: E402
from satkit.model import Localization  # noqa: E402
from satkit.results import (  # noqa: E402
    device_name,
    device_slug,
    provenance,
    read_json,
    write_json,
)
from satkit.training import allow_tf32, compiled, parameter_groups  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
TINY, SMALL, BASE = (f"deit_{size}_patch16_224" for size in ("tiny", "small", "base"))
LAMBDA = 0.35
#: Largest deviation from the plain form in fp32, as a share of the largest value
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}
#: Memory of a process on Linux in pages of 2 MB that are kept; weights packed for inference
CPU_BEST = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1073741824:"
    "glibc.malloc.trim_threshold=8589934592:glibc.malloc.hugetlb=1",
    "TORCHINDUCTOR_FREEZING": "1",
}
#: Many candidates compile side by side, each with as many processes as this
COMPILERS = {"TORCHINDUCTOR_COMPILE_THREADS": str(min(4, os.cpu_count() or 1))}
#: What the rows of one file have in common
SAME = ("device", "processor", "commit", "code", "torch", "timm")
#: What a row is the measurement of
KEY = ("backbone", "form", "setting", "task", "batch")


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
    """What one backbone is measured at; the targets look at the largest batch that fits.

    Attributes:
        backbone: By its timm name.
        candidates: What is compared.
        batches: Images a step.
        rounds: How often each candidate takes its turn.
        steps: That are timed in a turn.
        warm_ups: Steps before them that are not: on a GPU, memory is handed back after each turn.
        image_size: Pixels a side.
        classes: C.
        drop_path: Stochastic depth.
    """

    backbone: str
    candidates: list[Candidate]
    batches: tuple[int, ...]
    rounds: int
    steps: int
    warm_ups: int = 0
    image_size: int = 224
    classes: int = 1000
    drop_path: float = 0.1


def on_gpu() -> list[Plan]:
    """Plain and fused in every precision, and bare in bf16, each with and without compilation."""
    pairs = [(f, p) for p in ("fp32", "tf32", "bf16") for f in ("plain", "fused")]
    pairs += [("bare", "bf16")]
    every = [Candidate(*pair, compile) for pair in pairs for compile in (False, True)]
    return [
        Plan(SMALL, every, (64, 256), rounds=5, steps=5, warm_ups=1),
        Plan(TINY, every, (64, 256), rounds=5, steps=5, warm_ups=1),
        Plan(BASE, every, (32, 128), rounds=5, steps=3, warm_ups=1),
    ]


def on_cpu() -> list[Plan]:
    """DeiT-S in fp32; ours also compiled, in a process with the memory settings."""
    forms = [Candidate(form) for form in ("plain", "fused", "bare")]
    best = Candidate("fused", "fp32", True, CPU_BEST)
    return [Plan(SMALL, [*forms, best], (8, 32), rounds=7, steps=1)]


def small() -> list[Plan]:
    """Seconds: DeiT-T on images of 32 pixels, not compiled."""
    forms = [Candidate(form) for form in ("plain", "fused", "bare")]
    return [Plan(TINY, forms, (2, 4), rounds=2, steps=1, warm_ups=1, image_size=32, classes=10)]


def chosen(plans: list[Plan], backbone: str, precision: str) -> list[Plan]:
    """The plans of a backbone with the candidates of a precision; ``""``: all.

    Raises:
        ValueError: No plan has that backbone or precision.
    """
    if backbone:
        check_choice("backbone", backbone, [plan.backbone for plan in plans])
        plans = [plan for plan in plans if plan.backbone == backbone]
    if precision:
        check_choice("precision", precision, sorted(precisions(plans)))
    return [
        replace(p, candidates=[c for c in p.candidates if precision in ("", c.precision)])
        for p in plans
    ]


def precisions(plans: list[Plan]) -> set[str]:
    """Of all candidates."""
    return {candidate.precision for plan in plans for candidate in plan.candidates}


# -- the forms ----------------------------------------------------------------------------------


def build(form: str, plan: Plan) -> nn.Module:
    """The form's model, with the same weights in ``plain`` and ``fused``."""
    torch.manual_seed(0)
    if form == "bare":
        return timm.create_model(
            plan.backbone, num_classes=plan.classes, img_size=plan.image_size,
            drop_path_rate=plan.drop_path,
        )  # fmt: skip
    model = create_model(
        "sat", plan.backbone, plan.classes, image_size=plan.image_size, drop_path=plan.drop_path
    )
    return PlainSAT(model) if form == "plain" else model


def random_batch(plan: Plan, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels, made on the device."""
    generator = torch.Generator(device).manual_seed(1)
    side = plan.image_size
    images = torch.randn(size, 3, side, side, generator=generator, device=device)
    return images, torch.arange(size, device=device) % plan.classes


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
        self.candidate, self.plan, self.threads = candidate, plan, threads
        self.device = torch.device("cuda" if on_cuda() else "cpu")
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

    def run(self, task: str, batch: int, steps: int, warm_ups: int) -> dict[str, Any]:
        """Time some steps, and leave no memory behind that another candidate may want.

        Args:
            task: ``inference`` or ``training``.
            batch: Images a step.
            steps: That are timed.
            warm_ups: Steps before them.

        Returns:
            Wall and CPU ``seconds`` a step and the peak of memory in MB, weights included; only
            ``oom`` where the GPU's memory is too small.
        """
        found: dict[str, Any] = {"oom": True}
        with suppress(torch.cuda.OutOfMemoryError):
            found = self._timed(task, batch, steps, warm_ups)
        self.optimizer.zero_grad()
        hand_back()
        return found

    def _timed(self, task: str, batch: int, steps: int, warm_ups: int) -> dict[str, Any]:
        self.model.train(task == "training")
        step = self.train_step if task == "training" else self.inference_step
        images, labels = random_batch(self.plan, batch, self.device)
        if on_cuda():
            torch.cuda.reset_peak_memory_stats()
        for _ in range(warm_ups):
            step(images, labels)
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

    def outcome(self, batch: int = 2) -> dict[str, Tensor]:
        """What evaluation and one step of training give: logits, maps, loss and gradients."""
        images, labels = random_batch(self.plan, batch, self.device)
        self.model.eval()
        with torch.no_grad(), self.autocast():
            found = parts(self.network(images), "evaluated ")
        self.model.train()
        with self.autocast():
            output = self.network(images)
        loss = loss_of(output, labels)
        loss.backward()
        found |= {**parts(output), "loss": loss.detach()[None]}
        return found | {
            f"gradient of {name}": above_rounding(name, parameter.grad)
            for name, parameter in self.model.named_parameters()
        }

    def compare(self) -> dict[str, float]:
        """Deviations of this form, as it is timed, from the plain form in fp32.

        Returns:
            Of logits, maps and loss, and the largest of all gradients. The bare classifier, which
            draws no maps, is compared with itself in fp32.
        """
        found = self.outcome()
        plain = Candidate("bare" if self.candidate.form == "bare" else "plain")
        expected = Bench(plain, self.plan, self.threads).outcome()
        shares = {name: deviation(found[name], value) for name, value in expected.items()}
        gradients = {k: v for k, v in shares.items() if k.startswith("gradient")}
        rest = {k: v for k, v in shares.items() if k not in gradients}
        return {**rest, "gradients": max(gradients.values())}


def parts(output: Localization | Tensor, prefix: str = "") -> dict[str, Tensor]:
    """Logits and maps in single precision; logits alone of the bare classifier."""
    if isinstance(output, Tensor):
        return {f"{prefix}logits": output.detach().float()}
    both = {"logits": output.logits, "maps": output.maps}
    return {f"{prefix}{name}": value.detach().float() for name, value in both.items()}


def above_rounding(name: str, gradient: Tensor) -> Tensor:
    """A gradient without that of the keys' bias, which softmax makes zero but for rounding."""
    if not name.endswith("qkv.bias"):
        return gradient
    query, _, value = gradient.chunk(3)
    return torch.cat([query, value])


def deviation(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def on_cuda() -> bool:
    """Whether there is a GPU."""
    return torch.cuda.is_available()


def synchronize() -> None:
    """Wait for the device."""
    if on_cuda():
        torch.cuda.synchronize()


def hand_back() -> None:
    """Give a GPU's memory that is not used back, for the processes beside this one."""
    if on_cuda():
        torch.cuda.empty_cache()


# -- processes that take turns --------------------------------------------------------------------


class Remote:
    """A :class:`Bench` in a process of its own; ``ask``, then ``answer``."""

    def __init__(self, candidate: Candidate, plan: Plan, threads: int) -> None:
        context, before = get_context("spawn"), dict(os.environ)
        self.pipe, other = context.Pipe()
        os.environ.update(COMPILERS | candidate.environment)
        try:
            arguments = (candidate, plan, threads, other)
            self.process = context.Process(target=serve, args=arguments, daemon=True)
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        other.close()

    def ask(self, method: str, *arguments: Any) -> None:
        """Have a method of the :class:`Bench` called."""
        self.pipe.send((method, arguments))

    def answer(self) -> dict[str, Any]:
        """What it returned.

        Raises:
            SystemExit: The process ended.
        """
        try:
            return self.pipe.recv()
        except EOFError:
            raise SystemExit("a candidate's process ended, see above") from None

    def run(self, *order: Any) -> dict[str, Any]:
        """See :meth:`Bench.run`."""
        self.ask("run", *order)
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join()


def serve(candidate: Candidate, plan: Plan, threads: int, pipe: Any) -> None:
    """What a candidate's process does: call what is asked for until it is told to stop."""
    bench = Bench(candidate, plan, threads)
    while (order := pipe.recv()) is not None:
        method, arguments = order
        pipe.send(getattr(bench, method)(*arguments))


def measure(plan: Plan, threads: int, own_process: bool) -> Iterator[Rows]:
    """Rows of all candidates, which take turns; inference first, since memory only grows.

    Args:
        plan: What is measured.
        threads: Of a CPU.
        own_process: Each candidate in a process of its own.

    Yields:
        The rows of a task at a batch size.
    """
    make = Remote if own_process else Bench
    benches = {candidate: make(candidate, plan, threads) for candidate in plan.candidates}
    for task in TASKS:
        for batch in plan.batches:
            rows = []
            for candidate, found in in_turn(benches, plan, task, batch).items():
                row = row_of(plan, candidate, task, batch, found)
                if not own_process:
                    row.pop("peak_mb", None)
                rows.append(row)
                print(describe(row), flush=True)
            yield rows
    if own_process:
        for bench in benches.values():
            bench.close()


def in_turn(
    benches: dict[Candidate, Any], plan: Plan, task: str, batch: int
) -> dict[Candidate, list[dict[str, Any]]]:
    """What each candidate found in its rounds, after a first step, which compiles, and a round.

    A candidate that ran out of memory once takes no further turn.
    """
    found = {c: [bench.run(task, batch, 1, 0)] for c, bench in benches.items()}
    for _ in range(plan.rounds + 1):
        for candidate, bench in benches.items():
            if "oom" not in found[candidate][-1]:
                found[candidate].append(bench.run(task, batch, plan.steps, plan.warm_ups))
    return found


def row_of(
    plan: Plan, candidate: Candidate, task: str, batch: int, found: list[dict[str, Any]]
) -> dict[str, Any]:
    """One line of the result, from what :func:`in_turn` found."""
    values = (plan.backbone, candidate.form, candidate.setting, task, batch)
    row = dict(zip(KEY, values, strict=True))
    if "oom" in found[-1]:
        return {**row, "oom": True}
    first, _, *rounds = found
    seconds = [turn["seconds"] for turn in rounds]
    return {
        **row,
        "seconds": statistics.median(seconds),
        "round_seconds": seconds,
        "spread": max(seconds) / min(seconds),
        "cpu_seconds": statistics.median(turn["cpu_seconds"] for turn in rounds),
        "images_per_second": batch / statistics.median(seconds),
        "peak_mb": max(turn["peak_mb"] for turn in rounds),
        "first_seconds": first["seconds"],
    }


def describe(row: dict[str, Any]) -> str:
    """A row as a line of text."""
    name = (
        f"{row['backbone']} {row['task']:9} batch {row['batch']:<4} {row['form']:5} "
        f"{row['setting']:20}"
    )
    if "oom" in row:
        return f"{name} out of memory"
    memory = f"{row['peak_mb']:8.0f} MB" if "peak_mb" in row else ""
    return f"{name} {row['images_per_second']:8.1f} images/s {memory}"


# -- equality, operations, bytes, ceiling ----------------------------------------------------------


def equality(plan: Plan, threads: int, own_process: bool) -> dict[str, dict[str, float]]:
    """Compare every candidate, as it is timed but for stochastic depth, with the plain form.

    Args:
        plan: Whose candidates are compared; in processes of their own all at once.
        threads: Of a CPU.
        own_process: Each candidate in a process of its own.

    Returns:
        Deviations by form and setting; see :meth:`Bench.compare`.

    Raises:
        SystemExit: One is too large.
    """
    exact = replace(plan, drop_path=0.0)
    if own_process:
        remotes = {c: Remote(c, exact, threads) for c in plan.candidates}
        for remote in remotes.values():
            remote.ask("compare")
        report = {candidate: remote.answer() for candidate, remote in remotes.items()}
        for remote in remotes.values():
            remote.close()
    else:
        report = {c: Bench(c, exact, threads).compare() for c in plan.candidates}
    hand_back()
    for candidate, shares in report.items():
        check_equal(candidate, shares)
    return {
        f"{c.form} {c.setting}": {**shares, "tolerance": TOLERANCE[c.precision]}
        for c, shares in report.items()
    }


def check_equal(candidate: Candidate, shares: dict[str, float]) -> None:
    """Refuse to time what is not equal.

    Raises:
        SystemExit: A deviation is above the tolerance.
    """
    limit = TOLERANCE[candidate.precision]
    far = {name: share for name, share in shares.items() if not share <= limit}
    if far:
        name = f"{candidate.form} SAT in {candidate.setting}"
        raise SystemExit(f"{name} is not the plain one: {far}, above {limit}")


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


# -- the result file -------------------------------------------------------------------------------


def merged(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """Add to a result file what was measured now, if it is of the same code and device.

    Args:
        path: The file; it need not be there.
        new: ``equality``, ``counts``, ``ceiling_tflops``, ``rows`` and the rest of a file. Of what
            both have, this stays.

    Returns:
        All of it, for the file.
    """
    old = read_json(path) if path.is_file() else {}
    if not old or any(old["provenance"].get(k) != new["provenance"].get(k) for k in SAME):
        return new
    if old["threads"] != new["threads"]:
        return new
    measured = {name_of(row) for row in new["rows"]}
    equal = old["equality"]
    return {
        **new,
        "equality": equal | {k: equal.get(k, {}) | v for k, v in new["equality"].items()},
        "counts": old["counts"] | new["counts"],
        "ceiling_tflops": old["ceiling_tflops"] | new["ceiling_tflops"],
        "rows": [row for row in old["rows"] if name_of(row) not in measured] + new["rows"],
    }


def name_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row is the measurement of."""
    return tuple(row[name] for name in KEY)


def add_share(row: dict[str, Any], counts: dict[str, Any], ceilings: dict[str, float]) -> None:
    """Say in a row which share of the matmul ceiling its speed is."""
    if "oom" not in row:
        gflop = counts[row["form"]][f"{WORK[row['task']]}_gflop"]
        reached = gflop * row["images_per_second"] / 1e3
        row["share_of_ceiling"] = reached / ceilings[row["setting"].split()[0]]


def write_judged(path: Path, content: dict[str, Any], targets: list[Target], backbone: str) -> None:
    """Write a result file with its goals and notes, judged on the rows of a backbone."""
    goals = judge(content["rows"], targets, backbone)
    counts = content["counts"].get(backbone, {})
    notes = limits(content["rows"], counts, backbone)
    write_json(path, {**content, "goals": goals, "notes": notes})


def main(
    tiny: Annotated[bool, typer.Option("--small", help="A tiny model, in seconds.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the result file.")] = RESULTS,
    threads: Annotated[int, typer.Option(help="Of a CPU.")] = 2,
    backbone: Annotated[str, typer.Option(help="Only this one, by its timm name.")] = "",
    precision: Annotated[str, typer.Option(help="Only fp32, tf32 or bf16.")] = "",
) -> None:
    kind = "cuda" if on_cuda() and not tiny else "cpu"
    plans = chosen(
        small() if tiny else on_gpu() if kind == "cuda" else on_cpu(), backbone, precision
    )
    torch.set_num_threads(threads)
    device = device_name()
    path = out / f"model_{'small' if tiny else device_slug(device)}.json"
    sides = (256,) if tiny else (4096, 8192) if kind == "cuda" else (1024, 2048)
    ceilings = {p: ceiling(p, sides) for p in sorted(precisions(plans))}
    hand_back()
    head: dict[str, Any] = {
        "load_average": os.getloadavg()[0],
        "threads": threads,
        "ceiling_tflops": ceilings,
        "provenance": provenance(device, "random pixels") | {"timm": timm.__version__},
    }
    for plan in plans:
        name = plan.backbone
        head["equality"] = {name: equality(plan, threads, own_process=not tiny)}
        head["counts"] = {name: {form: count(form, plan) for form in ("plain", "fused", "bare")}}
        print(head, flush=True)
        for rows in measure(plan, threads, own_process=not tiny):
            for row in rows:
                add_share(row, head["counts"][name], ceilings)
            write_judged(
                path, merged(path, {**head, "rows": rows}), TARGETS[kind], TINY if tiny else SMALL
            )
    say(read_json(path)["goals"])


if __name__ == "__main__":
    typer.run(main)
