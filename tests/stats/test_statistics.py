import random
import shutil
import tarfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from cnnkit import measure_dataset
from cnnkit.data.image_set import EncodedSet
from cnnkit.errors import NotFoundError, UnavailableError, UsageError
from cnnkit.events import Event, Note
from cnnkit.results import DatasetStatistics
from cnnkit.stats import merge_parts
from cnnkit.stats.counting import count_files as measuring
from cnnkit.stats.counting.sampling import draw, standard_errors
from cnnkit.stats.counting.tally import SampledImage
from cnnkit.stats.counting.transform import Transform
from tests.stats.making import as_colour, encode, noise, plain_figures, small_set, write_files

FILES = small_set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "photos", FILES)
    return tmp_path / "photos"


def figures(result: DatasetStatistics) -> dict[str, Any]:
    plain = result.to_dict()
    return {key: plain[key] for key in plain if key not in ("seconds", "images_per_second")}


def test_mnist_to_the_last_integer(mnist_data: Path) -> None:
    train = measure_dataset("mnist", data_dir=mnist_data)
    (channel,) = train.channels
    assert train.num_pixels == 47_040_000
    assert (channel.sum, channel.sum_of_squares) == (1_567_298_545, 342_590_800_147)
    assert train.mean == (float(Fraction(1_567_298_545, 47_040_000 * 255)),)
    assert train.std is not None
    variance = Fraction(342_590_800_147, 47_040_000) - Fraction(1_567_298_545, 47_040_000) ** 2
    assert train.std[0] ** 2 * 255**2 == pytest.approx(float(variance), rel=1e-14)
    assert f"{train.mean[0]:.8f} {train.std[0]:.8f}" == "0.13066048 0.30810780"
    assert train.normalize == "transforms.Normalize(mean=(0.1307,), std=(0.3081,))"
    assert train.published is not None
    assert train.published.verdict == "equal"
    assert (channel.min, channel.max, channel.median) == (0, 255, 0)
    test = measure_dataset("mnist", split="test", data_dir=mnist_data)
    assert test.mean is not None
    assert f"{test.mean[0]:.8f}" == "0.13251461"
    assert test.published is None  # those are of the training images


def test_the_jpeg_cifar10_as_an_archive_and_as_a_folder(
    cifar_archive: Path, tmp_path: Path
) -> None:
    """All of its training images, from the archive itself; as a folder the first of its files."""
    whole = measure_dataset(str(cifar_archive), against="cifar10", data_dir=tmp_path)
    assert (whole.num_images, whole.split, whole.num_pixels) == (50_000, "train", 51_200_000)
    for ours, expected in (
        (whole.mean, (0.4913, 0.4821, 0.4465)),
        (whole.std, (0.2452, 0.2428, 0.2606)),
        (whole.mean_of_image_stds, (0.2004, 0.1987, 0.2008)),
    ):
        assert ours is not None
        assert tuple(round(value, 4) for value in ours) == expected
    assert whole.published is not None
    assert whole.published.verdict == "different"
    assert 0.0017 < whole.published.difference < 0.0019  # 0.2470 and 0.2452
    assert whole.published.source.startswith("cifar10")
    assert [one.num_images for one in whole.classes] == [5_000] * 10
    with (
        tarfile.open(cifar_archive) as archive,
        tarfile.open(tmp_path / "few.tar.xz", "w:xz") as few,
    ):
        for number, item in enumerate(archive):
            if number % 97 == 0 and item.isreg():
                archive.extract(item, tmp_path / "few", filter="data")
                few.addfile(item, archive.extractfile(item))
            if number > 20_000:
                break
    for split in ("train", "all"):
        from_folder = figures(measure_dataset(str(tmp_path / "few"), split=split))
        from_archive = figures(measure_dataset(str(tmp_path / "few.tar.xz"), split=split))
        assert from_folder | {"dataset": ""} == from_archive | {"dataset": ""}


@pytest.mark.parametrize("num_workers", [0, 1, 2, 4])
def test_any_number_of_workers_gives_the_same_bits(folder: Path, num_workers: int) -> None:
    first = figures(measure_dataset(str(folder), num_workers=3))
    assert figures(measure_dataset(str(folder), num_workers=num_workers)) == first
    digits = figures(measure_dataset("digits", num_workers=1))
    assert figures(measure_dataset("digits", num_workers=num_workers)) == digits


def test_any_order_of_files_gives_the_same_bits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = figures(measure_dataset(str(folder)))
    in_order = EncodedSet.images

    def shuffled(self: EncodedSet, *arguments: Any) -> Any:
        images = list(in_order(self, *arguments))
        random.Random(7).shuffle(images)
        return iter(images)

    monkeypatch.setattr(EncodedSet, "images", shuffled)
    assert figures(measure_dataset(str(folder))) == first


