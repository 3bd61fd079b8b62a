// Some of the address is the browser's alone: the camera, and how the list is sorted and filtered.
// It is written into the address without a new page in the history, and the server is not asked.
(() => {
  const MOST_RUNS = 4; // as in url.py
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
    const names = pathname === "/" ? LIST : others.includes("view=3d") ? ["camera"] : [];
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

  // Choose a run, in the first free place, or take it off: `toggle` in url.py. The address on the
  // screen counts, and not what the server last answered: a second choice may be quicker than that.
  function toggle(run) {
    const { search } = window.location;
    const runs = runsOf(search);
    const isChosen = runs.includes(run);
    if (!isChosen && isFull(runs)) return;
    const place = runs.indexOf(isChosen ? run : "");
    runs[place < 0 ? runs.length : place] = isChosen ? "" : run;
    while (runs.at(-1) === "") runs.pop();
    const others = partsOf(search).filter(
      (part) => !part.startsWith("run=") && !(isChosen && isPickOf(run)(part)),
    );
    go(queryOf([...runs.map((name) => `run=${encoded(name)}`), ...others]));
  }

  // What is chosen, for the address of another page.
  const choices = () => queryOf(partsOf(window.location.search).filter((part) => !isOwn(part)));

  // The server wrote the links for an address that it has answered. These links keep a choice that
  // was made since.
  function follow(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // another tab
    const page = event.target.closest?.("#pages a");
    const drop = event.target.closest?.("#compared .drop");
    if (!page && !drop) return;
    event.preventDefault();
    event.stopPropagation();
    if (drop) toggle(drop.closest("li").dataset.run);
    else {
      go(choices(), page.pathname);
      window.scrollTo(0, 0);
    }
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
    if (arrived) return [same, path + (search ?? "")];
    if (path === undefined) return [same, same];
    arrived = true;
    return [window.landscapeSeen, same];
  }

  window.landscapeAddress = {
    read,
    keep,
    go,
    toggle,
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
  });
})();
