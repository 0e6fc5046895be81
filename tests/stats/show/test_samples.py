"""The right images are shown, and they are what a network gets."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import cnnkit
from cnnkit.data import DATASETS, open_dataset
from cnnkit.data.image_set import TensorSet
from cnnkit.data.loading.augmentation import Augmentation
from cnnkit.data.loading.augmenting import Augmenter
from cnnkit.errors import CnnkitError, NotFoundError, RunFailedError, UsageError
from cnnkit.events import Event, Warned
from cnnkit.render import build_tables
from cnnkit.render.tables.show import sample_notes
from cnnkit.results.show import Picture, SampleList
from cnnkit.stats.show.sample_pictures import MAX_PICTURE_PIXELS
from cnnkit.stats.show.samples import show_dataset


def pixels_of(picture: Picture) -> np.ndarray:
    values = np.frombuffer(picture.pixels, np.uint8)
    shape = (picture.height, picture.width, picture.channels)
    return values.reshape(shape[:2] if picture.channels == 1 else shape)


def first_pixels(result: SampleList, part: int = 0, number: int = 0) -> np.ndarray:
    pictures = result.samples[number].pictures
    assert pictures is not None
    return pixels_of(pictures[part])


def as_shard(folder: Path) -> str:
    path = folder.parent / "shard-0.tar"
    with tarfile.open(path, "w") as archive:
        for item in sorted(folder.rglob("*.png")):
            archive.add(item, item.name)
            label = item.parent.name.encode()
            info = tarfile.TarInfo(item.with_suffix(".cls").name)
            info.size = len(label)
            archive.addfile(info, io.BytesIO(label))
    return str(path)


def as_zip(folder: Path) -> str:
    path = folder.parent / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for item in sorted(folder.rglob("*.png")):
            archive.write(item, Path("train", item.relative_to(folder)))
    return str(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes, ten images each of 20x30, every one of its own."""
    for number in range(20):
        path = tmp_path / "photos" / ("cat" if number < 10 else "dog") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return tmp_path / "photos"


def as_tar(folder: Path) -> str:
    path = folder.parent / "photos.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for item in sorted(folder.rglob("*.png")):
            archive.add(item, item.relative_to(folder))
    return str(path)


def test_images_in_memory_are_shown_to_the_pixel() -> None:
    train = open_dataset("fake:3x5x7:3:40", "train")
    assert isinstance(train, TensorSet)
    result = cnnkit.show_dataset("fake:3x5x7:3:40", num=5)
    assert (result.dataset, result.split, result.num_images) == ("fake:3x5x7:3:40", "train", 40)
    assert result.seed == 0
    assert len({sample.index for sample in result.samples}) == 5
    for number, sample in enumerate(result.samples):
        expected = train.images[sample.index].permute(1, 2, 0).numpy()
        assert np.array_equal(first_pixels(result, 0, number), expected)
        assert sample.label == train.classes[int(train.labels[sample.index])]
        assert (sample.height, sample.width, sample.mode) == (5, 7, "RGB")
        assert (sample.path, sample.reason) == (None, None)


@pytest.mark.parametrize("source", [str, as_tar, as_zip, as_shard])
@pytest.mark.parametrize("options", [{"num": 20}, {"classes": ["dog", "cat"], "num": 20}])
def test_images_of_files_are_shown_to_the_pixel(
    photos: Path, source: Callable[[Path], str], options: dict[str, Any]
) -> None:
    result = show_dataset(source(photos), **options)
    assert result.split == ("train" if source is as_zip else "all")
    assert sorted(sample.index for sample in result.samples) == list(range(20))
    for number, sample in enumerate(result.samples):
        path = photos / ("cat" if sample.index < 10 else "dog") / f"{sample.index:02}.png"
        with Image.open(path) as image:
            assert np.array_equal(first_pixels(result, 0, number), np.asarray(image))
        assert sample.label == path.parent.name
        assert sample.path is not None
        assert sample.path.endswith(path.name)
    dogs = show_dataset(source(photos), classes=["dog"], num=3)
    assert {sample.label for sample in dogs.samples} == {"dog"}
    (last,) = show_dataset(source(photos), indices=[19]).samples
    assert (last.label, last.index) == ("dog", 19)
    with pytest.raises(NotFoundError, match="did you mean dog"):
        show_dataset(source(photos), classes=["dgo"])


