"""The pages in a real browser: what a user sees, and that nothing leaves the machine."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from browsing import CAMERA, Visit, follow, wait_for_frames
from made import write_predictions
from PIL import Image
from playwright.sync_api import Page, expect

from landscape.store import Run

pytestmark = pytest.mark.browser

RANGE = """name =>
    document.querySelector(`#${name} .js-plotly-plot`)?._fullLayout?.xaxis.range"""
NAMES = """() => [...document.querySelectorAll('#grid .ag-row')]
    .sort((one, other) => one.getAttribute('row-index') - other.getAttribute('row-index'))
    .map(row => row.querySelector('[col-id=name]').innerText).join(' ')"""
BAR = """orientation => {
    const plot = document.querySelector("#surface-0 .js-plotly-plot");
    const bar = [...plot.querySelectorAll(".colorbar text")].map((label) => label.textContent);
    const { w, h } = plot._fullLayout._size;
    return plot._fullData[0].colorbar.orientation === orientation
        && bar.length > 2 && new Set(bar).size === bar.length && Math.min(w, h) > 300;
}"""
HEIGHT = (
    "() => document.querySelector('#surface-0 .js-plotly-plot')._fullLayout.scene.zaxis.tickvals"
)

_TRACES = """const plot = document.querySelector(`#${graph} .js-plotly-plot`);
    const traces = (plot?._fullData ?? []).filter(({ customdata }) => customdata?.length);"""
PICKED = f"""([graph, run, expected]) => {{
    {_TRACES}
    const escaped = run.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    const mine = traces.filter(({{ customdata }}) => customdata[0][0] === escaped);
    return mine.length > 0 && mine.every(({{ selectedpoints }}) =>
        JSON.stringify([...(selectedpoints ?? [-1])].sort((a, b) => a - b)) ===
        JSON.stringify(expected));
}}"""
UNPICKED = f"""graph => {{
    {_TRACES}
    return traces.length > 0 && !traces.some(({{ selectedpoints }}) => selectedpoints);
}}"""

DRAWN_IN = """([graph, name, colour]) => {
    const plot = document.querySelector(`#${graph} .js-plotly-plot`);
    return (plot?._fullData ?? []).some((trace) => (trace.name ?? "").includes(name)
        && [trace.marker?.color, trace.line?.color].flat().includes(colour));
}"""
TROUBLE = "main .notice-error"
SCHEME = "document.documentElement?.dataset.mantineColorScheme"


def colours(page: Page, selector: str) -> int:
    """How many different colours an element shows."""
    with Image.open(io.BytesIO(page.locator(selector).screenshot())) as image:
        return len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0))


FIGURES = {
    "surface": ("#surface-0 .contourlayer path", "#surface-0 .scatterlayer path.point"),
    "flatness": (
        "#eigenvalues .scatterlayer path.point",
        "#spread .scatterlayer path.point",
        "#spread .errorbar path",
        "#relation .scatterlayer path.point",
        "#density .scatterlayer path.js-line",
    ),
    "averaging": ("#metrics .scatterlayer path.point", "#averaging path.js-line"),
    "calibration": ("#calibration .scatterlayer path.point", "#calibration .bars path"),
    "training": ("#training .scatterlayer path.js-line",),
}


def brightness(page: Page, selector: str) -> float:
    """Median grey value of an element, 0 to 255."""
    with Image.open(io.BytesIO(page.locator(selector).screenshot())) as image:
        return float(np.median(np.asarray(image.convert("L"))))


def test_the_list_leads_to_a_run_and_its_numbers(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent)
    page.get_by_role("link", name="digits-swag-0").click()
    page.get_by_role("heading", name="digits-swag-0").wait_for()
    expect(page.locator(".fact", has_text="Accuracy")).to_contain_text("93.5 %")
    expect(page.locator(".metrics tbody tr")).to_have_count(4)
    page.get_by_text("Settings and provenance").click()
    expect(page.get_by_text("parameter_count")).to_be_visible()
    page.get_by_role("navigation", name="Look at it in").get_by_text("Flatness").click()
    page.locator("#spread .scatterlayer path.point").first.wait_for(state="attached")


def test_every_page_draws_its_figures_and_offers_to_upload_none(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, f"/{next(iter(FIGURES))}?run=digits-swag-0")
    for name, drawn in FIGURES.items():
        follow(page, name)
        for mark in drawn:
            page.locator(mark).first.wait_for(state="attached")
            box = page.locator(mark).first.bounding_box()
            assert box is not None
            assert box["width"] > 0, mark
        expect(page.locator(".top [aria-current=page]")).to_have_text(name, ignore_case=True)
        titles = page.locator(f"#{name}-page .modebar-btn").evaluate_all(
            "buttons => buttons.map(({ dataset, ariaLabel }) => dataset.title + ariaLabel)"
        )
        assert any("Zoom" in title for title in titles), name
        assert not any("hare" in title or "loud" in title for title in titles)
    assert page.locator(".modebar-btn--logo").count() == 0


def test_runs_are_chosen_in_the_list_and_dropped_anywhere(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed in range(5):
        new_run(f"swag-{seed}", seed=seed)
    page = show(tmp_path)
    for seed in range(4):
        page.get_by_title(f"Choose swag-{seed}").click()
        page.get_by_title(f"Take off swag-{seed}").wait_for()
    page.get_by_title("Four runs are chosen already").wait_for()
    page.get_by_role("navigation", name="Pages").get_by_text("Surface").click()
    for slot in range(4):
        page.locator(f"#surface-{slot} .contourlayer path").first.wait_for(state="attached")
    page.locator("#compared").get_by_title("Take swag-1 off").click()
    page.locator("#surface-1-frame").wait_for(state="hidden")
    assert page.url.endswith("/surface?run=swag-0&run=&run=swag-2&run=swag-3")
    page.go_back()
    page.locator("#surface-1-frame").wait_for()


def test_two_runs_are_compared_in_every_figure_in_the_same_colours(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("first", "second")):
        new_run(name, seed=seed)
    query = "?run=second&run=first"  # in the order of the address, not of the folder
    page = show(tmp_path, f"/surface{query}")
    site = page.url.partition("/surface")[0]
    page.locator("#surface-0 .gtitle", has_text="second").wait_for()
    page.locator("#surface-1 .gtitle", has_text="first").wait_for()
    for where, graphs in (
        ("flatness", ("eigenvalues", "spread", "relation", "density")),
        ("averaging", ("averaging",)),
        ("calibration", ("calibration",)),
        ("training", ("training",)),
    ):
        follow(page, where)
        assert page.url == f"{site}/{where}{query}"
        for graph in graphs:
            for name, colour in (("second", "#0072B2"), ("first", "#D55E00")):
                page.wait_for_function(DRAWN_IN, arg=[graph, name, colour])
    chips = page.locator("#compared li")
    expect(chips.locator("a:not(.drop)")).to_have_text(["second", "first"])
    signs = chips.locator("span[aria-hidden]")
    assert signs.nth(0).evaluate("sign => sign.style.color") == "rgb(0, 114, 178)"
    # The second stays the second, also where it is alone.
    page.get_by_title("Take second off").click()
    page.wait_for_function(DRAWN_IN, arg=["training", "validation loss", "#D55E00"])
    expect(signs).to_have_text(["■"])
    page.get_by_role("navigation", name="Pages").get_by_text("Surface").click()
    page.locator("#surface-1 .contourlayer path").first.wait_for(state="attached")


def test_the_list_is_sorted_by_number_and_filtered_while_typing(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for name, nll in (("a-run", 0.9), ("b-run", 10.0), ("c-run", 2.0)):
        run = new_run(name)
        run.write("predictions", dict(run["predictions"]), {"nll": nll})
    page = show(tmp_path)
    page.locator("#grid [col-id=nll] .ag-header-cell-text").click()
    page.wait_for_function(NAMES + " === 'a-run c-run b-run'")
    page.get_by_label("Find runs").fill("C-")
    page.wait_for_function(NAMES + " === 'c-run'")


def test_errors_of_real_targets_have_a_column_where_there_are_any(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    new_run("classes")
    page = show(tmp_path)
    page.locator("#grid [col-id=nll] .ag-header-cell-text").wait_for()
    assert page.locator("#grid [col-id=rmse]").count() == 0
    real = new_run("real")
    real.write("predictions", dict(real["predictions"]), {"nll": 1.0, "rmse": 0.25})
    page.locator("#grid .ag-row [col-id=rmse]", has_text="0.25").wait_for()


def test_settings_that_differ_are_set_side_by_side(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    new_run("one")
    new_run("two", seed=7)
    page = show(tmp_path, "/?run=one&run=two")
    section = page.locator("section", has_text="Settings that differ")
    section.wait_for()
    assert [row.split() for row in section.locator("tbody tr").all_inner_texts()] == [
        ["seed", "0", "7"]
    ]


def test_another_plane_is_a_choice_away_and_a_permalink_shows_what_was_on_the_screen(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    page.locator("#surface-0 .gtitle", has_text="through the samples").wait_for()
    for choice in ("random", "logarithmic", "3D"):  # what is in space takes longest to draw
        page.locator("#surface-controls").get_by_text(choice, exact=True).click()
        page.locator("#surface-controls [aria-current]", has_text=choice).wait_for()
        page.locator("#surface-0 .gtitle", has_text="a random plane").wait_for()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator("#surface-0 .gtitle", has_text="a random plane").wait_for()
    page.wait_for_function(HEIGHT)


def test_a_dark_page_has_dark_figures(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/flatness?run=digits-swag-0")
    page.locator("#spread .scatterlayer path.point").first.wait_for(state="attached")
    light = brightness(page, "#spread")
    page.get_by_label("Colours").get_by_text("dark").click()
    page.wait_for_function(
        "() => document.querySelector('#spread .js-plotly-plot')._fullLayout.paper_bgcolor"
        " === '#161b22'"
    )
    assert brightness(page, "#spread") < 80 < 200 < light
    page.get_by_label("Colours").get_by_text("automatic").click()
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.mantineColorScheme === 'dark'")


def test_chosen_colours_are_kept_and_no_others_flash_up(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/flatness")  # a light machine
    page.get_by_label("Colours").get_by_text("dark").click()
    page.wait_for_function(f"() => {SCHEME} === 'dark'")
    page.add_init_script(
        f"""
        window.schemes = [];
        new MutationObserver(() => window.schemes.push({SCHEME})).observe(
            document, {{ attributes: true, subtree: true, attributeFilter: [ATTRIBUTE] }}
        );""".replace("ATTRIBUTE", "'data-mantine-color-scheme'")
    )
    page.reload()
    notice = page.locator(".notice", has_text="No run is chosen")
    notice.wait_for()
    page.wait_for_timeout(500)
    assert set(page.evaluate("() => window.schemes")) == {"dark"}
    assert page.get_by_label("Colours").get_by_role("radio", name="dark").is_checked()
    assert brightness(page, ".notice") < 90
    page.get_by_label("Colours").get_by_text("light").click()
    page.wait_for_function(f"() => {SCHEME} === 'light'")
    assert brightness(page, ".notice") > 200


def test_the_list_does_not_wait_for_plotly(
    show: Callable[..., Page], complete: Run, visit: Visit
) -> None:
    page = show(complete.path.parent)
    page.get_by_title("Choose digits-swag-0").click()
    page.get_by_title("Take off digits-swag-0").wait_for()
    assert not any("plotly" in url for url in visit.requests)
    page.get_by_role("navigation", name="Pages").get_by_text("Training").click()
    page.locator("#training path.js-line").first.wait_for(state="attached")
    assert any("plotly" in url for url in visit.requests)


def test_a_page_without_runs_leads_to_the_list(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/flatness")
    page.get_by_text("No run is chosen").wait_for()
    page.get_by_role("link", name="list of runs").click()
    page.get_by_title("Choose digits-swag-0").wait_for()


def test_the_keyboard_reaches_the_controls(show: Callable[..., Page], complete: Run) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    link = page.locator("#surface-controls").get_by_text("logarithmic")
    link.wait_for()
    link.focus()
    page.keyboard.press("Enter")
    page.locator("#surface-controls [aria-current]", has_text="logarithmic").wait_for()
    page.wait_for_function("() => document.activeElement.innerText === 'logarithmic'")


def test_cameras_of_surfaces_side_by_side_are_linked(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    new_run("one")
    new_run("two", seed=1)
    page = show(tmp_path, "/surface?run=one&run=two&view=3d")
    page.locator("#surface-1 canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    page.wait_for_timeout(500)
    before = page.evaluate(CAMERA)
    box = page.locator("#surface-1 canvas").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 160, steps=2)
    page.mouse.up()
    page.wait_for_timeout(500)
    after = page.evaluate(CAMERA)
    assert distance(after, before) > 0.1
    assert after == pytest.approx(page.evaluate(CAMERA.replace("#surface-0", "#surface-1")))


def test_3d_on_demand_keeps_the_camera_when_the_figure_changes(
    show: Callable[..., Page], complete: Run
) -> None:
    page = show(complete.path.parent, "/surface?run=digits-swag-0")
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    expect(page.locator("#surface-0 canvas")).to_have_count(0)
    page.get_by_role("link", name="3D").click()
    page.locator("#surface-0 canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    page.wait_for_timeout(500)
    assert colours(page, "#surface-0 canvas >> nth=0") > 1000
    before = page.evaluate(CAMERA)
    box = page.locator("#surface-0 canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 120, y + 20, steps=2)
        page.mouse.up()

    turned = camera_after(page, drag, lambda eye: distance(eye, before) > 0.1)
    farther = camera_after(
        page, lambda: page.mouse.wheel(0, 200), lambda eye: length(eye) > 1.05 * length(turned)
    )
    page.get_by_role("link", name="logarithmic").click()
    page.wait_for_function(HEIGHT)
    assert page.evaluate(CAMERA) == pytest.approx(farther, abs=1e-3)
    button = page.locator("#surface-0 [data-title='Reset camera to default']")
    reset = camera_after(page, button.click, lambda eye: length(eye) < 0.95 * length(farther))
    page.get_by_role("link", name="linear").click()
    page.wait_for_function(f"() => !({HEIGHT})()")
    assert page.evaluate(CAMERA) == pytest.approx(reset, abs=1e-3)
    page.set_viewport_size(
        {"width": 640, "height": 900}
    )  # its bar turns, and leaves nothing behind
    page.wait_for_function(BAR, arg="h")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function(BAR, arg="v")


def camera_after(
    page: Page, act: Callable[[], object], reached: Callable[[dict[str, float]], bool]
) -> dict[str, float]:
    """Where the camera comes to rest after ``act``, which a slow machine may not see at first."""
    for _ in range(10):
        act()
        eye, last = page.evaluate(CAMERA), None
        while eye != last:
            page.wait_for_timeout(500)
            eye, last = page.evaluate(CAMERA), eye
        if reached(eye):
            return dict(eye)
    raise AssertionError(f"the camera stays at {eye}")


def distance(one: dict[str, float], other: dict[str, float]) -> float:
    return length({axis: one[axis] - other[axis] for axis in one})


def length(eye: dict[str, float]) -> float:
    return sum(value**2 for value in eye.values()) ** 0.5


@pytest.mark.parametrize("name", ["surface-0", "spread"])
def test_a_zoom_and_its_end_outlast_a_new_figure(
    name: str, show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("zoomed")
    where = "flatness" if name == "spread" else "surface"
    page = show(tmp_path, f"/{where}?run=zoomed")
    page.locator(f"#{name} .nsewdrag").first.wait_for(state="attached")
    page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    whole = page.evaluate(RANGE, name)
    box = page.locator(f"#{name} .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"([name, width]) => {{ const [low, high] = ({RANGE})(name); return high - low < width; }}",
        arg=[name, 0.8 * (whole[1] - whole[0])],
    )
    zoomed = page.evaluate(RANGE, name)
    redraw(page, name, run)
    assert page.evaluate(RANGE, name) == pytest.approx(zoomed)
    for again in range(10):  # two clicks that a slow machine sees apart are none
        # No sample is there: a click on one draws anew.
        page.mouse.dblclick(box["x"] + 0.98 * box["width"], box["y"] + 0.03 * box["height"])
        page.wait_for_timeout(800)
        if again and page.evaluate(RANGE, name) == pytest.approx(whole):
            break
    assert page.evaluate(RANGE, name) == pytest.approx(whole)
    redraw(page, name, run)
    assert page.evaluate(RANGE, name) == pytest.approx(whole)
    for button in ("Autoscale", "Reset axes"):  # the whole, too, and not the points
        page.evaluate(
            """([name, range]) => Plotly.relayout(
                document.querySelector(`#${name} .js-plotly-plot`), { "xaxis.range": range })""",
            [name, zoomed],
        )
        page.locator(f"#{name} [data-title='{button}']").first.click()
        page.wait_for_function(
            f"""([name, whole]) => ({RANGE})(name).every(
                (end, index) => Math.abs(end - whole[index]) < 1e-6)""",
            arg=[name, whole],
        )


def test_an_axis_that_nobody_touched_follows_the_data(
    show: Callable[..., Page], started: Run
) -> None:
    write_predictions(started, np.random.default_rng(0), samples=4)
    page = show(started.path.parent, "/averaging?run=digits-map-0")
    page.wait_for_function(f"() => ({RANGE})('metrics')?.[1] === 3.5")
    write_predictions(started, np.random.default_rng(0), samples=9)
    page.wait_for_function(f"() => ({RANGE})('metrics')?.[1] === 8.5")


def redraw(page: Page, name: str, run: Run) -> None:
    """Change the run's file, and wait until the figure is drawn again."""
    page.evaluate(
        """name => {
            window.drawn = false;
            const plot = document.querySelector(`#${name} .js-plotly-plot`);
            plot.on("plotly_react", () => { window.drawn = true; });
            plot.on("plotly_afterplot", () => { window.drawn = true; });
        }""",
        name,
    )
    run.write("samples", dict(run["samples"]), run.attributes_of("samples"))
    page.wait_for_function("() => window.drawn")
    page.wait_for_timeout(300)