@pytest.mark.parametrize("weighting", ["pixel", "image"])
def test_figures_are_those_of_numpy_in_float64(folder: Path, weighting: str) -> None:
    images = [as_colour(Image.open(path)) for path in sorted(folder.glob("*/*.png"))]
    expected = plain_figures(images)
    ours = measure_dataset(str(folder), weighting=weighting)  # type: ignore[arg-type]
    by_pixel = weighting == "pixel"
    assert ours.mean == pytest.approx(
        expected["mean" if by_pixel else "mean_of_image_means"], rel=1e-12
    )
    assert ours.std == pytest.approx(expected["std" if by_pixel else "weighted_std"], rel=1e-12)
    assert ours.mean_of_image_means == pytest.approx(expected["mean_of_image_means"], rel=1e-12)
    assert ours.mean_of_image_stds == pytest.approx(expected["mean_of_image_stds"], rel=1e-12)
    assert ours.num_grey == 8
    assert expected["mean"] != pytest.approx(expected["mean_of_image_means"], rel=1e-4)
    every = (np.concatenate(images) * 255).round().astype(int)
    for index, channel in enumerate(ours.channels):
        values = every[:, index]
        assert (channel.min, channel.max, channel.sum) == (
            values.min(), values.max(), values.sum(),
        )  # fmt: skip
        assert channel.median == np.median(values)
        for percent, value in channel.percentiles.items():
            assert value == pytest.approx(np.percentile(values, int(percent)), rel=1e-12)
        assert channel.black == (values == 0).mean()
        assert channel.white == (values == 255).mean()
    for one in ours.classes:
        own = [as_colour(Image.open(path)) for path in sorted((folder / one.name).glob("*"))]
        expected = plain_figures(own)
        key = "mean" if by_pixel else "mean_of_image_means"
        assert one.mean == pytest.approx(expected[key], rel=1e-12)
        assert one.num_images == len(own)


def test_sizes_are_those_of_numpy(folder: Path) -> None:
    sizes = []
    for path in folder.glob("*/*.png"):
        with Image.open(path) as image:
            sizes.append(image.size)
    ours = measure_dataset(str(folder)).sizes
    assert ours is not None
    for name, values in (
        ("width", [w for w, _ in sizes]),
        ("height", [h for _, h in sizes]),
        ("aspect", [w / h for w, h in sizes]),
    ):
        quartiles = getattr(ours, name)
        found = [quartiles.min, quartiles.q1, quartiles.median, quartiles.q3, quartiles.max]
        assert found == pytest.approx(np.percentile(values, [0, 25, 50, 75, 100]), rel=1e-12)
    assert ours.num_sizes == len(set(sizes))
    assert ours.smallest == min(sizes, key=lambda size: (size[0] * size[1], size))


def test_memory_and_files_give_the_same_bits(tmp_path: Path) -> None:
    from cnnkit import open_dataset

    spec = "fake:3x6x5:4:50"
    images = open_dataset(spec, "train")
    for number, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
        content = encode(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
        write_files(tmp_path, {f"set/class {label}/{number:03d}.png": content})
    for options in ({}, {"transform": "resize=4,crop=3"}, {"weighting": "image"}):
        ours = figures(measure_dataset(spec, **options))  # type: ignore[arg-type]
        theirs = figures(measure_dataset(str(tmp_path / "set"), **options))  # type: ignore[arg-type]
        for name in ("dataset", "split", "formats", "num_bytes"):
            ours.pop(name), theirs.pop(name)
        assert ours == theirs


@pytest.mark.parametrize(
    "text", ["resize=8", "resize=5x9", "crop=3", "resize=8,crop=4x6", "crop=9"]
)
def test_transforms_are_those_of_torchvision(text: str) -> None:
    steps: list[Any] = []
    for part in text.split(","):
        kind, _, size = part.partition("=")
        numbers = [int(number) for number in size.split("x")]
        if kind == "resize":
            steps.append(v2.Resize(numbers if len(numbers) == 2 else numbers[0], antialias=True))
        else:
            steps.append(v2.CenterCrop(numbers))
    transform = Transform.parse(text)
    assert str(transform) == text
    for seed, (height, width) in enumerate(((7, 12), (12, 7), (6, 6), (4, 5))):
        image = Image.fromarray(noise(seed, height, width))
        ours = np.asarray(transform.apply_to_image(image))
        theirs = np.asarray(v2.Compose(steps)(image))
        assert (ours == theirs).all()


def test_a_transform_is_what_is_measured(folder: Path) -> None:
    images = [
        as_colour(v2.CenterCrop(4)(v2.Resize(5)(Image.open(path).convert("RGB"))))
        for path in folder.glob("c1/*.png")
    ]
    shutil.rmtree(folder / "c0"), shutil.rmtree(folder / "c2")
    ours = measure_dataset(str(folder), transform="resize=5,crop=4")
    # Grey images are resized as grey, which rounds each value once instead of three times alike.
    assert ours.mean == pytest.approx(plain_figures(images)["mean"], rel=1e-12)
    assert ours.num_pixels == 16 * ours.num_images
    assert ours.sizes is not None
    assert ours.sizes.num_sizes > 1  # those of the files


@pytest.mark.parametrize(
    "text", ["", "resize", "resize=0", "crop=3x", "flip=1", "resize=99999", "a=1"]
)
def test_transforms_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="transform"):
        Transform.parse(text)


