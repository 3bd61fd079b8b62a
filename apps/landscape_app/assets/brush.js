// Samples chosen in a figure, by a click or a box, or typed, go into the address, and so into every
// figure. And so does the point where a surface is sliced.
(() => {
  const { go, runsOf, isPickOf, partsOf, queryOf, decoded } = window.landscapeAddress;

  const unescaped = (text) =>
    text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  // The address with these samples highlighted: see `pick` in url.py.
  function withPicked(search, samples) {
    const picked = new Map();
    for (const { customdata: [run, sample] } of samples) {
      if (!picked.has(run)) picked.set(run, new Set());
      picked.get(run).add(sample);
    }
    const picks = [...picked].map(([run, numbers]) => pickOf(unescaped(run), numbers));
    return withParts(search, (part) => part.startsWith("pick="), picks);
  }

  // The lowest point of a surface and the mean of samples are marks, too, and none.
  const isSample = ({ customdata }) =>
    Array.isArray(customdata) &&
    typeof customdata[0] === "string" &&
    Number.isInteger(customdata[1]);

  function pickOf(run, samples) {
    const numbers = [...samples].sort((one, other) => one - other);
    return `pick=${encodeURIComponent(run)}:${numbers.join(",")}`;
  }

  // The address with other parts in place of those that are `old`.
  function withParts(search, old, parts) {
    return queryOf([...partsOf(search).filter((part) => !old(part)), ...parts]);
  }

  function brush(...values) {
    const [graph, selected] = changed(values);
    // A figure drawn anew loses its box, too: that is nobody's wish to highlight nothing.
    const isNew = performance.now() - (window.landscapeDrawn?.[graph] ?? -Infinity) < 700;
    // And a click beside the samples of a surface asks for slices.
    const isSurface = graph?.startsWith("surface-");
    const samples = (selected?.points ?? []).filter(isSample);
    if (!graph || (!samples.length && (isNew || isSurface))) return;
    go(withPicked(window.location.search, samples));
  }

  // A click on a surface slices it there. In space, where nothing can be boxed, a click on a sample
  // highlights that.
  function choosePoint(...values) {
    const { search } = window.location;
    const [, clicked] = changed(values);
    const [point] = clicked?.points ?? [];
    if (!point) return;
    if (typeof point.customdata?.[0] !== "string") go(withPoint(search, [point.x, point.y]));
    else if (point.z !== undefined) go(withPicked(search, [point].filter(isSample)));
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
    return withParts(search, isPoint, [`at=${x},${y}`]);
  }

  // What is typed counts when Enter is pressed or the field is left, as a click does.
  document.addEventListener("change", ({ target }) => {
    const place = target.id?.match(/^pick-(\d)$/)?.[1];
    if (place) enterSamples(Number(place), target.value);
    if (target.id === "slice-at") enterPoint(target.value);
  });

  function enter(name, text, search) {
    go(search);
    // The field then shows the address's words. Dash must know the typed text first: otherwise it
    // sees no change. What is typed meanwhile stays.
    setTimeout(() => {
      if (document.getElementById(name).value === text) fillField(name);
    }, 200);
  }

  const MOST = 1000; // samples in an address

  // "0, 3, 9-11": the samples, or null where it says anything else.
  function samplesIn(text) {
    const samples = new Set();
    for (const part of text.replace(/\s*[-–]\s*/g, "-").split(/[\s,;]+/).filter(Boolean)) {
      const [, first, last = first] = part.match(/^(\d{1,6})(?:-(\d{1,6}))?$/) ?? [];
      if (first === undefined || last - first >= MOST) return null;
      for (let sample = Number(first); sample <= Number(last); sample += 1) samples.add(sample);
    }
    return samples;
  }

  function enterSamples(place, text) {
    const samples = samplesIn(text);
    const name = `pick-${place}`;
    if (!understood(name, samples !== null, "numbers: 0, 3, 9-11")) return;
    const run = runIn(place);
    const picks = samples.size ? [pickOf(run, samples)] : [];
    enter(name, text, withParts(window.location.search, isPickOf(run), picks));
  }

  function enterPoint(text) {
    const { search } = window.location;
    const point = text.split(/[\s,;]+/).filter(Boolean).map(Number);
    const isOne = point.length === 2 && point.every(Number.isFinite);
    if (!understood("slice-at", isOne || !point.length, "two numbers: x, y")) return;
    enter("slice-at", text, isOne ? withPoint(search, point) : withParts(search, isPoint, []));
  }

  // What is not understood stays in its field, with what would be.
  function understood(field, is, hint) {
    dash_clientside.set_props(field, { error: is ? null : hint });
    return is;
  }

  const isPoint = (part) => part.startsWith("at=");

  const runIn = (place) => runsOf(window.location.search)[place] ?? "";

  function fillField(name) {
    const place = name.match(/^pick-(\d)$/)?.[1];
    const part = partsOf(window.location.search).find(place ? isPickOf(runIn(place)) : isPoint);
    const value = decoded(part ?? "").replace(/^.*[:=]/, "").split(",").join(", ");
    dash_clientside.set_props(name, { value, error: null });
  }

  function fillFields() {
    for (let place = 0; document.getElementById(`pick-${place}`); place += 1)
      fillField(`pick-${place}`);
    fillField("slice-at");
  }

  document.addEventListener("landscape:address", fillFields);

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    brush,
    choosePoint,
  });
})();