def click_until(page: Page, written: str) -> None:
    """Click until the address says so: in space, a slow machine may miss a click."""
    for _ in range(10):
        page.mouse.down()
        wait_for_frames(page)  # in space, a frame must see the button down
        page.mouse.up()
        wait_for_frames(page)
        page.wait_for_timeout(600)
        if written in page.url:
            return
    raise AssertionError(f"no '{written}' in {page.url}")


def test_a_click_on_a_surface_slices_it_there(show: Callable[..., Page], complete: Run) -> None:
    address = "/surface?run=digits-swag-0&view=contour&pick=digits-swag-0:1"
    page = show(complete.path.parent, address)
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    click_on_the_surface(page)


def click_on_the_surface(page: Page) -> None:
    """Click between the samples, of which one is highlighted: the slices go through there."""
    page.wait_for_timeout(800)
    assert not page.locator("#slices-frame").is_visible()
    place = page.locator("#surface-0 .nsewdrag, #surface-0 canvas").first.bounding_box()
    assert place is not None
    page.evaluate("""() => document.querySelector('#surface-0 .js-plotly-plot').on('plotly_hover',
        ({ points: [{ customdata }] }) => {
            window.over = typeof customdata?.[0] !== "string"; })""")
    for across, down in ((x / 10, y / 10) for y in (6, 5, 7) for x in (5, 4, 6, 3, 7)):
        page.mouse.move(place["x"] + across * place["width"], place["y"] + down * place["height"])
        wait_for_frames(page)
        if page.evaluate("() => window.over"):
            break
    click_until(page, "at=")
    page.locator("#slices .scatterlayer path.js-line").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    assert "&pick=digits-swag-0:1" in page.url
    x, y = (float(value) for value in page.url.split("at=")[1].split(","))
    assert -3 <= x <= 4
    assert -2 <= y <= 2.5
    marks = page.evaluate(
        "() => document.querySelector('#slices .js-plotly-plot')._fullData.map(({x}) => x)"
    )
    assert marks[1] == pytest.approx([x], abs=0.12)
    assert marks[3] == pytest.approx([y], abs=0.06)


