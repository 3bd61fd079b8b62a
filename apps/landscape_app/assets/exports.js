// Below each figure: save it as an image or a PDF, read its numbers as a table.
(() => {
  const MOST_ROWS = 500;

  const plotOf = (graph) => document.querySelector(`#${graph} .js-plotly-plot`);

  const sizeOf = () => document.querySelector(".saving select").value;

  // A figure as its size asks for it: as on the screen, or as the server lays it out for a paper.
  async function figureOf(graph) {
    const plot = plotOf(graph);
    const size = sizeOf();
    if (size === "screen") {
      const { width, height } = plot._fullLayout;
      return { figure: plot, about: plot.layout.meta, width, height, scale: 2 };
    }
    const url = new URL(document.querySelector(`#${graph}-links a[data-format=csv]`).href);
    url.pathname = url.pathname.replace(/csv$/, "json");
    const [width, bare] = size.split(" ");
    url.searchParams.set("width", width);
    if (bare) url.searchParams.set("titles", "no");
    url.searchParams.set("camera", window.landscapeAddress.read().camera);
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(await answer.text());
    const { data, layout, millimetres, scale } = await answer.json();
    const pixels = { width: layout.width, height: layout.height };
    return { figure: { data, layout }, about: layout.meta, ...pixels, scale, millimetres };
  }

  async function drawingOf({ figure, width, height, millimetres }) {
    const url = await window.Plotly.toImage(figure, { format: "svg", width, height });
    const svg = decodeURIComponent(url.replace(/^data:image\/svg\+xml,/, ""));
    if (!millimetres) return svg;
    const size = `width="${millimetres}mm" height="${(millimetres * height) / width}mm"`;
    return svg.replace(/\bwidth="[\d.]+" height="[\d.]+"/, size);
  }

  async function save(graph, format) {
    if (!plotOf(graph)?.data?.length) return;
    const sized = await figureOf(graph);
    const { figure, width, height, scale } = sized;
    const name = `${sized.about.file}.${format}`;
    if (format === "png") {
      const url = await window.Plotly.toImage(figure, { format, width, height, scale });
      download(new Blob([bytesOf(url)], { type: "image/png" }), name);
      return;
    }
    const type = "image/svg+xml";
    const svg = await drawingOf(sized);
    // The server writes the PDF.
    download(format === "pdf" ? await sent("pdf", svg, type) : new Blob([svg], { type }), name);
  }

  async function saveAll(page) {
    const drawings = [];
    for (const { dataset } of page.querySelectorAll("button[data-save=svg]")) {
      const plot = plotOf(dataset.graph);
      if (!plot?.data?.length || !plot.checkVisibility()) continue;
      const sized = await figureOf(dataset.graph);
      drawings.push({ about: sized.about, svg: await drawingOf(sized) });
    }
    const zip = await sent("zip", JSON.stringify(drawings), "application/json");
    download(zip, `${page.id.replace(/-mounted$/, "")}.zip`);
  }

  async function sent(kind, body, type) {
    const address = window.landscapeAddress.absolute(`/export/${kind}`);
    const headers = { "Content-Type": type };
    const answer = await fetch(address, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.blob();
  }

  const bytesOf = (url) =>
    Uint8Array.from(atob(url.split(",")[1]), (letter) => letter.charCodeAt(0));

  function download(blob, name) {
    const link = element("a", [], { href: URL.createObjectURL(blob), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function parsed(text) {
    const lines = [[""]];
    let quoted = false;
    for (let at = 0; at < text.length && lines.length <= MOST_ROWS + 2; at++) {
      const sign = text[at];
      const line = lines[lines.length - 1];
      if (quoted && sign === '"' && text[at + 1] === '"') line[line.length - 1] += text[++at];
      else if (sign === '"') quoted = !quoted;
      else if (!quoted && sign === ",") line.push("");
      else if (!quoted && sign === "\n") lines.push([""]);
      else line[line.length - 1] += sign;
    }
    return lines.filter((line) => line.length > 1);
  }

  const written = (cell) =>
    cell !== "" && Number.isFinite(Number(cell)) ? String(Number(Number(cell).toPrecision(6))) : cell;

  function element(name, content, attributes = {}) {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...[content].flat());
    return made;
  }

  async function fill(details) {
    const graph = details.dataset.graph;
    const link = document.querySelector(`#${graph}-links a[data-format=csv]`);
    const place = details.querySelector(".data-table");
    if (!link) return;
    const answer = await fetch(link.href);
    const text = await answer.text();
    if (!answer.ok) {
      place.replaceChildren(element("p", text));
      return;
    }
    const [head, ...lines] = parsed(text);
    const all = text.split("\n").length - 2;
    const shown = lines.slice(0, MOST_ROWS);
    const label = details.dataset.label;
    const caption =
      all > shown.length ? `${label}: the first ${shown.length} of ${all} rows; all are in the CSV` : label;
    place.replaceChildren(
      element("table", [
        element("caption", caption),
        element("thead", element("tr", head.map((cell) => element("th", cell, { scope: "col" })))),
        element(
          "tbody",
          shown.map((line) => element("tr", line.map((cell) => element("td", written(cell))))),
        ),
      ]),
    );
  }

  document.addEventListener("click", async ({ target }) => {
    const button = target.closest?.("button[data-save], button[data-save-all]");
    if (!button) return;
    const told = button.closest(".tools, .saving").querySelector("output");
    told.textContent = "";
    try {
      if ("saveAll" in button.dataset) await saveAll(button.closest("[id$=-mounted]"));
      else await save(button.dataset.graph, button.dataset.save);
    } catch (error) {
      told.textContent = `Not saved: ${error.message}`;
    }
  });
  // The size is that of all pages.
  document.addEventListener("change", ({ target }) => {
    if (!target.matches?.(".saving select")) return;
    for (const select of document.querySelectorAll(".saving select")) select.value = target.value;
  });
  // A page of its own is looked at from where this one is.
  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.("a[data-format=html]");
    if (!link) return;
    const url = new URL(link.href);
    url.searchParams.set("camera", window.landscapeAddress.read().camera);
    link.href = url;
  });
  // "toggle" does not bubble.
  document.addEventListener(
    "toggle",
    ({ target }) => target.matches?.("details.data[open]") && fill(target),
    true,
  );
  // An open table follows its figure.
  document.addEventListener("landscape:drawn", ({ detail }) => {
    const details = document.querySelector(`details.data[open][data-graph="${detail}"]`);
    if (details) fill(details);
  });
})();
