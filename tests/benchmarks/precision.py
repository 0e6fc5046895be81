"""What bf16 costs in accuracy: the same trainings in bf16 and in fp32, seed by seed.

Prints the test accuracy of both for every seed, the mean difference with its deviation, and the
time of both. On a processor without AVX512_BF16 or AMX torch emulates bf16, several times
slower than fp32; `--by-fp32` does the convolutions in fp32 on the same rounded numbers and rounds
what they come to, which is what bf16 means: for accuracy, not for times. It first holds the two
against each other on a convolution, forward and backward.

    python tests/benchmarks/precision.py --data-dir FOLDER_WITH_MNIST
    python tests/benchmarks/precision.py speednet CIFAR10_AS_JPEG --recipe fast --by-fp32
"""

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import cnnkit
from cnnkit import Recipe
from cnnkit.runs.recipe_files import find_recipe

PRECISIONS = ("fp32", "bf16")
CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


class Bf16ByFp32(TorchDispatchMode):
    """Convolves numbers in bf16 by the kernels for fp32: the sums in fp32, the results rounded.

    Attributes:
        count: convolutions done so, forward and backward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        """Do one operation of torch."""
        if operator not in CONVOLUTIONS or args[0].dtype != torch.bfloat16:
            return operator(*args, **(kwargs or {}))
        self.count += 1
        out = operator(*(a.float() if isinstance(a, Tensor) else a for a in args))
        if isinstance(out, Tensor):
            return out.bfloat16()
        return tuple(None if part is None else part.bfloat16() for part in out)


def agreement() -> None:
    """Print how often a convolution by fp32 gives the number that torch's own in bf16 gives."""
    generator = torch.Generator().manual_seed(0)
    for maps in (24, 64, 256):
        images, weight, slope = (
            torch.randn(shape, generator=generator).bfloat16()
            for shape in ((20, maps, 16, 16), (maps, maps, 3, 3), (20, maps, 16, 16))
        )
        answers: list[list[Tensor]] = []
        for context in (contextlib.nullcontext(), Bf16ByFp32()):
            leaves = [tensor.clone().requires_grad_() for tensor in (images, weight)]
            with context:
                out = functional.conv2d(*leaves, padding=1)
                answers.append([out.detach(), *torch.autograd.grad(out, leaves, slope)])
        for name, theirs, ours in zip(("output", "image", "weight"), *answers, strict=True):
            equal = (theirs == ours).double().mean()
            # Of the largest: a sum that cancels has an error of its own.
            off = (theirs.double() - ours.double()).abs().max() / theirs.double().abs().max()
            print(f"{maps:3} maps  {name:6}  equal {equal:.4%}, off by {off:.1e} of the largest")


def main() -> None:
    """Run both for every seed, and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="lenet5_relu")
    parser.add_argument("dataset", nargs="?", default="mnist")
    parser.add_argument("--recipe", help="as of `cnnkit train`; 2 epochs of the defaults without")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--by-fp32", action="store_true", help="convolve bf16 by fp32 kernels")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    settings: dict[str, object] = {"epochs": 2, "batch_size": 128}
    if arguments.recipe:
        named = find_recipe(arguments.recipe, arguments.model, arguments.dataset)
        settings, _ = named.merged({})
    if arguments.epochs:
        settings["epochs"] = arguments.epochs
    accuracies: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    if arguments.by_fp32:
        agreement()
    for seed in range(arguments.seeds):
        for precision in arguments.precisions:
            recipe = Recipe.of(**{**settings, "seed": seed, "precision": precision})
            by_fp32 = Bf16ByFp32() if arguments.by_fp32 and precision == "bf16" else None
            with tempfile.TemporaryDirectory() as runs, by_fp32 or contextlib.nullcontext():
                result = cnnkit.train(
                    arguments.model,
                    arguments.dataset,
                    recipe,
                    device=arguments.device,
                    data_dir=arguments.data_dir,
                    runs_dir=Path(runs),
                )
            assert result.test is not None, "a test set is needed"
            assert by_fp32 is None or by_fp32.count, "no convolution was done in bf16"
            accuracies[precision].append(100 * result.test.accuracy)
            seconds[precision].append(sum(epoch.seconds for epoch in result.epochs))
            print(
                f"seed {seed}  {precision}  test accuracy {accuracies[precision][-1]:.2f} %, "
                f"trained in {seconds[precision][-1]:.1f} s",
                flush=True,
            )
    if len(arguments.precisions) < 2:
        return
    pairs = zip(accuracies["bf16"], accuracies["fp32"], strict=True)
    differences = [bf16 - fp32 for bf16, fp32 in pairs]
    spread = statistics.stdev(differences) if len(differences) > 1 else float("nan")
    ratio = statistics.median(seconds["fp32"]) / statistics.median(seconds["bf16"])
    means = ", ".join(f"{name} {statistics.mean(accuracies[name]):.2f} %" for name in PRECISIONS)
    print(f"{arguments.model} on {arguments.dataset}, {settings['epochs']} epochs: {means}")
    print(
        f"bf16 - fp32: {statistics.mean(differences):+.2f} points +- {spread:.2f} "
        f"(n = {arguments.seeds}); bf16 {ratio:.2f} times as fast; torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
