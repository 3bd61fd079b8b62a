// Light, dark, or whatever the machine is set to.
(() => {
  const machine = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = "automatic";

  function apply() {
    const dark = choice === "dark" || (choice === "automatic" && machine.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.body.dataset.agThemeMode = dark ? "dark" : "light";
    return dark;
  }

  machine.addEventListener("change", () => dash_clientside.set_props("dark", { data: apply() }));

  // What the page on the screen shows; the others keep what they have.
  function route(seen, dark, webgl) {
    const { outputs_list: outputs } = dash_clientside.callback_context;
    const keys = outputs.map(({ id }) => id.replace(/-shown$/, ""));
    if (!seen) return keys.map(() => dash_clientside.no_update);
    const first = new URL(seen.address, window.location).pathname.split("/")[1] || "runs";
    const page = keys.includes(first) ? first : "other";
    const shown = { ...seen, dark, webgl };
    return keys.map((key) => (key === page ? shown : dash_clientside.no_update));
  }

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
    setTheme(value) {
      choice = value;
      return apply();
    },
    route,
    hasWebGL,
  });
})();
