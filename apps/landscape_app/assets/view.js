// A figure that is drawn again keeps what the reader did to it: zoom, camera, and their reset.
// Plotly's own uirevision would, but Dash hands it back the layout that the reader has changed.
(() => {
  const given = {}; // the axes' ranges by graph, as the server last drew it
  const waiting = new Set(); // graphs that are to be looked at from where the address says
  let home = null; // the camera that the server gives a surface

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
    if (layout.scene) home = layout.scene.camera;
    if (layout.scene && !live?.scene?._scene) lookAsAddressed(graph);
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
    const camera = waiting.has(graph) ? addressed() : scene.getCamera();
    return { ...figure, layout: { ...layout, scene: { ...layout.scene, camera } } };
  }

  // A double click and two buttons let go of the axes. Plotly then fits them to the points, where
  // the figure may have been given ranges that show more.
  function showWhole(changed) {
    const { triggered_id: graph } = dash_clientside.callback_context;
    const ranges = Object.entries(given[graph] ?? {})
      .filter(([name, range]) => range && changed?.[`${name}.autorange`])
      .map(([name, range]) => [`${name}.range`, [...range]]);
    const plot = document.querySelector(`#${graph} .js-plotly-plot`);
    if (plot && ranges.length) window.Plotly.relayout(plot, Object.fromEntries(ranges));
  }

  // A scene is drawn from the usual place first, so that its reset button leads back there.
  async function lookAsAddressed(graph) {
    const camera = addressed();
    if (!camera || waiting.has(graph)) return;
    waiting.add(graph);
    for (let tries = 0; tries < 200; tries += 1) {
      await new Promise((done) => setTimeout(done, 100));
      const plot = document.querySelector(`#${graph} .js-plotly-plot`);
      if (!plot?._fullLayout?.scene?._scene?.glplot) continue;
      await window.Plotly.relayout(plot, { "scene.camera": camera });
      break;
    }
    waiting.delete(graph);
  }

  const addressed = () => cameraOf(window.landscapeAddress.read().camera);

  // Nine numbers: where the eye is, what it looks at, and where up is. The last may be left out.
  function cameraOf(text) {
    const numbers = text.split(",").map(Number);
    if (![6, 9].includes(numbers.length) || !numbers.every(Number.isFinite)) return null;
    const [eye, center, up = { x: 0, y: 0, z: 1 }] = [0, 3, 6]
      .filter((start) => start < numbers.length)
      .map((start) => ({ x: numbers[start], y: numbers[start + 1], z: numbers[start + 2] }));
    return { ...home, eye, center, up };
  }

  function writtenCamera(camera) {
    if (home && same(camera, home)) return "";
    const parts = [camera.eye, camera.center];
    if (Math.abs(camera.up.z - 1) > 1e-6) parts.push(camera.up);
    return parts.flatMap(({ x, y, z }) => [x, y, z].map((value) => +value.toFixed(4))).join(",");
  }

  // Surfaces side by side are looked at from one place.
  function linkCameras() {
    const { triggered, triggered_id: moved } = dash_clientside.callback_context;
    const changed = Object.keys(triggered[0]?.value ?? {});
    const plots = document.querySelectorAll("[id^=surface-] .js-plotly-plot");
    const source = document.querySelector(`#${moved} .js-plotly-plot`)?._fullLayout?.scene?._scene;
    if (source) {
      const camera = source.getCamera();
      if (!waiting.size && changed.some((name) => name.startsWith("scene"))) {
        window.landscapeAddress.keep({ camera: writtenCamera(camera) });
      }
      for (const plot of plots) {
        const other = plot._fullLayout?.scene?._scene;
        if (other && other !== source && !same(other.getCamera(), camera)) {
          window.Plotly.relayout(plot, { "scene.camera": camera });
        }
      }
    }
  }

  const same = (one, other) =>
    ["eye", "center", "up"].every((part) =>
      ["x", "y", "z"].every((axis) => Math.abs(one[part][axis] - other[part][axis]) < 1e-6),
    );

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    keepView,
    linkCameras,
    showWhole,
  });
})();