SAMPLES_ON_SCREEN = """() => {
    const plot = document.querySelector("#surface-0 .js-plotly-plot");
    const { glplot, dataScale } = plot._fullLayout.scene._scene;
    const { model, view, projection } = glplot.cameraParams;
    const times = (matrix, v) => [0, 1, 2, 3].map((row) =>
        [0, 1, 2, 3].reduce((sum, column) => sum + matrix[4 * column + row] * v[column], 0));
    const box = glplot.canvas.getBoundingClientRect();
    const { x, y, z } = plot._fullData.find(({ type }) => type === "scatter3d");
    return [...x].map((_, index) => {
        const point = [x, y, z].map((values, axis) => values[index] * dataScale[axis]);
        const p = times(projection, times(view, times(model, [...point, 1])));
        const [across, down] = [0.5 + p[0] / p[3] / 2, 0.5 - p[1] / p[3] / 2];
        return [box.x + across * box.width, box.y + down * box.height];
    });
}"""
COLOURS = """() => document.querySelector("#surface-0 .js-plotly-plot")._fullData
    .find(({ type }) => type === "scatter3d").marker.color.map(colour => colour.toUpperCase())"""


def test_a_click_in_space_slices_the_surface_or_highlights_a_sample(
    show: Callable[..., Page], complete: Run
) -> None:
    address = "/surface?run=digits-swag-0&view=3d"
    page = show(complete.path.parent, address + "&pick=digits-swag-0:1")
    page.locator("#surface-0 canvas").first.wait_for()
    page.wait_for_function(CAMERA)
    click_on_the_surface(page)
    at = page.url.partition("&at=")[2].partition("&")[0]
    page.get_by_role("link", name="Highlight none").click()
    page.wait_for_url(f"**{address}&at={at}")
    page.wait_for_function(f"() => !({COLOURS})().includes('#D55E00')")
    page.wait_for_timeout(1000)
    before = page.evaluate(CAMERA)
    page.evaluate("""() => document.querySelector('#surface-0 .js-plotly-plot').on('plotly_hover',
        ({ points: [{ customdata }] }) => {
            window.over = typeof customdata?.[0] === "string" ? customdata[1] : null; })""")
    for sample, (x, y) in enumerate(page.evaluate(SAMPLES_ON_SCREEN)):
        page.mouse.move(x, y)
        page.wait_for_timeout(400)
        if page.evaluate("() => window.over") == sample:  # not hidden by the surface
            break
    else:
        raise AssertionError("no sample is to be seen")
    click_until(page, "pick=")
    page.wait_for_url(f"**at={at}&pick=digits-swag-0:{sample}")
    page.wait_for_function(f"sample => ({COLOURS})()[sample] === '#D55E00'", arg=sample)
    assert page.evaluate(COLOURS).count("#D55E00") == 1
    assert page.evaluate(CAMERA) == pytest.approx(before, abs=1e-3)
    page.get_by_role("navigation", name="Pages").get_by_text("Flatness").click()
    page.wait_for_function(PICKED, arg=["spread", "digits-swag-0", [sample]])
    page.go_back()
    page.locator("#surface-page").wait_for()  # until then the link is the other page's
    page.get_by_role("link", name="Highlight none").click()
    page.wait_for_function(f"() => !({COLOURS})().includes('#D55E00')")
    assert page.url.endswith(f"at={at}")


