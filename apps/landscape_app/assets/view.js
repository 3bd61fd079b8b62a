// A figure that is drawn again keeps what the reader did to it: zoom, camera, and their reset.
// Plotly's own uirevision would, but Dash hands it back the layout that the reader has changed.
(() => {
  const given = {}; // the axes' ranges by graph, as the server last drew it

  const axesOf = (layout) => Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));

  function keepView(figure) {
    const graph = dash_clientside.callback_context.outputs_list.id;
    const plot = document.querySelector(`#${graph} .js-plotly-plot`);
    const live = plot?._fullLayout;
    const layout = figure?.layout ?? {};
    document.dispatchEvent(new CustomEvent("landscape:drawn", { detail: graph }));
    const before = given[graph] ?? {};
    given[graph] = {};
    for (const name of axesOf(layout)) given[graph][name] = layout[name].range?.slice();
    const drawn = (window.landscapeDrawn ??= {}); // when, by graph: see brush.js
    drawn[graph] = performance.now();
    plot?.once?.("plotly_afterplot", () => (drawn[graph] = performance.now()));
    if (!live || live.uirevision !== layout.uirevision) return figure;

    // Drawn whole first, so that a double click later finds the whole again.
    const zoom = {};
    for (const name of axesOf(live)) {
      const { autorange, range } = live[name];
      const isWhole = before[name]
        ? before[name].every((end, index) => end === range[index])
        : autorange;
      if (!isWhole && autorange) zoom[`${name}.autorange`] = true;
      else if (!isWhole) zoom[`${name}.range`] = [...range];
    }
    if (Object.keys(zoom).length) {
      plot.once("plotly_afterplot", () => window.Plotly.relayout(plot, zoom));
    }

    const scene = live.scene?._scene;
    if (!scene) return figure;
    return { ...figure, layout: { ...layout, scene: { ...layout.scene, camera: scene.getCamera() } } };
  }

  // Surfaces side by side are looked at from one place.
  function linkCameras() {
    const moved = dash_clientside.callback_context.triggered_id;
    const plots = document.querySelectorAll("[id^=surface-] .js-plotly-plot");
    const source = document.querySelector(`#${moved} .js-plotly-plot`)?._fullLayout?.scene?._scene;
    if (source) {
      const camera = source.getCamera();
      for (const plot of plots) {
        const other = plot._fullLayout?.scene?._scene;
        if (other && other !== source && !same(other.getCamera(), camera)) {
          window.Plotly.relayout(plot, { "scene.camera": camera });
        }
      }
    }
    return dash_clientside.no_update;
  }

  const same = (one, other) =>
    ["eye", "center", "up"].every((part) =>
      ["x", "y", "z"].every((axis) => Math.abs(one[part][axis] - other[part][axis]) < 1e-6),
    );

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    keepView,
    linkCameras,
  });
})();