def test_archives_that_are_cut_short_show_what_there_is(photos: Path) -> None:
    path = photos.parent / "photos.tar"
    path.write_bytes(gzip.decompress(Path(as_tar(photos)).read_bytes()))
    with tarfile.open(path) as archive:
        end = archive.getmembers()[7].offset  # seven images are whole
    path.write_bytes(path.read_bytes()[:end])
    told: list[Event] = []
    result = show_dataset(str(path), num=3, on_event=told.append)
    assert result.num_images == 7
    assert any(isinstance(event, Warned) and "cut short" in event.text for event in told)
    path.write_bytes(b"no archive")
    with pytest.raises(RunFailedError, match="has no images"):
        show_dataset(str(path))


def test_the_seed_chooses(photos: Path) -> None:
    chosen = [
        tuple(sample.index for sample in show_dataset(str(photos), num=8, seed=seed).samples)
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1]
    assert set(chosen[0]) != set(chosen[2])
    everything = show_dataset(str(photos), num=100)
    assert len(everything.samples) == 20


def test_classes_and_indices(photos: Path) -> None:
    dogs = show_dataset(str(photos), classes=["dog"], num=4)
    assert {sample.label for sample in dogs.samples} == {"dog"}
    assert (dogs.num_candidates, dogs.num_images) == (10, 20)
    assert "4 of 10 in 20 images" in sample_notes(dogs)[0]
    named = show_dataset(str(photos), indices=[19, 3, 19])
    assert [sample.index for sample in named.samples] == [19, 3, 19]
    assert [sample.label for sample in named.samples] == ["dog", "cat", "dog"]
    assert named.seed is None
    assert "seed" not in sample_notes(named)[0]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"classes": ["dgo"]}, NotFoundError, "has no class 'dgo'; did you mean dog?"),
        ({"classes": ["bird"]}, NotFoundError, "has no class 'bird'; it has cat, dog"),
        ({"indices": [20]}, UsageError, "has no image 20; indices are 0 to 19"),
        ({"indices": [-1]}, UsageError, "has no image -1"),
        ({"indices": [1], "classes": ["dog"]}, UsageError, "indices and classes are both given"),
        ({"split": "val"}, UsageError, "has no split 'val'"),
        ({"input": (2, 8, 8)}, UsageError, "1 or 3 channels, not 2"),
        ({"normalize": "published"}, UsageError, "no mean and standard deviation are published"),
        ({"normalize": "0.5,0.5,0.5/0.2", "input": (1, 8, 8)}, UsageError, "has 1 channel"),
        ({"normalize": "0.5/0"}, UsageError, "has a std of 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    photos: Path, options: dict[str, object], kind: type[CnnkitError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        show_dataset(str(photos), **options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_broken_files_are_shown_as_such(photos: Path) -> None:
    whole = (photos / "cat" / "00.png").read_bytes()
    (photos / "cat" / "00.png").write_bytes(whole[:400])
    (photos / "cat" / "01.png").write_bytes(b"")
    (photos / "cat" / "02.png").write_bytes(b"no image at all")
    result = show_dataset(str(photos), indices=[0, 1, 2, 3], normalized=True)
    reasons = [sample.reason for sample in result.samples]
    assert all(reason for reason in reasons[:3])
    assert reasons[3] is None
    assert [sample.pictures is None for sample in result.samples] == [True, True, True, False]
    assert result.samples[0].mode is None
    assert [column.key for column in build_tables(result)[0].columns][-1] == "reason"


def test_the_normalised_image_is_that_of_torchvision() -> None:
    entry = DATASETS["digits"]
    result = show_dataset("digits", indices=[0, 5], normalized=True)
    figures = result.normalization
    assert figures is not None
    if entry.published is not None:
        assert (figures.mean, figures.std) == (entry.published.mean, entry.published.std)
    low, high, below, above, number = np.inf, -np.inf, 0, 0, 0
    for place in range(2):
        stored = first_pixels(result, 0, place)
        values = v2.functional.normalize(
            v2.functional.to_dtype(v2.functional.to_image(stored.copy()), scale=True),
            list(figures.mean),
            list(figures.std),
        ).numpy()[0]
        clipped = np.round(255 * values.clip(0, 1).astype(float))
        assert np.abs(first_pixels(result, 1, place) - clipped).max() <= 1
        stretched = 255 * (values - values.min()) / (values.max() - values.min())
        assert np.abs(first_pixels(result, 2, place) - stretched).max() <= 1
        low, high = min(low, values.min()), max(high, values.max())
        below, above = below + (values < 0).sum(), above + (values > 1).sum()
        number += values.size
    assert figures.min == pytest.approx(low, abs=1e-5)
    assert figures.max == pytest.approx(high, abs=1e-5)
    assert figures.below == pytest.approx(below / number)
    assert figures.above == pytest.approx(above / number)
    assert "become black" in sample_notes(result)[-1]
    assert result.stages == ("as stored", "normalized, clipped", "normalized, stretched")


def test_without_published_figures_those_of_the_images_are_measured(photos: Path) -> None:
    result = show_dataset(str(photos), num=1, normalized=True)
    assert result.normalization is not None
    stacked = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.rglob("*.png"))])
    assert result.normalization.mean == pytest.approx(stacked.mean(axis=(0, 1, 2)) / 255)
    assert result.normalization.std == pytest.approx(stacked.std(axis=(0, 1, 2)) / 255)
    assert result.normalization.source == "measured on 20 images"


