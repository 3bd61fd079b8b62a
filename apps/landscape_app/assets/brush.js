// Samples chosen in a figure, by a click or a box, or typed, go into the address, and so into every
// figure. And so does the point where a surface is sliced.
(() => {
  const { go, partsOf, decoded } = window.landscapeAddress;

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
    const picks = [...picked].map(([run, samples]) => pickOf(unescaped(run), samples));
    return withParts(search, (part) => part.startsWith("pick="), picks);
  }

  function pickOf(run, samples) {
    const numbers = [...samples].sort((one, other) => one - other);
    return `pick=${encodeURIComponent(run)}:${numbers.join(",")}`;
  }

  // The address with other parts in place of those that are `old`.
  function withParts(search, old, parts) {
    const all = [...partsOf(search).filter((part) => !old(part)), ...parts];
    return all.length ? `?${all.join("&")}` : "";
  }

  function brush(...values) {
    const [graph, selected] = changed(values);
    // A figure drawn anew loses its box, too: that is nobody's wish to highlight nothing.
    const isNew = performance.now() - (window.landscapeDrawn?.[graph] ?? -Infinity) < 700;
    // And a click beside the samples of a surface asks for slices.
    const isSurface = graph?.startsWith("surface-");
    if (!graph || (!selected?.points?.length && (isNew || isSurface))) return;
    go(withPicked(window.location.search, selected?.points ?? []));
  }

  // A click on a surface slices it there. In space, where nothing can be boxed, a click on a sample
  // highlights that.
  function choosePoint(...values) {
    const { search } = window.location;
    const [, clicked] = changed(values);
    const [point] = clicked?.points ?? [];
    if (!point) return;
    if (typeof point.customdata?.[0] !== "string") go(withPoint(search, [point.x, point.y]));
    else if (point.z !== undefined) go(withPicked(search, [point]));
  }

  // The graph that a callback is called for, and what it says.
  function changed(values) {
    const { triggered, inputs_list: inputs } = dash_clientside.callback_context;
    if (!triggered.length) return [];
    const [graph] = triggered[0].prop_id.split(".");
    return [graph, values[inputs.findIndex(({ id }) => id === graph)]];
  }

  function withPoint(search, point) {
    const [x, y] = point.map((value) => Number(value.toPrecision(6)));
    return withParts(search, (part) => part.startsWith("at="), [`at=${x},${y}`]);
  }

  // What is typed counts when Enter is pressed or the field is left, as a click does.
  document.addEventListener("change", ({ target }) => {
    const place = target.id?.match(/^pick-(\d)$/)?.[1];
    if (place) enterSamples(target, Number(place));
    if (target.id === "slice-at") enterPoint(target);
  });

  // A field that then differs from the address, as it does not understand all of it, follows it.
  function enter(id, search, value) {
    go(search);
    // Once what was typed has come to Dash, too, which else would see no change.
    setTimeout(() => dash_clientside.set_props(id, { value }), 200);
  }

  function enterSamples({ id, value }, place) {
    const { search } = window.location;
    const runs = partsOf(search).filter((part) => part.startsWith("run="));
    const run = decoded(runs[place].slice("run=".length));
    const typed = (value.match(/\d+/g) ?? []).map(Number);
    const samples = [...new Set(typed)].sort((one, other) => one - other);
    const isMine = (part) =>
      part.startsWith("pick=") && decoded(part).slice("pick=".length).replace(/:[^:]*$/, "") === run;
    const picks = samples.length ? [pickOf(run, samples)] : [];
    enter(id, withParts(search, isMine, picks), samples.join(", "));
  }

  function enterPoint({ id, value }) {
    const { search } = window.location;
    const isPoint = (part) => part.startsWith("at=");
    const point = (value.match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi) ?? []).map(Number);
    if (!value.trim()) enter(id, withParts(search, isPoint, []), "");
    else if (point.length === 2) enter(id, withPoint(search, point), point.join(", "));
    else enter(id, search, partsOf(search).find(isPoint)?.slice("at=".length).replace(",", ", ") ?? "");
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    brush,
    choosePoint,
  });
})();
