// A message says that the server does not answer: what is on the screen may be out of date. The page
// is drawn again when the server is back.
(() => {
  const EVERY = 3000; // ms
  const PATIENCE = 10000; // ms: a server that draws for others is slow, not gone
  let isGone = false;

  async function look() {
    let answers = false;
    try {
      answers = (await fetch(window.landscapeAddress.absolute("/alive"), { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) })).ok;
    } catch {}
    if (isGone === answers) tell(!answers);
    setTimeout(look, EVERY);
  }

  function tell(gone) {
    isGone = gone;
    document.getElementById("connection").textContent = gone
      ? "The server does not answer, so what you see may be out of date. If it was stopped, start " +
        "“landscape app” again: this page then goes on by itself."
      : "";
    // Whatever was asked for in vain is asked for again: see `watch` in app.py.
    if (!gone) dash_clientside.set_props("back", { data: Date.now() });
  }

  setTimeout(look, EVERY);
})();
