// What of the address is the browser's alone: the camera, and how the list is sorted and filtered.
// It is written into the address without a new page in the history, and the server is not asked.
(() => {
  const OWN = { find: "", sort: "", filter: "", camera: "" };
  const LIST = ["find", "sort", "filter"];

  const partsOf = (search) => search.replace(/^\?/, "").split("&").filter(Boolean);
  const isOwn = (part) => part.split("=")[0] in OWN;
  const decoded = (text) => {
    try {
      return decodeURIComponent(text.replaceAll("+", " "));
    } catch {
      return "";
    }
  };

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
      .map((name) => `${name}=${encodeURIComponent(kept[name]).replace(/%2C|%3A/g, decoded)}`);
    const all = [...others, ...own];
    const next = `${pathname}${all.length ? `?${all.join("&")}` : ""}${hash}`;
    if (next !== pathname + search + hash) window.history.replaceState(window.history.state, "", next);
  }

  // A choice, which Back undoes. Dash is told as of Back itself: what it last knew of the address
  // lacks what `write` has added since.
  function go(search) {
    if (search === window.location.search) return;
    window.history.pushState({}, "", window.location.pathname + search);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }

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

  window.landscapeAddress = { read, keep, go, partsOf, decoded };

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    arrive,
    followAddress,
  });
})();
