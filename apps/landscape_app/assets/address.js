// Some of the address is the browser's alone: the camera, and how the list is sorted and filtered.
// It is written into the address without a new page in the history, and the server is not asked.
(() => {
  const MOST_RUNS = 4; // as in url.py
  const ROOT = window.landscapeRoot ?? "/"; // where a proxy shows the dashboard
  const OWN = { find: "", sort: "", filter: "", camera: "" };
  const LIST = ["find", "sort", "filter"];

  const partsOf = (search) => search.replace(/^\?/, "").split("&").filter(Boolean);
  const queryOf = (parts) => (parts.length ? `?${parts.join("&")}` : "");
  const isOwn = (part) => part.split("=")[0] in OWN;
  const decoded = (text) => {
    try {
      return decodeURIComponent(text.replaceAll("+", " "));
    } catch {
      return "";
    }
  };

  const encoded = (text) => encodeURIComponent(text).replace(/%2C|%3A/g, decoded);

  // A path within the dashboard, and as the browser asks for it.
  const within = (path) => (path.startsWith(ROOT) ? `/${path.slice(ROOT.length)}` : path);
  const absolute = (path) => ROOT + path.replace(/^\//, "");

  // As the page was opened; afterwards the page is right, and the address follows.
  const kept = { ...OWN };
  for (const part of partsOf(window.location.search)) {
    const [name, ...value] = part.split("=");
    if (name in OWN) kept[name] = decoded(value.join("="));
  }

  const read = () => ({ ...kept });

  function keep(changes) {
    Object.assign(kept, changes);
    write();
  }

  function write() {
    const { pathname, search, hash } = window.location;
    const others = partsOf(search).filter((part) => !isOwn(part));
    const names = within(pathname) === "/" ? LIST : others.includes("view=3d") ? ["camera"] : [];
    const own = names
      .filter((name) => kept[name])
      .map((name) => `${name}=${encoded(kept[name])}`);
    const next = pathname + queryOf([...others, ...own]) + hash;
    if (next !== pathname + search + hash) window.history.replaceState(window.history.state, "", next);
  }

  // A choice, which Back undoes. Dash is told as of Back itself: what it last knew of the address
  // lacks what `write` has added since.
  function go(search, pathname = window.location.pathname) {
    if (search === window.location.search && pathname === window.location.pathname) return;
    window.history.pushState({}, "", pathname + search);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }

  // The chosen runs by their places; a run that was taken off leaves an empty place.
  function runsOf(search) {
    const runs = partsOf(search)
      .filter((part) => part.startsWith("run="))
      .map((part) => decoded(part.slice("run=".length)));
    return runs.filter((run, place) => !run || runs.indexOf(run) === place).slice(0, MOST_RUNS);
  }

  const isFull = (runs) => runs.length === MOST_RUNS && !runs.includes("");

  const isPickOf = (run) => (part) =>
    part.startsWith("pick=") && decoded(part).replace(/:[^:]*$/, "") === `pick=${run}`;

  // A query with a run in the first free place, or without it if it was chosen: `toggle` in url.py.
  function toggled(search, run) {
    const runs = runsOf(search);
    const isChosen = runs.includes(run);
    if (!isChosen && isFull(runs)) return search;
    const place = runs.indexOf(isChosen ? run : "");
    runs[place < 0 ? runs.length : place] = isChosen ? "" : run;
    while (runs.at(-1) === "") runs.pop();
    const others = partsOf(search).filter(
      (part) => !part.startsWith("run=") && !(isChosen && isPickOf(run)(part)),
    );
    return queryOf([...runs.map((name) => `run=${encoded(name)}`), ...others]);
  }

  // The address on the screen counts, and not the one that the server has last answered: a second
  // choice may be quicker than that.
  const toggle = (run) => go(toggled(window.location.search, run));

  // The labels of the groups that are chosen; none for all of them.
  const groupsOf = (search) =>
    partsOf(search)
      .filter((part) => part.startsWith("group="))
      .map((part) => decoded(part.slice("group=".length)));

  // A query with a group, or without it if it was chosen.
  function withGroup(search, label) {
    const labels = groupsOf(search);
    const next = labels.includes(label)
      ? labels.filter((other) => other !== label)
      : [...labels, label];
    const others = partsOf(search).filter((part) => !part.startsWith("group="));
    return ordered([...others, ...next.map((name) => `group=${encoded(name)}`)]);
  }

  const toggleGroup = (label) => go(withGroup(window.location.search, label));

  // What a reader chooses in a field goes into the address, under the field's name. What the server
  // fills in is no choice: it comes with `filled`, and it may be older than the address.
  function choose(value, filled) {
    const [{ prop_id: id } = {}] = dash_clientside.callback_context.triggered;
    const name = (id ?? "").split(".")[0].replace(/^compare-/, "");
    if (!name || !filled || JSON.stringify(value) === JSON.stringify(filled[name])) return;
    const texts = name === "where" ? value : [[value ?? []].flat().join(",")];
    const parts = texts.filter(Boolean).map((text) => `${name}=${encoded(text)}`);
    const old = name === "by" ? /^(by|group)=/ : new RegExp(`^${name}=`);
    const others = partsOf(window.location.search).filter((part) => !old.test(part));
    go(ordered([...others, ...parts]));
  }

  const pageNow = () => within(window.location.pathname).split("/")[1] ?? "";

  const ordered = (parts) => queryOf(parts.sort((one, other) => rankOf(one) - rankOf(other)));

  // The choices in the address, for the address of another page.
  const choices = () => queryOf(partsOf(window.location.search).filter((part) => !isOwn(part)));

  function keyOf(part) {
    if (part.startsWith("pick=")) return decoded(part).replace(/:[^:]*$/, "");
    return /^(group|where)=/.test(part) ? part : part.split("=")[0];
  }
  const ORDER = ["run", "by", "group", "where", "in", "with", "x", "y", "hue", "columns", "axes", "plane", "", "at", "pick"]; // as in url.py; "" stands for the settings
  const rankOf = (part) => ORDER.indexOf(ORDER.includes(part.split("=")[0]) ? part.split("=")[0] : "");

  // A query with the changes that lead from one query to another.
  function withChanges(search, from, to) {
    const runs = [...new Set([...runsOf(from), ...runsOf(to)])].filter(Boolean);
    for (const run of runs)
      if (runsOf(from).includes(run) !== runsOf(to).includes(run)) search = toggled(search, run);
    const valuesOf = (query) =>
      new Map(
        partsOf(query)
          .filter((part) => !part.startsWith("run="))
          .map((part) => [keyOf(part), part]),
      );
    const [before, after] = [valuesOf(from), valuesOf(to)];
    let parts = partsOf(search);
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(key) === after.get(key)) continue;
      parts = parts.filter((part) => keyOf(part) !== key);
      if (after.has(key)) parts.push(after.get(key));
    }
    return ordered(parts);
  }

  // The server writes links for the address that it has last answered. A link changes in the address
  // on the screen what it changes in that one, so a choice that was made since then stays.
  function follow(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // another tab
    const link = event.target.closest?.("a[href]");
    const answered = document.querySelector("#pages [data-address]")?.dataset.address;
    if (!link || answered === undefined || link.origin !== window.location.origin) return;
    if (link.download !== "" || link.matches(".brand, [download], [target]")) return;
    if (link.hash || link.closest("#grid")) return; // the list changes the address itself
    const from = new URL(absolute(answered), window.location.origin);
    // A value of a setting counts also if it is the one that the server knows: it differs from the
    // other values.
    const values = [...(link.closest(".control")?.querySelectorAll("a[href]") ?? [])];
    const others = values
      .filter((value) => value !== link && value.pathname === link.pathname)
      .map((value) => value.search);
    const bases = others.length ? others : [from.search];
    event.preventDefault();
    event.stopPropagation();
    go(
      bases.reduce((search, base) => withChanges(search, base, link.search), choices()),
      link.pathname === from.pathname ? window.location.pathname : link.pathname,
    );
    window.scrollTo(0, 0);
  }

  document.addEventListener("click", follow, true); // before Dash

  // A link leads to an address without the browser's part, which is then written again.
  function followAddress() {
    write();
    document.dispatchEvent(new CustomEvent("landscape:address"));
  }

  // What is to be seen first came with the page; what is later is asked for.
  let arrived = false;
  function arrive(path, search) {
    const { no_update: same } = dash_clientside;
    if (arrived) return [same, within(path) + (search ?? "")];
    if (path === undefined) return [same, same];
    arrived = true;
    return [window.landscapeSeen, same];
  }

  window.landscapeAddress = {
    absolute,
    read,
    keep,
    go,
    toggle,
    toggleGroup,
    groupsOf,
    pageNow,
    choices,
    runsOf,
    isFull,
    isPickOf,
    partsOf,
    queryOf,
    decoded,
  };

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    arrive,
    followAddress,
    choose,
  });
})();
