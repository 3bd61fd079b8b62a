// Light, dark, or whatever the machine is set to.
(() => {
  const KEPT = "mantine-color-scheme-value"; // the key is Mantine's: app.py reads it, too
  const machine = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = "auto";

  function keptTheme() {
    try {
      const kept = localStorage.getItem(KEPT);
      return ["light", "dark"].includes(kept) ? kept : "auto";
    } catch {
      return "auto"; // a browser that keeps nothing
    }
  }

  function setTheme(value) {
    choice = value;
    try {
      localStorage.setItem(KEPT, choice);
    } catch {}
    return apply();
  }

  function apply() {
    const dark = choice === "dark" || (choice === "auto" && machine.matches);
    document.body.dataset.agThemeMode = dark ? "dark" : "light";
    return [dark, dark ? "dark" : "light"];
  }

  machine.addEventListener("change", () => {
    const [dark, forceColorScheme] = apply();
    dash_clientside.set_props("dark", { data: dark });
    dash_clientside.set_props("provider", { forceColorScheme });
  });

  // What the page on the screen shows; the others keep what they have.
  function route(seen, dark, webgl, width) {
    const { outputs_list: outputs } = dash_clientside.callback_context;
    const keys = outputs.map(({ id }) => id.replace(/-shown$/, ""));
    if (!seen) return keys.map(() => dash_clientside.no_update);
    const first = new URL(seen.address, window.location).pathname.split("/")[1] || "runs";
    const page = keys.includes(first) ? first : "other";
    const shown = { ...seen, dark, webgl, width };
    return keys.map((key) => (key === page ? shown : dash_clientside.no_update));
  }

  // The width of a figure in a narrow window, in steps; 0 in a wide one. See landscape.css.
  const WIDE = 1080;
  const SMALL = 500;
  const STEP = 20;
  function figureWidth() {
    const { clientWidth } = document.documentElement;
    if (window.innerWidth > WIDE) return 0;
    const beside = window.innerWidth > SMALL ? 78 : 46;
    return Math.floor((clientWidth - beside) / STEP) * STEP;
  }

  let resized;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => dash_clientside.set_props("width", { data: figureWidth() }), 150);
  });

  // Asked for only where it matters: the answer may take a second.
  let webgl = null;
  function hasWebGL(href) {
    if (!href?.includes("view=3d")) return true;
    webgl ??= makesWebGL();
    return webgl;
  }

  function makesWebGL() {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") ?? canvas.getContext("webgl"));
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    keptTheme,
    setTheme,
    route,
    hasWebGL,
    figureWidth,
  });
})();