def test_a_sample_is_marked_and_has_its_error(folder: Path) -> None:
    whole = measure_dataset(str(folder))
    part = measure_dataset(str(folder), limit=15, seed=3)
    assert (part.exact, part.num_images, part.num_listed) == (False, 15, 40)
    assert part.mean_error is not None
    assert all(0 < error < 0.2 for error in part.mean_error)
    assert figures(measure_dataset(str(folder), limit=15, seed=3, num_workers=1)) == figures(part)
    assert measure_dataset(str(folder), limit=15, seed=4).mean != part.mean
    assert figures(measure_dataset(str(folder), limit=40)) == figures(whole)
    assert whole.mean_error is None


def test_samples_of_archives_and_of_memory(folder: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "photos"), "zip", folder)
    shutil.make_archive(str(tmp_path / "photos"), "gztar", folder)
    for name in ("photos.zip", "photos.tar.gz"):
        assert measure_dataset(str(tmp_path / name), limit=10).num_images == 10
    assert measure_dataset("digits", limit=10).num_images == 10


@pytest.mark.parametrize("weighting", ["pixel", "image"])
def test_the_error_is_that_of_repeated_samples(weighting: Any) -> None:
    """Over many samples the figures scatter as the errors say."""
    stream = np.random.default_rng(0)
    numbers = stream.integers(50, 400, 300)
    centres = stream.uniform(0.2, 0.8, 300)
    pixels = [stream.normal(c, 0.1, n).clip(0, 1) for c, n in zip(centres, numbers, strict=True)]
    images = [
        SampledImage(len(one), (round(one.sum() * 65535),), (round((one**2).sum() * 65535**2),))
        for one in pixels
    ]
    means, stds, errors = [], [], []
    for seed in range(400):
        chosen = [images[i] for i in sorted(draw(300, 60, seed))]
        weights = [one.num_pixels if weighting == "pixel" else 1 for one in chosen]
        total = sum(weights)
        mean = sum(w * one.totals[0] / one.num_pixels / 65535
                   for w, one in zip(weights, chosen, strict=True)) / total  # fmt: skip
        square = sum(w * one.squares[0] / one.num_pixels / 65535**2
                     for w, one in zip(weights, chosen, strict=True)) / total  # fmt: skip
        means.append(mean)
        stds.append((square - mean**2) ** 0.5)
        errors.append(standard_errors(chosen, 0, 300, weighting))
    assert np.std(means) == pytest.approx(np.mean([e[0] for e in errors if e]), rel=0.12)
    assert np.std(stds) == pytest.approx(np.mean([e[1] for e in errors if e]), rel=0.12)


def test_a_sample_of_one_has_no_error(folder: Path) -> None:
    assert measure_dataset(str(folder), limit=1).mean_error is None


def test_parts_merge_to_the_whole(folder: Path, tmp_path: Path) -> None:
    (folder / "c0" / "bad.png").write_bytes(b"")
    files = [tmp_path / f"part{number}.json" for number in range(1, 9)]
    for number, file in enumerate(files, 1):
        measure_dataset(str(folder), shard=(number, 8), save_to=file)
    random.Random(1).shuffle(files)
    merged = merge_parts(files, save_to=tmp_path / "whole.json")
    whole = measure_dataset(str(folder), against=str(tmp_path / "whole.json"))
    assert whole.against is not None
    assert whole.against.equal
    assert figures(merged) | {"against": None} == figures(whole) | {"against": None}
    with pytest.raises(UsageError, match=r"of 8 parts 1, 2 are missing"):
        merge_parts(sorted(files)[2:])
    with pytest.raises(UsageError, match=r"part 1/8 is given twice"):
        merge_parts([*sorted(files), sorted(files)[0]])
    with pytest.raises(UsageError, match="is not a part but all of"):
        merge_parts([tmp_path / "whole.json"])
    with pytest.raises(NotFoundError, match=r"nothing\.json"):
        merge_parts([tmp_path / "nothing.json"])
    with pytest.raises(UsageError, match="nothing to merge"):
        merge_parts([])


