from __future__ import annotations

import pytest
from landscape_app.url import View

FULL = View(
    "surface",
    runs=("swag", "fp & bma:1/é"),
    plane="random",
    settings={"view": "3d", "loss": "log"},
    picked={"fp & bma:1/é": (0, 4)},
    at=(-0.5, 1e-3),
)


def test_an_address_reads_as_the_view_that_it_was_made_of() -> None:
    assert View.parse(FULL.address) == FULL
    assert View.parse(View("run", "a/b?c#d%20").address) == View("run", "a/b?c#d%20")


def test_an_address_is_readable() -> None:
    view = View("flatness", runs=("swag",)).set("eigenvalues", "log").pick({"swag": (4, 0, 4)})
    assert view.address == "/flatness?run=swag&eigenvalues=log&pick=swag:0,4"
    assert View().address == "/"


def test_a_default_is_not_in_the_address() -> None:
    assert FULL.set("view", "contour").set("loss", "auto").settings == {}
    assert FULL.setting("view") == "3d"
    assert View().setting("view") == "contour"


@pytest.mark.parametrize(
    "query",
    [
        "view=4d",
        "loss=",
        "colour=red",
        "pick=swag:0",
        "pick=a:x,-1,²",
        "&&&=",
        "view=contour",
        "at=1",
        "at=nan,1",
        "at=a,b",
    ],
)
def test_what_an_address_gets_wrong_is_left_out(query: str) -> None:
    assert View.parse("/surface?run=a&" + query) == View("surface", runs=("a",))


def test_no_more_than_four_runs_and_none_twice() -> None:
    assert View.parse("/?run=a&run=a&run=b&run=c&run=d&run=e").runs == ("a", "b", "c", "d")


def test_a_run_that_leaves_takes_its_highlighted_samples_along() -> None:
    without = FULL.toggle("fp & bma:1/é")
    assert (without.runs, without.picked) == (("swag",), {})
    assert without.toggle("map").runs == ("swag", "map")
    assert without.pick({"map": (1,)}).picked == {}


def test_a_run_keeps_its_place_while_others_come_and_go() -> None:
    view = View("flatness", runs=("a", "b", "c"))
    without = view.toggle("a")
    assert (without.runs, without.places) == (("b", "c"), (1, 2))
    assert without.address == "/flatness?run=&run=b&run=c"
    assert View.parse(without.address) == without
    more = without.toggle("d")
    assert (more.runs, more.place("d"), more.place("c")) == (("d", "b", "c"), 0, 2)
    assert view.toggle("c") == View("flatness", runs=("a", "b"))
