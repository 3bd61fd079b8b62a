"""The document of the dashboard, and its one layout with the parts of all pages."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import dcc, html

from landscape_app import inputs, navigation
from landscape_app.components import HIDDEN, THEME, named, saving
from landscape_app.pages import FIGURE_PAGES, runs
from landscape_app.url import MOST_RUNS

PAGES = ["runs", "other", *(page.key for page in FIGURE_PAGES)]
_REFRESH_MILLISECONDS = 3000
# The script runs before the browser paints the page, so that the chosen colours show at once. See
# theme.js.
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<script>
(() => {
  let choice = null;
  try { choice = localStorage.getItem("mantine-color-scheme-value"); } catch {}
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const scheme = ["light", "dark"].includes(choice) ? choice : dark ? "dark" : "light";
  document.documentElement.dataset.mantineColorScheme = scheme;
})()
</script>
{%metas%}
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="ICON">
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def layout(root: str = "/") -> dmc.MantineProvider:
    """All parts of all pages, without content.

    Args:
        root: Path of the dashboard in the browser.
    """
    # The layout always holds all pages and hides them by style, so that no graph is mounted twice.
    # A graph is not mounted before its page is first shown: a dozen empty figures take seconds.
    return dmc.MantineProvider(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="clock", interval=_REFRESH_MILLISECONDS),
            dcc.Store(id="back"),
            dcc.Store(id="address"),
            dcc.Store(id="seen"),
            dcc.Store(id="document-title"),
            dcc.Store(id="dark"),
            dcc.Store(id="webgl"),
            dcc.Store(id="width"),
            *(dcc.Store(id=f"{key}-shown") for key in PAGES),
            html.A("Skip to the content", href="#main", className="skip"),
            html.Header(
                [
                    dcc.Link("landscape", href=root, className="brand"),
                    html.Nav(id="pages", **{"aria-label": "Pages"}),
                    dmc.SegmentedControl(
                        id="theme",
                        data=[
                            {"value": "light", "label": "light"},
                            {"value": "dark", "label": "dark"},
                            {"value": "auto", "label": "automatic"},
                        ],
                        value="auto",
                        size="xs",
                        **named("Colours"),
                    ),
                ],
                className="top",
            ),
            html.Div(id="connection", role="alert"),
            html.Div(id="compared"),
            html.Main(
                [
                    html.Div(id="heading"),
                    html.Div(id="trouble", role="status"),
                    inputs.sample_entries([navigation.sign(place) for place in range(MOST_RUNS)]),
                    html.Div(runs.layout(), id="runs-page", style=HIDDEN),
                    html.Div(id="other-page", style=HIDDEN),
                    inputs.remark_form(),
                    *(
                        html.Div(
                            dmc.Collapse(
                                [
                                    html.Div(id=f"{page.key}-controls", className="controls"),
                                    *page.layout(),
                                    html.Div(id=f"{page.key}-below"),
                                    saving(),  # not above: it would be two stops to each figure
                                ],
                                id=f"{page.key}-mounted",
                                opened=False,
                                transitionDuration=0,
                            ),
                            id=f"{page.key}-page",
                            style=HIDDEN,
                        )
                        for page in FIGURE_PAGES
                    ),
                ],
                id="main",
                tabIndex=-1,
            ),
        ],
        id="provider",
        defaultColorScheme="auto",
        theme=THEME,
    )