def test_parts_of_different_images_are_refused(folder: Path, tmp_path: Path) -> None:
    a, b, c = (tmp_path / f"{name}.json" for name in "abc")
    measure_dataset(str(folder), shard=(1, 2), save_to=a)
    measure_dataset("digits", shard=(2, 2), save_to=b)
    with pytest.raises(UsageError, match="the dataset differs"):
        merge_parts([a, b])
    measure_dataset(str(folder), shard=(2, 2), save_to=b, transform="crop=2")
    with pytest.raises(UsageError, match="the transform differs"):
        merge_parts([a, b])
    measure_dataset(str(folder), shard=(2, 3), save_to=b)
    with pytest.raises(UsageError, match=r"one of 2 parts, but .* one of 3"):
        merge_parts([a, b])
    (folder / "c0" / "new.png").write_bytes(FILES["c0/000.png"])
    measure_dataset(str(folder), shard=(2, 2), save_to=c)
    with pytest.raises(UsageError, match="the dataset differs"):
        merge_parts([a, c])


def test_parts_of_sets_in_memory_and_of_archives(folder: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "photos"), "xztar", folder)
    for spec in ("digits", str(tmp_path / "photos.tar.xz")):
        files = [tmp_path / f"{number}.json" for number in range(3)]
        for number, file in enumerate(files, 1):
            measure_dataset(spec, shard=(number, 3), save_to=file)
        assert figures(merge_parts(files)) == figures(measure_dataset(spec))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"schema": "cnnkit.histogram/1"}', "\0", '{"schema": "cnnkit.stats/1"}'],
)
def test_files_that_are_no_parts(tmp_path: Path, text: str) -> None:
    (tmp_path / "part.json").write_text(text)
    with pytest.raises(UsageError, match="was not written by"):
        merge_parts([tmp_path / "part.json"])


def test_a_part_whose_integers_were_altered(folder: Path, tmp_path: Path) -> None:
    measure_dataset(str(folder), shard=(1, 1), save_to=tmp_path / "part.json")
    text = (tmp_path / "part.json").read_text()
    (tmp_path / "part.json").write_text(text.replace('"num_pixels": ', '"num_pixels": 1'))
    with pytest.raises(UsageError, match="do not add up"):
        merge_parts([tmp_path / "part.json"])


def test_against_tells_what_changed(folder: Path, tmp_path: Path) -> None:
    measure_dataset(str(folder), save_to=tmp_path / "before.json")
    (folder / "c0" / "000.png").unlink()
    write_files(folder, {"new/1.png": FILES["c1/001.png"]})
    shutil.rmtree(folder / "c2")
    changed = measure_dataset(str(folder), against=str(tmp_path / "before.json")).against
    assert changed is not None
    assert not changed.equal
    assert (changed.classes_added, changed.classes_removed, changed.classes_changed) == (
        ("new",), ("c2",), ("c0",),
    )  # fmt: skip
    assert changed.num_images == 40
    other = measure_dataset("digits", against="fake:3x8x8:2:10").against
    assert other is not None
    assert other.mean_difference is None  # one channel and three
    with pytest.raises(NotFoundError):
        measure_dataset(str(folder), against="nothing.json")


def test_against_a_dataset_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    result = measure_dataset(
        str(folder), against="cifar10", data_dir=tmp_path / "none", on_event=events.append
    )
    assert result.against is None
    assert result.published is not None
    assert any(isinstance(e, Note) and "only with its published values" in e.text for e in events)
    with pytest.raises(UnavailableError):  # of this one nothing was published
        measure_dataset(str(folder), against="svhn", data_dir=tmp_path / "none")
    with pytest.raises(UsageError, match=r"mnist has 1 channel and .* 3: its published values"):
        measure_dataset(str(folder), against="mnist", data_dir=tmp_path / "none")
    with pytest.raises(UsageError, match=r"cifar10 has 3 channels and fake.* 1: its published"):
        measure_dataset("fake:1x8x8:2:4", against="cifar10", data_dir=tmp_path / "none")


