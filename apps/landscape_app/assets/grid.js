// The list of runs: cells that are more than text, the field that finds, and what of it is kept in
// the address.
(() => {
  const { absolute, toggle, toggleGroup, groupsOf, choices, runsOf, isFull, partsOf, queryOf } =
    window.landscapeAddress;

  // Links and boxes follow the address at once: they do not wait until the server has answered.
  function useAddress() {
    const [, draw] = React.useState(0);
    const redraw = () => draw((times) => times + 1);
    React.useEffect(() => {
      document.addEventListener("landscape:address", redraw);
      return () => document.removeEventListener("landscape:address", redraw);
    }, []);
    return redraw;
  }

  function RunLink({ value: name, data }) {
    useAddress();
    if (data.group) {
      const others = partsOf(choices()).filter((part) => !part.startsWith("group="));
      const path = `/flatness${queryOf([...others, `group=${encodeURIComponent(name)}`])}`;
      const href = absolute(path);
      const title = `Figures of ${data.about}`;
      return React.createElement(window.dash_core_components.Link, { href, title }, name);
    }
    const href = absolute(`/run/${encodeURIComponent(name)}${choices()}`);
    const link = { href, title: `Details of ${name}` };
    const words = data.label ? `${data.label} (${name})` : name;
    const pin = data.pinned ? "★ " : "";
    const text = React.createElement(window.dash_core_components.Link, link, pin + words);
    if (!data.hue) return text;
    const [sign, color, meaning] = data.hue;
    const mark = { style: { color }, title: meaning, className: "hue", role: "img", "aria-label": meaning };
    return React.createElement(React.Fragment, {}, React.createElement("span", mark, sign), text);
  }

  function ChooseRun({ node }) {
    const { name, group } = node.data;
    const redraw = useAddress();
    if (group) {
      const isChosen = groupsOf(window.location.search).includes(name);
      return React.createElement("input", {
        type: "checkbox",
        checked: isChosen,
        tabIndex: -1,
        "aria-label": `Show ${name}`,
        title: isChosen ? `Take off ${name}` : `Choose ${name}; all groups are shown if none is`,
        onChange: () => {
          toggleGroup(name);
          redraw();
        },
      });
    }
    const runs = runsOf(window.location.search);
    const chosen = runs.includes(name);
    const full = !chosen && isFull(runs);
    return React.createElement("input", {
      type: "checkbox",
      checked: chosen,
      disabled: full,
      tabIndex: -1, // the cell is the stop, from which Space and Enter reach it: see below
      "aria-label": `Show ${name}`,
      title: full ? "Four runs are chosen already" : `${chosen ? "Take off" : "Choose"} ${name}`,
      onChange: () => {
        toggle(name);
        redraw();
      },
    });
  }

  function Status({ value }) {
    return React.createElement("span", { className: `status status-${value}` }, value || "unknown");
  }

  window.dashAgGridComponentFunctions = Object.assign({}, window.dashAgGridComponentFunctions, {
    RunLink,
    ChooseRun,
    Status,
  });

  // Arrow keys move from cell to cell; Enter follows a cell's link, and Space or Enter its box.
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.(".ag-cell")) return;
    if (event.key === "Enter") event.target.querySelector("a, input")?.click();
    if (event.key === " ") event.target.querySelector("input")?.click();
  });

  // How the list is sorted, filtered and searched is in the address: as the grid has it once it is
  // there, and before that as the address says. A text that was typed before the list had rows
  // counts more than the address.
  async function keepList() {
    const grid = await window.dash_ag_grid.getApiAsync("grid");
    await hasRows(grid); // until then the component sets its own, empty filter
    const follow = () => {
      showSettings(grid);
      showErrors(grid);
      showCount(grid);
    };
    follow();
    grid.addEventListener("rowDataUpdated", follow);
    grid.addEventListener("modelUpdated", () => showCount(grid));
    const { find, sort, filter } = window.landscapeAddress.read();
    const typed = document.getElementById("find").value;
    if (typed || find) setFind(grid, typed || find);
    if (sort) {
      const state = sort.split(",").map((part, sortIndex) => {
        const [, colId, way] = part.match(/^(.*?)(:desc)?$/);
        return { colId, sort: way ? "desc" : "asc", sortIndex };
      });
      grid.applyColumnState({ state, defaultState: { sort: null } });
    }
    if (filter) grid.setFilterModel(conditions(grid, filter));
    if (find && !typed) dash_clientside.set_props("find", { value: find });
    grid.addEventListener("sortChanged", () => write(grid));
    grid.addEventListener("filterChanged", () => write(grid));
    document.addEventListener("input", ({ target }) => {
      if (target.id === "find") setFind(grid, target.value);
    });
  }

  const hasRows = (grid) =>
    new Promise((done) => {
      if (grid.getDisplayedRowCount()) done();
      else grid.addEventListener("firstDataRendered", done);
    });

  // Most folders have no regressions, and one task. Groups need room for deviations.
  function showErrors(grid) {
    let some = false;
    grid.forEachNode(({ data }) => (some ||= (data.rmse ?? null) !== null));
    let noted = false;
    grid.forEachNode(({ data }) => (noted ||= Boolean(data.note)));
    const isGrouped = Boolean(grid.getDisplayedRowAtIndex(0)?.data.group);
    const tasks = new Set();
    grid.forEachNode(({ data }) => tasks.add(data.task));
    const shown = { rmse: some, note: noted, task: !isGrouped && tasks.size > 1 };
    for (const name of ["method", "status", "samples", "training", "date"]) shown[name] = !isGrouped;
    // Together: the grid lays all columns out again each time.
    grid.applyColumnState({
      state: Object.entries(shown).map(([colId, isShown]) => ({ colId, hide: !isShown })),
    });
  }

  // A column for each setting that the rows bring along. The others keep their state.
  function showSettings(grid) {
    const names = Object.keys(grid.getDisplayedRowAtIndex(0)?.data.settings ?? {});
    const others = grid.getColumnDefs().filter(({ colId }) => !colId.startsWith("setting "));
    const shown = grid.getColumnDefs().length - others.length;
    const now = grid.getColumnDefs().filter(({ colId }) => names.includes(colId.slice(8))).length;
    if (shown === names.length && now === names.length) return;
    const columns = names.map((name) => ({
      colId: `setting ${name}`,
      headerName: name.split(".").at(-1).replaceAll("_", " "),
      headerTooltip: `The setting ${name}`,
      valueGetter: ({ data }) => data.settings?.[name] ?? null,
      sortable: true,
      filter: isNumber(grid, name) ? "agNumberColumnFilter" : "agTextColumnFilter",
      flex: 1,
      minWidth: 110,
    }));
    const first = others.findIndex(({ colId }) => colId === "method") + 1;
    grid.setGridOption("columnDefs", others.toSpliced(first, 0, ...columns));
  }

  // Whether all values of a setting are numbers; a run without one has a dash.
  function isNumber(grid, name) {
    const kinds = new Set();
    grid.forEachNode(({ data }) => {
      const value = data.settings?.[name] ?? null;
      if (value !== null && value !== "–") kinds.add(typeof value);
    });
    return kinds.size === 1 && kinds.has("number");
  }

  // "12 of 300 runs"
  function showCount(grid) {
    let all = 0;
    grid.forEachNode(() => (all += 1));
    const shown = grid.getDisplayedRowCount();
    const isGrouped = grid.getDisplayedRowAtIndex(0)?.data.group;
    const noun = (isGrouped ? "group" : "run") + (all === 1 ? "" : "s");
    document.getElementById("row-count").textContent =
      shown === all ? `${all} ${noun}` : `${shown} of ${all} ${noun}`;
  }

  function setFind(grid, text) {
    grid.setGridOption("quickFilterText", text);
    window.landscapeAddress.keep({ find: text });
  }

  // An address may be anybody's: what is no condition on a column is left out.
  function conditions(grid, text) {
    try {
      const entries = Object.entries(JSON.parse(text));
      return Object.fromEntries(
        entries.filter(([name, model]) => grid.getColumn(name) && ["number", "text"].includes(model?.filterType)),
      );
    } catch {
      return {};
    }
  }

  function write(grid) {
    const sorted = grid.getColumnState().filter(({ sort }) => sort);
    sorted.sort((one, other) => one.sortIndex - other.sortIndex);
    const filter = grid.getFilterModel();
    window.landscapeAddress.keep({
      sort: sorted.map(({ colId, sort }) => colId + (sort === "desc" ? ":desc" : "")).join(","),
      filter: Object.keys(filter).length ? JSON.stringify(filter) : "",
    });
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    keepList,
  });
})();
