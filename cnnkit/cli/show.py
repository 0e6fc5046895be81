"""`cnnkit show`: images of a dataset to look at."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import DATA_PANEL, AllowLarge, DataDir, Workers, complete_dataset
from cnnkit.cli.output import Output, with_default, with_output
from cnnkit.data.mean_std import NORMALIZE_WORDS
from cnnkit.errors import UsageError
from cnnkit.events import Warned, emit
from cnnkit.system.shapes import parse_image_shape

if TYPE_CHECKING:
    from cnnkit.data.loading.augmentation import Augmentation

CHOICE_PANEL = "Which images"
MOST_IMAGES = 10_000
MOST_SIGNS = 20  # that a warning names


@partial(with_output, suffixes=(".png",))
def show(
    output: Output,
    dataset: Annotated[
        str,
        typer.Argument(
            help="A name, a folder, an archive, or shards such as 'data-{000..127}.tar'.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help=with_default("A split, or all.", "train where there are splits, else all"),
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    num: Annotated[
        int,
        typer.Option(
            "-n",
            "--num",
            min=1,
            max=MOST_IMAGES,
            help="How many images to choose.",
            rich_help_panel=CHOICE_PANEL,
        ),
    ] = 16,
    class_names: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Only this class; repeatable.",
            show_default=False,
            rich_help_panel=CHOICE_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Chooses the images.", rich_help_panel=CHOICE_PANEL)
    ] = 0,
    index: Annotated[
        list[int] | None,
        typer.Option(
            "--index",
            metavar="N",
            help="Show this image, counted from 0; repeatable.",
            show_default=False,
            rich_help_panel=CHOICE_PANEL,
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="CxHxW",
            help="Show beside it what a network of this input gets; one number is a square.",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    normalized: Annotated[
        bool,
        typer.Option(
            "--normalized",
            help="Show beside it the normalized image.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = False,
    normalize: Annotated[
        str | None,
        typer.Option(
            metavar=f"{'|'.join(NORMALIZE_WORDS)}|MEAN/STD",
            help=with_default("Mean and std, as for train; implies --normalized.", "auto"),
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    augmented: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Show beside it what training makes of it in its first epochs; a name, or a file.",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    allow_large: AllowLarge = False,
    data_dir: DataDir = None,
    workers: Workers = None,
) -> None:
    """Look at images of a dataset: `cnnkit show cifar10 -o samples.png`.

    A labelled grid as a PNG file, a preview in a terminal that shows color, else a table.
    """
    is_picture = output.names_picture()
    shape = None if input_shape is None else parse_image_shape(input_shape)
    augmentation = None if augmented is None else _augmentation(augmented, dataset)

    from cnnkit.stats.show.samples import show_dataset

    result = show_dataset(
        dataset,
        split=split,
        num=num,
        classes=class_names or (),
        indices=index or (),
        seed=seed,
        input=shape,
        normalized=normalized,
        normalize=normalize,
        augmentation=augmentation,
        allow_large=allow_large,
        data_dir=data_dir,
        num_workers=workers,
    )
    if not is_picture:
        output.emit(result)
        return

    from cnnkit.render.plots.sample_grid import missing_glyphs, samples_picture

    signs = missing_glyphs(sample.label or "" for sample in result.samples)
    if signs:
        emit(Warned(f"the font of pictures lacks {signs[:MOST_SIGNS]}: each is drawn as a box"))
    output.emit_picture(samples_picture(result))


def _augmentation(recipe: str, dataset: str) -> "Augmentation":
    """Return what a recipe does to training images.

    Args:
        recipe: its name, or the path of its file.
        dataset: that it is wanted for.

    Raises:
        NotFoundError: there is no such recipe or file.
        UsageError: it is no recipe, or one without augmentation.
    """
    from cnnkit.runs.recipe_files import find_recipe

    augmentation = find_recipe(recipe, dataset=dataset).recipe.augmentation
    if not augmentation.sentence():
        raise UsageError(
            f"--augmented {recipe} changes no training image",
            "its settings for that are crop, flip, randaugment, cutout, mixup and cutmix",
        )
    return augmentation
