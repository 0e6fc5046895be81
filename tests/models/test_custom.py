"""Networks from a user's own file, which are real files here."""

import sys
import textwrap
from pathlib import Path

import pytest
from torch import nn

from cnnkit.errors import NotFoundError, UsageError
from cnnkit.models import build_model, find_model
from tests.models.building import run_once

NET = """
    from torch import nn


    def make_net(num_classes, in_channels=3, depth: int = 1, name: str = "x"):
        layers = [nn.Conv2d(in_channels, 4, 3, padding=1) for _ in range(depth)]
        return nn.Sequential(layers[0], nn.Flatten(), nn.LazyLinear(num_classes))


    class Net(nn.Module):
        def __init__(self, image_size: tuple[int, int] = (8, 8), width: int = 5) -> None:
            super().__init__()
            self.linear = nn.Linear(image_size[0] * image_size[1], width)

        def forward(self, x):
            return self.linear(x.flatten(1))
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write(tmp_path / "net.py", NET)


def fails(
    kind: type[UsageError] | type[NotFoundError], spec: str, **arguments: str
) -> tuple[str, str]:
    """Return message and hint of the error that building ends with."""
    with pytest.raises(kind) as caught:
        build_model(spec, num_classes=10, arguments=arguments)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return caught.value.message, caught.value.hint


def test_a_function_is_given_what_it_names(net: Path) -> None:
    network = build_model(
        f"{net}:make_net", num_classes=7, in_channels=1, image_size=(8, 9), arguments={"depth": "2"}
    )
    assert isinstance(network, nn.Sequential)
    assert network[0].in_channels == 1
    assert network[2].out_features == 7


def test_a_class_is_a_factory_too(net: Path) -> None:
    network = build_model(
        f"{net}:Net", num_classes=7, in_channels=1, image_size=(3, 4), arguments={"width": "6"}
    )
    assert run_once(network, 1, 3, 4).shape == (2, 6)


def test_the_signature_describes_it_and_the_rest_is_unknown(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent)
    found = find_model("net.py:make_net")
    assert (found.takes_classes, found.takes_channels, found.takes_size) == (True, True, False)
    assert (found.input, found.min_size, found.fixed_size, found.num_classes) == (None,) * 4
    assert found.name == "make_net"
    assert found.entry is None
    assert found.spec == f"{net.resolve()}:make_net"
    monkeypatch.chdir("/")
    assert find_model(found.spec) == found
    assert find_model(f"{net}:Net").takes_size
    assert not find_model(f"{net}:Net").takes_classes


def test_a_file_may_import_its_neighbours_and_others_may_have_the_like(tmp_path: Path) -> None:
    for folder, width in (("a", 3), ("b", 5)):
        write(tmp_path / folder / "layers.py", f"WIDTH = {width}")
        write(
            tmp_path / folder / "net.py",
            """
            from torch import nn
            from layers import WIDTH

            def make():
                import layers
                assert layers.WIDTH == WIDTH
                return nn.Linear(2, WIDTH)
            """,
        )
    for folder, width in (("a", 3), ("b", 5), ("a", 3)):
        network = build_model(f"{tmp_path / folder / 'net.py'}:make")
        assert isinstance(network, nn.Linear)
        assert network.out_features == width
    assert str(tmp_path / "a") not in sys.path


def test_a_file_named_like_a_module_does_not_hide_it(tmp_path: Path) -> None:
    path = write(tmp_path / "random.py", "from torch import nn\ndef make(): return nn.Linear(1, 1)")
    build_model(f"{path}:make")
    import random

    assert random.__name__ == "random"
    assert hasattr(random, "gauss")


def test_a_file_runs_once_until_it_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from torch import nn\nprint('ran')\ndef make(): return nn.Linear(1, {})"
    path = write(tmp_path / "net.py", text.format(2))
    find_model(f"{path}:make")
    build_model(f"{path}:make")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("ran\n", "")  # once, wherever the command line sends it
    write(path, text.format(30))
    network = build_model(f"{path}:make")
    assert isinstance(network, nn.Linear)
    assert network.out_features == 30


def test_future_annotations_and_dataclasses_work(tmp_path: Path) -> None:
    path = write(
        tmp_path / "net.py",
        """
        from __future__ import annotations

        from dataclasses import dataclass

        from torch import nn

        @dataclass
        class Settings:
            width: int = 2

        def make(widths: tuple[int, ...] = (1,), num_classes: int = 2) -> nn.Module:
            return nn.Linear(widths[-1], num_classes + Settings().width)
        """,
    )
    network = build_model(f"{path}:make", num_classes=3, arguments={"widths": "4,6"})
    assert isinstance(network, nn.Linear)
    assert (network.in_features, network.out_features) == (6, 5)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    assert fails(NotFoundError, f"{path}:make") == (f"no file '{path}'", "check the path")
    assert fails(NotFoundError, "gone.py:make")[0] == "no file 'gone.py'"
    path.mkdir()
    assert fails(NotFoundError, f"{path}:make")[0] == f"no file '{path}'"


@pytest.mark.parametrize("spec", ["net.txt:make", "net:make", "tim:resnet18", "models/lenet5"])
def test_names_that_are_no_python_file(spec: str) -> None:
    message, hint = fails(UsageError, spec)
    assert message.endswith("is not a Python file")
    assert hint == "a network of your own is named path/to/net.py:FUNCTION"


@pytest.mark.parametrize("ending", ["", ":"])
def test_a_file_without_a_function(net: Path, ending: str) -> None:
    message, hint = fails(UsageError, f"{net}{ending}")
    assert message == f"'{net}' does not say which function makes the network"
    assert hint == "a network of your own is named path/to/net.py:FUNCTION"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "import torch\n\nimport nowhere_at_all\n",
            "ModuleNotFoundError: No module named 'nowhere_at_all' (line 3)",
        ),
        ("def make(:\n    pass\n", "SyntaxError: invalid syntax (line 1)"),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (line 2)"),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()\n", "ValueError: a b (line 2)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (line 2)"),
        ("assert False\n", "AssertionError (line 1)"),
    ],
)
def test_files_that_fail_to_import(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "net.py", text)
    modules = set(sys.modules)
    message, hint = fails(UsageError, f"{path}:make")
    assert message == f"net.py cannot be imported: {told}"
    assert hint == f"fix {path}"
    assert not [name for name in set(sys.modules) - modules if name.startswith("cnnkit_user")]


def test_functions_that_are_missing(net: Path) -> None:
    message, hint = fails(NotFoundError, f"{net}:make_nett")
    assert message == "net.py has no 'make_nett'"
    assert hint == "did you mean make_net?"
    assert fails(NotFoundError, f"{net}:zzz")[1] == "it has make_net, Net"
    empty = write(net.parent / "empty.py", "")
    assert fails(NotFoundError, f"{empty}:make")[1] == "it has neither a function nor a class"


def test_things_that_are_no_function(tmp_path: Path) -> None:
    path = write(tmp_path / "net.py", "from torch import nn\ndepth = 3\nready = nn.Linear(1, 1)\n")
    assert fails(UsageError, f"{path}:depth")[0] == "net.py:depth is an int"
    assert fails(UsageError, f"{path}:ready")[0] == "net.py:ready is a Linear"


@pytest.mark.parametrize(
    ("signature", "message", "hint"),
    [
        ("depth", "needs an argument 'depth'", "give it with model_arguments depth=VALUE"),
        ("*, depth: int", "needs an argument 'depth'", "give it with model_arguments depth=VALUE"),
        (
            "in_channels",
            "needs in_channels, and there is no dataset to take it from",
            "give in_channels a default in net.py",
        ),
        ("depth=1", "", ""),
        ("*parts, **more", "", ""),
    ],
)
def test_arguments_that_nobody_gave(
    tmp_path: Path, signature: str, message: str, hint: str
) -> None:
    text = f"from torch import nn\ndef make({signature}): return nn.Linear(1, 1)\n"
    path = write(tmp_path / "net.py", text)
    if not message:
        build_model(f"{path}:make", num_classes=10)
        return
    assert fails(UsageError, f"{path}:make") == (f"net.py:make {message}", hint)


def test_arguments_that_do_not_fit(net: Path) -> None:
    message, hint = fails(UsageError, f"{net}:make_net", dept="2")
    assert message == "net.py:make_net takes no argument 'dept'"
    assert hint == "did you mean depth? it takes depth, name"
    message, hint = fails(UsageError, f"{net}:make_net", depth="deep")
    assert (message, hint) == ("depth of net.py:make_net cannot be 'deep'", "give an integer")
    assert fails(UsageError, f"{net}:make_net", num_classes="2")[0].startswith("num_classes cannot")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", "net.py:make failed: RuntimeError: no luck (line 3)"),
        ("return [1]", "net.py:make returned a list, not a torch.nn.Module"),
        ("return None", "net.py:make returned a NoneType, not a torch.nn.Module"),
        ("return nn.Linear", "net.py:make returned a type, not a torch.nn.Module"),
        ("return nn.Linear(1, 'x')", "net.py:make failed: TypeError: "),
    ],
)
def test_functions_that_make_no_network(tmp_path: Path, body: str, message: str) -> None:
    path = write(tmp_path / "net.py", f"from torch import nn\ndef make():\n    {body}\n")
    assert fails(UsageError, f"{path}:make")[0].startswith(message)
