// Samples chosen in a figure, by a click or a box, go into the address, and so into every figure.
(() => {
  const unescaped = (text) =>
    text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  // The address with these samples highlighted: see `pick` in url.py.
  function withPicked(search, points) {
    const picked = new Map();
    for (const { customdata } of points) {
      const [run, sample] = Array.isArray(customdata) ? customdata : [];
      if (typeof run !== "string" || !Number.isInteger(sample)) continue;
      if (!picked.has(run)) picked.set(run, new Set());
      picked.get(run).add(sample);
    }
    const parts = search.replace(/^\?/, "").split("&");
    const others = parts.filter((part) => part && !part.startsWith("pick="));
    const picks = [...picked].map(([run, samples]) => {
      const numbers = [...samples].sort((one, other) => one - other);
      return `pick=${encodeURIComponent(unescaped(run))}:${numbers.join(",")}`;
    });
    const all = [...others, ...picks];
    return all.length ? `?${all.join("&")}` : "";
  }

  function brush(...values) {
    const search = values.pop() ?? "";
    const { triggered, inputs_list: inputs } = dash_clientside.callback_context;
    if (!triggered.length) return dash_clientside.no_update;
    const [graph] = triggered[0].prop_id.split(".");
    const selected = values[inputs.findIndex(({ id }) => id === graph)];
    // A figure drawn anew loses its box, too: that is nobody's wish to highlight nothing.
    const isNew = performance.now() - (window.landscapeDrawn?.[graph] ?? -Infinity) < 700;
    // And a click beside the samples of a surface asks for slices.
    const isSurface = graph.startsWith("surface-");
    if (!selected?.points?.length && (isNew || isSurface)) return dash_clientside.no_update;
    const next = withPicked(search, selected?.points ?? []);
    return next === search ? dash_clientside.no_update : next;
  }

  // A click on a surface slices it there. In space, where nothing can be boxed, a click on a sample
  // highlights that.
  function choosePoint(...values) {
    const search = values.pop() ?? "";
    const { triggered, inputs_list: inputs } = dash_clientside.callback_context;
    if (!triggered.length) return dash_clientside.no_update;
    const [graph] = triggered[0].prop_id.split(".");
    const points = values[inputs.findIndex(({ id }) => id === graph)]?.points ?? [];
    const [point] = points;
    if (!point) return dash_clientside.no_update;
    if (typeof point.customdata?.[0] === "string") {
      return point.z === undefined ? dash_clientside.no_update : withPicked(search, [point]);
    }
    const parts = search.replace(/^\?/, "").split("&");
    const others = parts.filter((part) => part && !part.startsWith("at="));
    const [x, y] = [point.x, point.y].map((value) => Number(value.toPrecision(6)));
    return `?${[...others, `at=${x},${y}`].join("&")}`;
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    brush,
    choosePoint,
  });
})();
