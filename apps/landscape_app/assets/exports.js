// Below each figure: save it as an image or a PDF, read its numbers as a table.
(() => {
  const MOST_ROWS = 500;

  const plotOf = (graph) => document.querySelector(`#${graph} .js-plotly-plot`);

  async function save(graph, format) {
    const plot = plotOf(graph);
    if (!plot?.data?.length) return;
    const { width, height } = plot._fullLayout;
    const filename = plot.layout.meta.file;
    if (format === "pdf") await savePdf(plot, { width, height }, filename);
    else await window.Plotly.downloadImage(plot, { format, filename, width, height, scale: 2 });
  }

  // The server writes the PDF, from the drawing as it is on the screen.
  async function savePdf(plot, size, filename) {
    const url = await window.Plotly.toImage(plot, { format: "svg", ...size });
    const answer = await fetch(window.landscapeAddress.absolute("/export/pdf"), {
      method: "POST",
      headers: { "Content-Type": "image/svg+xml" },
      body: decodeURIComponent(url.replace(/^data:image\/svg\+xml,/, "")),
    });
    if (!answer.ok) throw new Error(await answer.text());
    const link = element("a", [], { href: URL.createObjectURL(await answer.blob()) });
    link.download = `${filename}.pdf`;
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
    const button = target.closest?.("button[data-save]");
    if (!button) return;
    const told = button.closest(".tools").querySelector("output");
    told.textContent = "";
    try {
      await save(button.dataset.graph, button.dataset.save);
    } catch (error) {
      told.textContent = `Not saved: ${error.message}`;
    }
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
