from dataclasses import dataclass

import pytest

from cnnkit.errors import NotFoundError
from cnnkit.registry import Catalog, did_you_mean, some_of


@dataclass(frozen=True)
class Fruit:
    name: str


FRUITS = Catalog("fruit", lambda: [Fruit("apple"), Fruit("red_apple"), Fruit("pear")])


def test_finds_by_name_forgiving_case_and_hyphens() -> None:
    assert FRUITS.find("pear") is FRUITS["pear"]
    assert FRUITS.find("Red-Apple") is FRUITS["red_apple"]


def test_an_unknown_name_says_which_was_perhaps_meant() -> None:
    with pytest.raises(NotFoundError, match="unknown fruit 'aple'; did you mean apple"):
        FRUITS.find("aple")
    with pytest.raises(NotFoundError, match="lists all 3"):
        FRUITS.find("zzzzzz")


def test_matches_parts_and_patterns() -> None:
    assert [f.name for f in FRUITS.matching("apple")] == ["apple", "red_apple"]
    assert [f.name for f in FRUITS.matching("*e*r")] == ["pear"]
    assert len(FRUITS.matching("*")) == 3
    with pytest.raises(NotFoundError, match="no fruit matches 'plum'"):
        FRUITS.matching("plum")


def test_refuses_two_entries_of_one_name() -> None:
    with pytest.raises(ValueError, match="two entries"):
        len(Catalog("fruit", lambda: [Fruit("a"), Fruit("a")]))


def test_reads_when_it_is_first_asked_and_only_once() -> None:
    reads = []

    def read() -> list[Fruit]:
        reads.append(1)
        return [Fruit("apple")]

    catalog = Catalog("fruit", read)
    assert not reads
    assert "apple" in catalog
    assert len(catalog) == len(reads) == 1


def test_did_you_mean_is_silent_where_nothing_is_close() -> None:
    assert did_you_mean("xyz", ["resnet18"]) == ""
    assert did_you_mean("resnet81", ["resnet18"]) == "did you mean resnet18?"


def test_names_that_begin_so_come_first_and_weak_ones_fall_beside_a_strong_one() -> None:
    models = ["alexnet", "googlenet", "lenet5", "lenet5_relu"]
    assert did_you_mean("lenet", models) == "did you mean lenet5 or lenet5_relu?"
    options = ["--epochs", "--nproc", "--warmup-epochs", "--seed"]
    assert did_you_mean("--epohcs", options) == "did you mean --epochs?"
    assert did_you_mean("--epoch", options) == "did you mean --epochs?"
    assert did_you_mean("minst", ["mnist", "qmnist", "iris"]) == "did you mean mnist or qmnist?"
    assert did_you_mean("zzz", models) == ""


def test_names_of_a_file_do_no_harm_to_the_terminal() -> None:
    assert some_of(["a", "\x1b[2J", "b" * 200]) == "a, '\\x1b[2J', " + "b" * 80 + "…"
    assert some_of(dict.fromkeys("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some_of(list("abc"), 3) == "a, b, c"