def test_samples_brushed_in_one_figure_are_highlighted_in_the_others(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "a & <b>")):
        new_run(name, seed=seed)
    page = show(tmp_path, "/flatness?run=one&run=a%20%26%20%3Cb%3E")
    page.locator("#spread .scatterlayer path.point").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    # A click on the third sample of the second run.
    page.locator("#spread").scroll_into_view_if_needed()
    page.locator("#spread .xy .scatterlayer .trace >> nth=2 >> path.point >> nth=2").hover(
        force=True
    )
    page.mouse.down()
    page.mouse.up()
    for graph in ("eigenvalues", "spread", "relation"):
        page.wait_for_function(PICKED, arg=[graph, "a & <b>", [2]])
        page.wait_for_function(PICKED, arg=[graph, "one", []])
    assert page.url.endswith("pick=a%20%26%20%3Cb%3E:2")
    # A box around all that is in another figure, drawn after its Box Select is chosen.
    page.locator("#relation").scroll_into_view_if_needed()
    page.locator("#relation").hover()
    page.locator("#relation [data-title='Box Select']").click()
    box = page.locator("#relation .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] - 3, steps=6)
    page.mouse.up()
    for graph in ("eigenvalues", "spread", "relation"):
        page.wait_for_function(PICKED, arg=[graph, "one", list(range(10))])
    page.get_by_role("link", name="Highlight none").click()
    for graph in ("eigenvalues", "spread", "relation"):
        page.wait_for_function(UNPICKED, arg=graph)
    assert "pick" not in page.url
    # The choice holds on other pages.
    page.goto(page.url + "&pick=one:4")
    page.get_by_role("navigation", name="Pages").get_by_text("Averaging").click()
    page.wait_for_function(PICKED, arg=["metrics", "one", [4]])


def test_an_empty_folder_says_what_to_do_and_follows_the_folder(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    page = show(tmp_path)
    page.get_by_text("landscape demo").wait_for()
    assert page.get_by_text(str(tmp_path)).count() >= 1
    new_run("arrived")
    page.get_by_role("link", name="arrived").wait_for()


def test_a_broken_file_is_listed_with_its_reason(show: Callable[..., Page], started: Run) -> None:
    (started.path.parent / "notes.h5").write_text("hello")
    page = show(started.path.parent)
    row = page.locator(".broken tr", has_text="notes.h5")
    assert "not an HDF5 file" in row.inner_text()
    page.goto(page.url + "run/notes")
    page.locator(TROUBLE, has_text="not an HDF5 file").wait_for()


def test_a_missing_quantity_stands_where_its_figure_would(
    show: Callable[..., Page], started: Run
) -> None:
    page = show(started.path.parent, "/run/digits-map-0")
    site = page.url.removesuffix("/run/digits-map-0")
    page.get_by_text("This run is not complete").wait_for()
    page.locator("section .notice", has_text="landscape train").wait_for()
    places = {
        "surface": ("surface-0",),
        "flatness": ("eigenvalues", "spread", "relation", "density"),
        "averaging": ("metrics", "averaging"),
        "calibration": ("calibration",),
        "training": ("training",),
    }
    page.goto(f"{site}/surface?run=digits-map-0")
    for name, identifiers in places.items():
        follow(page, name)
        for place in identifiers:
            page.locator(f"#{place}-message .notice", has_text="landscape").wait_for()
            expect(page.locator(f"#{place}-frame")).to_be_hidden()


def test_a_file_that_breaks_and_a_folder_that_goes_are_told(
    show: Callable[..., Page], new_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = new_run("short-lived")
    page = show(tmp_path, "/surface?run=short-lived")
    page.locator("#surface-0 .contourlayer path").first.wait_for(state="attached")
    run.path.write_bytes(run.path.read_bytes()[:1000])
    page.locator(TROUBLE, has_text="truncated").wait_for()
    shutil.rmtree(tmp_path)
    page.get_by_role("link", name="Runs").click()
    page.get_by_text("The folder cannot be read").wait_for()


def test_an_address_that_is_no_page_says_so(
    show: Callable[..., Page], started: Run, visit: Visit
) -> None:
    show(started.path.parent)
    for path, said in (
        ("/run/..%2Fsecret", "not the name of a run"),
        ("/run/absent", "no run 'absent'"),
        ("/elsewhere", "nothing at"),
    ):
        visit.open(path).locator(TROUBLE, has_text=said).wait_for()
