import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cnnkit import Recipe
from cnnkit.data import find_dataset
from cnnkit.errors import CnnkitError, NotFoundError, UsageError
from cnnkit.models import find_model
from cnnkit.render import build_tables
from cnnkit.results import RecipeList, RecipeRow
from cnnkit.runs import recipe_files
from cnnkit.runs.recipe_files import FOLDER, KINDS, find_recipe, list_recipes

NAMES = [path.stem for path in sorted(FOLDER.glob("*.toml"))]
PUBLISHED = Path(__file__).parents[3] / "shared" / "published" / "experiments.toml"
LECTURES = {
    "mnist-lenet5-lecture": "mnist_lenet5_tanh",
    "mnist-lenet5_relu-lecture": "mnist_lenet5_relu",
    "mnist-convnet2-lecture": "mnist_convnet2",
    "cifar10-mlp-lecture": "cifar10_mlp",
}


def write(text: str, name: str = "mine.toml") -> Path:
    Path(name).write_text(text)
    return Path(name)


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """A catalog of its own, so that the tests do not depend on what is in the package."""
    made = {
        name: recipe_files._parsed(
            name,
            f"model = '{model}'\ndataset = '{dataset}'\n"
            f"[about]\nkind = '{name.rpartition('-')[2]}'\n",
        )
        for name, model, dataset in (
            ("mnist-fast", "convnet3", "mnist"),
            ("cifar10-fast", "resnet20", "cifar10"),
            ("mnist-lenet5-lecture", "lenet5", "mnist"),
            ("mnist-convnet2-lecture", "convnet2", "mnist"),
        )
    }
    monkeypatch.setattr(recipe_files, "_packaged", lambda: made)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_of_the_package_is_whole(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe.about.what
    assert len(recipe.about.what) <= 80
    assert recipe.about.kind in KINDS
    assert recipe.model is not None
    assert recipe.dataset is not None
    assert find_model(recipe.model).spec == recipe.model
    assert find_dataset(recipe.dataset).name == recipe.dataset
    assert name.startswith(f"{recipe.dataset}-")
    assert name.endswith(f"-{recipe.about.kind}")
    assert recipe.recipe.resolved()
    reached = recipe.reached
    assert (reached.accuracy is None) == (reached.n is None)
    assert (reached.seconds is None) == (reached.machine is None)


@pytest.mark.parametrize("name", LECTURES)
def test_the_lectures_settings_are_the_published_ones(name: str) -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published figures are not beside the project")
    published = tomllib.loads(PUBLISHED.read_text())[LECTURES[name]]
    recipe = find_recipe(name).recipe
    assert recipe.optimizer == published["optimizer"]["name"]
    assert recipe.lr == published["optimizer"]["lr"]
    assert recipe.momentum == published["optimizer"].get("momentum", 0.0)
    assert recipe.epochs == published["epochs"]
    assert recipe.batch_size == published["batch_size"]
    assert recipe.schedule == "constant"
    told = published.get("data", "") + published["model"]
    seed = re.search(r"seed (\d+)", told)
    assert recipe.seed == (int(seed[1]) if seed else 0)
    assert recipe.normalize == ("none" if "not normalised" in told else "published")
    if "resized to 32x32" in told:
        assert find_recipe(name).input == "1x32x32"
    assert recipe.weight_decay is None
    assert recipe.resolved().weight_decay == 0


def test_every_lecture_is_held_against_what_was_published() -> None:
    assert {name for name in NAMES if name.endswith("-lecture")} == set(LECTURES)


def test_a_short_name_is_completed_by_dataset_and_network(catalog: Mapping[str, Any]) -> None:
    def name(*asked: str | None) -> str:
        return find_recipe(*asked).name  # type: ignore[arg-type]

    assert name("fast", None, "mnist") == "mnist-fast"
    assert name("FAST", "lenet5", "MNIST") == "mnist-fast"  # the only one; the caller says so
    assert name("fast", "resnet20") == "cifar10-fast"
    assert name("lecture", "convnet2", "mnist") == "mnist-convnet2-lecture"
    assert name("lecture", "lenet5") == "mnist-lenet5-lecture"
    assert name("mnist-fast", "resnet20", "cifar10") == "mnist-fast"


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        (("mnist-fats",), NotFoundError, "unknown recipe 'mnist-fats'; did you mean mnist-fast"),
        (("zzz",), NotFoundError, "`cnnkit recipes` lists all 4"),
        (("fast", None, "digits"), NotFoundError, "no fast recipe for digits; choose one of mnist"),
        (("fast",), UsageError, "fast names 2 recipes; choose one of mnist-fast, cifar10"),
        (("lecture", "resnet20", "mnist"), UsageError, "lecture names 2 recipes"),
        (("best",), NotFoundError, "there is no best recipe"),
        (("fast", None, "mnits"), NotFoundError, "did you mean mnist"),
        (("gone.toml",), NotFoundError, "cannot read the recipe gone.toml"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    catalog: Mapping[str, Any],
    asked: tuple[str, ...],
    kind: type[CnnkitError],
    says: str,
) -> None:
    with pytest.raises(kind, match=re.escape(says)) as caught:
        find_recipe(*asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", "mine.toml has an unknown key 'epoch'; did you mean epochs?"),
        ("zzz = 3", "mine.toml has an unknown key 'zzz'; the keys are epochs, batch_size"),
        ("epochs = 0", "the recipe mine.toml: epochs must be at least 1, not 0"),
        ("lr = 'x'", "lr must be a valid number"),
        ("schedule = 'x'", "schedule must be 'constant', 'cosine', 'linear', 'onecycle' or 'step'"),
        ("momentum = 0.5", "momentum belongs to the optimizer sgd and muon, not to adam"),
        ("model = 3", "model must be a string, not 3"),
        ("model_arg = 'x'", "model_arg must be a table"),
        ("epochs = ", "mine.toml is not TOML"),
        ("about = 3", "about must be a table"),
        ("[about]\nkind = 'slow'", "kind must be 'lecture', 'fast' or 'best', not 'slow'"),
        ("[about]\nwhy = 'x'", "unknown setting 'why'; the settings are what, kind"),
        ("[reached]\naccuracy = 99", "accuracy must be at most 1, not 99"),
        ("[epochs]\nx = 1", "epochs must be a valid integer"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        find_recipe(write(text))
    assert "\n" not in str(caught.value)


def test_a_file_is_a_recipe() -> None:
    recipe = find_recipe(
        write(
            "model = 'mlp'\ninput = '14'\nbatch-size = 7\noptimizer = 'muon'\n"
            "[model_arg]\nhidden = '8,4'\ndropout = 0.1\n[reached]\naccuracy = 0.5\nn = 2\n"
        )
    )
    assert (recipe.model, recipe.dataset, recipe.input) == ("mlp", None, "14")
    assert recipe.model_arguments == {"hidden": "8,4", "dropout": "0.1"}
    assert recipe.recipe == Recipe.of(batch_size=7, optimizer="muon")
    assert recipe.settings == {"batch_size": 7, "optimizer": "muon"}
    assert (recipe.reached.accuracy, recipe.reached.n, recipe.reached.seconds) == (0.5, 2, None)


def test_another_optimizer_takes_nothing_of_the_recipes_own() -> None:
    recipe = find_recipe(write("optimizer = 'sgd'\nlr = 0.1\nmomentum = 0.5\nepochs = 3\n"))
    assert recipe.merged({"epochs": 4}) == (
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "epochs": 4},
        (),
    )
    assert recipe.merged({"optimizer": "adam"}) == (
        {"optimizer": "adam", "epochs": 3},
        ("lr", "momentum"),
    )
    assert recipe.merged({"optimizer": "sgd", "lr": 0.2})[0]["momentum"] == 0.5


def test_the_list_says_what_is_unknown() -> None:
    row = RecipeRow("a-fast", "fast", "lenet5", "a", "x", 3, None, None, None, None, None)
    listed = RecipeList((row,))
    assert listed.to_dict()["recipes"][0]["accuracy"] is None
    cells = build_tables(listed)[0].formatted()[0]
    assert cells.count("unknown") == 4
    assert not any("time" in note for note in build_tables(listed)[0].notes)
    assert {one.name for one in list_recipes().recipes} == set(NAMES)


def test_a_time_is_told_with_its_machine() -> None:
    def row(name: str, machine: str | None) -> RecipeRow:
        return RecipeRow(name, "fast", "lenet5", "a", "x", 3, 0.9, 1, None, 4.25, machine)

    fast, other, unknown = row("a", "2 cores"), row("b", "a laptop"), row("c", None)

    def told(*rows: RecipeRow) -> list[str]:
        return [one for one in build_tables(RecipeList(rows))[0].notes if one.startswith("time")]

    assert told(fast, fast) == ["time: of a full run, median, on 2 cores"]
    assert told(fast, other, unknown) == [
        "time: of a full run, median, of a: on 2 cores",
        "time: of a full run, median, of b: on a laptop",
        "time: of a full run, median, of c: on an unknown machine",
    ]
    records = RecipeList((other,)).records()
    assert (records.columns[-1], records.rows[0][-1]) == ("machine", "a laptop")