def test_the_input_is_what_training_makes_of_it(photos: Path) -> None:
    result = show_dataset(str(photos), indices=[4], input=(3, 16, 16))
    with Image.open(photos / "cat" / "04.png") as image:
        resized = image.resize((24, 16), Image.Resampling.BILINEAR).crop((4, 0, 20, 16))
    assert np.array_equal(first_pixels(result, 1), np.asarray(resized))
    assert (result.input, result.stages) == ("3x16x16", ("as stored", "brought to 3x16x16"))
    grey = show_dataset(str(photos), indices=[4], input=(1, 16, 16))
    assert first_pixels(grey, 1).shape == (16, 16)
    own = show_dataset(str(photos), indices=[4], input=(None, 8, 8))
    assert own.input == "8x8"
    assert first_pixels(own, 1).shape == (8, 8, 3)


def test_grey_images_become_three_channels_where_asked() -> None:
    result = show_dataset("digits", indices=[1], input=(3, 16, 16), normalized=True)
    assert result.normalization is not None
    assert len(result.normalization.mean) == 3
    pictures = result.samples[0].pictures
    assert pictures is not None
    assert [picture.channels for picture in pictures] == [1, 1, 3, 3]


def test_16_bits_palettes_and_alpha_are_shown_by_the_rule(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    for name in "ab":
        (folder / name).mkdir(parents=True)
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(deep).save(folder / "a" / "deep.png")
    color = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    color.quantize(16).save(folder / "a" / "palette.png")
    color.convert("RGBA").save(folder / "b" / "alpha.png")
    result = show_dataset(str(folder), indices=[0, 1, 2])
    assert [sample.mode for sample in result.samples] == ["I;16", "P", "RGBA"]
    assert np.array_equal(first_pixels(result, 0, 0), np.floor(deep / 257 + 0.5).astype(np.uint8))
    expanded = np.asarray(color.quantize(16).convert("RGB"))
    assert np.array_equal(first_pixels(result, 0, 1), expanded)
    assert np.array_equal(first_pixels(result, 0, 2), np.asarray(color))


def test_pictures_of_large_images_are_reduced_and_their_size_is_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "large" / name).mkdir(parents=True)
        Image.new("RGB", (3000, 1500), "red").save(tmp_path / "large" / name / "1.png")
    result = show_dataset(str(tmp_path / "large"), num=2)
    assert (result.samples[0].width, result.samples[0].height) == (3000, 1500)
    pictures = [picture for sample in result.samples for picture in sample.pictures or ()]
    assert sum(picture.width * picture.height for picture in pictures) <= MAX_PICTURE_PIXELS
    many = show_dataset(str(tmp_path / "large"), indices=[0] * 400)
    assert many.samples[0].pictures is not None
    assert many.samples[0].pictures[0].width == 409
    assert many.samples[0].pictures[0].height in (204, 205)


def test_the_result_is_json_without_pixels(photos: Path) -> None:
    plain = show_dataset(str(photos), num=1).to_dict()
    assert list(plain) == [
        "schema", "dataset", "split", "num_images", "num_candidates", "seed", "input",
        "normalization", "samples", "augmentation",
    ]  # fmt: skip
    assert list(plain["samples"][0]) == [
        "index", "label", "width", "height", "mode", "path", "reason"
    ]  # fmt: skip


