"""What bf16 costs in accuracy: the same trainings in bf16 and in fp32, seed by seed.

Prints the test accuracy of both for every seed, the mean difference with its deviation, and the
time of both. On a processor without AVX512_BF16 or AMX bf16 is computed by way of fp32: slowly, but
with the same rounding.

    python tests/benchmarks/precision.py --data-dir FOLDER_WITH_MNIST
    python tests/benchmarks/precision.py speednet CIFAR10_AS_JPEG --recipe fast
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

import cnnkit
from cnnkit import Recipe
from cnnkit.training.recipe_files import find_recipe

PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Run both for every seed, and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="lenet5_relu")
    parser.add_argument("dataset", nargs="?", default="mnist")
    parser.add_argument("--recipe", help="as of `cnnkit train`; 2 epochs of the defaults without")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=3)
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
    for seed in range(arguments.seeds):
        for precision in PRECISIONS:
            recipe = Recipe.of(**{**settings, "seed": seed, "precision": precision})
            with tempfile.TemporaryDirectory() as runs:
                result = cnnkit.train(
                    arguments.model,
                    arguments.dataset,
                    recipe,
                    device=arguments.device,
                    data_dir=arguments.data_dir,
                    runs_dir=Path(runs),
                )
            assert result.test is not None, "a test set is needed"
            accuracies[precision].append(100 * result.test.accuracy)
            seconds[precision].append(sum(epoch.seconds for epoch in result.epochs))
            print(
                f"seed {seed}  {precision}  test accuracy {accuracies[precision][-1]:.2f} %, "
                f"trained in {seconds[precision][-1]:.1f} s",
                flush=True,
            )
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
