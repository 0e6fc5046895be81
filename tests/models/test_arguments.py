from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from cnnkit.errors import UsageError
from cnnkit.models.arguments import builder_parameters, convert_arguments


def annotated(
    depth: int,
    rate: float = 0.5,
    norm: bool = False,
    title: str = "",
    widths: tuple[int, ...] = (),
    pair: tuple[int, float] = (1, 1.0),
    rates: list[float] = [],  # noqa: B006
    names: Sequence[str] = (),
    kind: Literal["relu", "tanh"] = "relu",
    limit: int | None = None,
    either: int | str = 0,
    num_classes: int = 10,
) -> None: ...


def bare(depth=3, rate=0.5, norm=True, widths=(1, 2), anything=None, name="net"): ...  # type: ignore[no-untyped-def]


def convert(builder: Callable[..., object], **texts: str) -> dict[str, object]:
    return convert_arguments("net", builder_parameters(builder), texts)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("depth", "12", 12),
        ("depth", "-1", -1),
        ("rate", "1e-3", 0.001),
        ("rate", "1", 1.0),
        ("norm", "true", True),
        ("norm", "No", False),
        ("norm", "1", True),
        ("title", "12", "12"),
        ("widths", "512,128", (512, 128)),
        ("widths", "512", (512,)),
        ("widths", "(512, 128,)", (512, 128)),
        ("widths", "", ()),
        ("pair", "2,0.5", (2, 0.5)),
        ("rates", "[0.1, 0.2]", [0.1, 0.2]),
        ("names", "a,b", ("a", "b")),
        ("kind", "tanh", "tanh"),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("either", "7", 7),
        ("either", "seven", "seven"),
    ],
)
def test_annotations_decide(name: str, text: str, value: object) -> None:
    converted = convert(annotated, **{name: text})[name]
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("depth", "12", 12),
        ("rate", "1", 1.0),
        ("norm", "false", False),
        ("widths", "5,6,7", (5, 6, 7)),
        ("anything", "(1, 'a')", (1, "a")),
        ("anything", "relu", "relu"),
        ("anything", "None", None),
        ("anything", "True", True),
        ("name", "7", "7"),
    ],
)
def test_defaults_decide_where_there_is_no_annotation(name: str, text: str, value: object) -> None:
    converted = convert(bare, **{name: text})[name]
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("depth", "3.5", "an integer"),
        ("rate", "much", "a number"),
        ("rate", "nan", "a number"),
        ("norm", "maybe", "true or false"),
        ("widths", "5,x", "integers separated by commas, such as 512,128"),
        ("rates", "a", "values separated by commas, each a number"),
        ("pair", "1", "2 values separated by commas"),
        ("kind", "sine", "one of relu, tanh"),
        ("limit", "many", "an integer or none"),
    ],
)
def test_values_that_do_not_fit(name: str, text: str, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(annotated, **{name: text})
    assert caught.value.message == f"{name} of net cannot be {text!r}"
    assert caught.value.hint == f"give {wanted}"


def test_unknown_names_list_the_legal_ones() -> None:
    with pytest.raises(UsageError) as caught:
        convert(bare, dept="3")
    assert caught.value.message == "net takes no argument 'dept'"
    assert caught.value.hint == (
        "did you mean depth? it takes depth, rate, norm, widths, anything, name"
    )
    with pytest.raises(UsageError, match="it takes none"):
        convert(lambda num_classes=3: num_classes, x="3")


def test_anything_goes_where_the_builder_takes_anything() -> None:
    def loose(**kwargs: Any) -> None: ...

    assert convert(loose, dropout="0.3", name="a-b", sizes="1,2") == {
        "dropout": 0.3,
        "name": "a-b",
        "sizes": (1, 2),
    }


@pytest.mark.parametrize("name", ["num_classes", "in_channels", "image_size"])
def test_the_dataset_decides_classes_and_channels(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(annotated, **{name: "3"})
    assert caught.value.message == f"{name} cannot be set by model_arguments"
    assert "comes from the dataset" in caught.value.hint


def test_annotations_that_cannot_be_evaluated_do_not_stand_in_the_way() -> None:
    def broken(depth: "Nowhere" = 3): ...  # type: ignore[name-defined,no-untyped-def] # noqa: F821

    assert convert(broken, depth="4") == {"depth": 4}
