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

  window.dash_clientside = Object.assign({}, window.dash_clientside);
  window.dash_clientside.landscape = Object.assign({}, window.dash_clientside.landscape, {
    setTheme(value) {
      choice = value;
      return apply();
    },
  });
})();