def test_mnist(mnist_data: Path) -> None:
    result = show_dataset("mnist", split="test", indices=[0], data_dir=mnist_data)
    assert (result.samples[0].label, result.num_images) == ("7", 10_000)
    assert int(first_pixels(result).astype(int).sum()) == 18454


def test_what_training_makes_of_images_is_shown_for_the_first_epochs() -> None:
    dataset = "fake:3x6x6:3:40"
    shown = show_dataset(dataset, num=6, augmentation=Augmentation(crop=2, flip="alternating"))
    assert shown.stages == ("as stored", *(f"augmented, epoch {number}" for number in range(1, 5)))
    assert shown.augmentation == "shifted by up to 2 pixels, mirrored in every other epoch"
    assert sample_notes(shown)[-1] == f"augmented, differently in each epoch: {shown.augmentation}"
    plain = show_dataset(dataset, num=6)
    assert plain.augmentation is None
    train = open_dataset(dataset, "train")
    assert isinstance(train, TensorSet)
    for epoch in range(1, 5):
        made = Augmenter(
            Augmentation(crop=2, flip="alternating"), 0, epoch, 40, 3, torch.device("cpu")
        )
        for number, sample in enumerate(shown.samples):
            assert plain.samples[number].pictures == sample.pictures[:1]  # type: ignore[index]
            rows = torch.tensor([sample.index])
            wanted = made.moved(train.images[rows], rows)[0].permute(1, 2, 0).numpy()
            assert np.array_equal(first_pixels(shown, epoch, number), wanted)


@pytest.mark.parametrize("dataset", ["fake:3x6x6:3:40", "folder"])
def test_a_mixed_image_tells_the_shares_of_both_classes(photos: Path, dataset: str) -> None:
    dataset = str(photos) if dataset == "folder" else dataset
    shown = show_dataset(dataset, num=8, augmentation=Augmentation(cutmix=1.0))
    originals = {sample.index: first_pixels(shown, 0, i) for i, sample in enumerate(shown.samples)}
    labels = {sample.index: sample.label for sample in shown.samples}
    num_mixed = 0
    for number, sample in enumerate(shown.samples):
        assert sample.pictures is not None
        for part in range(1, 5):
            pixels = first_pixels(shown, part, number)
            own = (pixels == originals[sample.index]).all(2).mean()
            caption = sample.pictures[part].caption
            shares = dict(reversed(line.split(" % ")) for line in caption)
            assert 1 <= len(caption) <= 2
            if len(caption) == 1:
                assert caption == (f"100 % {sample.label}",)
                continue
            num_mixed += 1
            assert shares[sample.label] == f"{100 * own:.0f}"
            (other,) = set(shares) - {sample.label}
            assert other in labels.values()
    assert num_mixed >= 8


def test_what_is_cut_out_has_the_mean_colour(photos: Path) -> None:
    shown = show_dataset(str(photos), num=3, augmentation=Augmentation(cutout=9))
    stacked = np.concatenate([np.asarray(Image.open(path)) for path in photos.rglob("*.png")])
    for number in range(3):
        pixels, original = first_pixels(shown, 1, number), first_pixels(shown, 0, number)
        (color,) = np.unique(pixels[(pixels != original).any(2)], axis=0)
        np.testing.assert_allclose(color, stacked.mean((0, 1)), atol=0.6)


def test_images_that_make_no_batch_are_refused(photos: Path) -> None:
    changes = Augmentation(flip="random")
    Image.new("RGB", (9, 9)).save(photos / "cat" / "small.png")
    with pytest.raises(UsageError, match=r"differ in size or channels.*such as input 3x224x224"):
        show_dataset(str(photos), num=21, augmentation=changes)
    (photos / "dog" / "broken.png").write_bytes(b"x")
    shown = show_dataset(str(photos), num=22, input=(3, 16, 16), augmentation=changes)
    assert shown.stages[:2] == ("as stored", "brought to 3x16x16")
    assert {len(sample.pictures) for sample in shown.samples if sample.pictures} == {6}
    with pytest.raises(UsageError, match="crop 16 is too large for images of 16x16"):
        show_dataset(str(photos), num=2, input=(3, 16, 16), augmentation=Augmentation(crop=16))