def test_an_image_smaller_than_the_crop_is_told() -> None:
    padded = measure_dataset("fake:3x8x8:2:4", transform="resize=4,crop=6")
    assert padded.changes == {"padded with 0 because smaller than the crop": 4}
    assert "padded with 0 because smaller than the crop: 4" in str(padded)
    assert measure_dataset("fake:3x8x8:2:4", transform="resize=6,crop=4").changes == {}


def test_one_class_is_not_called_balanced(tmp_path: Path) -> None:
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "one" / "cat" / "a.png")
    assert "1 class\n" in str(measure_dataset(str(tmp_path / "one")))
    assert "balanced" in str(measure_dataset("fake:3x8x8:2:4"))


def test_the_cache_reads_only_what_is_new(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    decode = measuring.decode

    def counted(content: bytes, *options: Any) -> Any:
        read.append("x")
        return decode(content, *options)

    monkeypatch.setattr(measuring, "decode", counted)
    cache = tmp_path / "cache" / "stats.sqlite"
    plain = figures(measure_dataset(str(folder)))
    for expected in (40, 0):
        read.clear()
        assert figures(measure_dataset(str(folder), cache=cache)) == plain
        assert len(read) == expected
    content = FILES["c1/001.png"]
    (folder / "c0" / "000.png").write_bytes(content)
    write_files(folder, {"c0/new.png": content})
    read.clear()
    again = figures(measure_dataset(str(folder), cache=cache))
    assert len(read) == 2
    assert again == figures(measure_dataset(str(folder)))
    read.clear()
    measure_dataset(str(folder), cache=cache, transform="crop=2")  # other pixels
    assert len(read) == 41
    shutil.make_archive(str(tmp_path / "photos"), "tar", folder)
    for expected in (41, 0):
        read.clear()
        measure_dataset(str(tmp_path / "photos.tar"), cache=cache)
        assert len(read) == expected


def test_a_cache_that_is_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no database " * 100)
    with pytest.raises(UnavailableError, match="cannot be used: file is not a database"):
        measure_dataset(str(folder), cache=tmp_path / "cache")


def test_labels_alone_decode_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "c0" / "bad.png").write_bytes(b"")
    result = measure_dataset(str(folder), labels_only=True)
    assert [(one.name, one.num_images) for one in result.classes] == [
        ("c0", 15), ("c1", 13), ("c2", 13),
    ]  # fmt: skip
    assert (result.mean, result.normalize, result.channels) == (None, None, ())
    assert result.imbalance == pytest.approx(15 / 13)
    shutil.make_archive(str(tmp_path / "photos"), "gztar", folder)
    packed = measure_dataset(str(tmp_path / "photos.tar.gz"), labels_only=True)
    assert packed.classes == result.classes
    assert measure_dataset("digits", labels_only=True).num_images == 1797


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0}, {"seed": -1}, {"num_workers": -1}, {"shard": (0, 3)}, {"shard": (4, 3)},
        {"shard": (1, 3), "limit": 5}, {"shard": (1, 2), "duplicates": True},
        {"labels_only": True, "transform": "crop=2"}, {"labels_only": True, "limit": 3},
        {"labels_only": True, "against": "cifar10"}, {"labels_only": True, "issues": True},
        {"limit": 3, "duplicates": True}, {"weighting": "class"}, {"transform": ""},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        measure_dataset(str(folder), **options)


def test_duplicates_and_issues_are_looked_for(tmp_path: Path) -> None:
    image = encode(Image.fromarray(noise(1, 40, 40)))
    other = encode(Image.fromarray(noise(2, 40, 40)))
    write_files(
        tmp_path / "set",
        {
            "train/a/1.png": image, "train/b/2.png": image, "train/b/3.png": other,
            "train/a/blank.png": encode(Image.new("L", (40, 40), 128)), "test/b/4.png": other,
        },
    )  # fmt: skip
    shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path / "set")
    for spec in (tmp_path / "set", tmp_path / "packed.tar.gz"):
        for split in (None, "all"):
            result = measure_dataset(str(spec), split=split, duplicates=True, issues=True)
            assert result.num_images == (4 if split is None else 5)
            assert result.duplicates is not None
            assert result.duplicates.num_images == 5
            (leak,) = result.duplicates.across_splits
            assert leak.splits == ("train", "test")
            (mislabelled,) = result.duplicates.across_labels
            assert set(mislabelled.labels) == {"a", "b"}
            assert result.issues is not None
            (odd,) = result.issues.images
            assert (odd.path.endswith("blank.png"), odd.issues) == (True, ("blank",))


def test_torch_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    limit = Image.MAX_IMAGE_PIXELS
    measure_dataset("digits", num_workers=2)
    assert torch.get_num_threads() == before
    assert limit == Image.MAX_IMAGE_PIXELS
