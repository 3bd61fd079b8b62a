// The keyboard: its place among links that Dash replaces, arrow keys within a row, and a way past
// the head of the page.
(() => {
  let place = null;

  const groupOf = (element) => element.closest?.("[aria-label]")?.getAttribute("aria-label");

  document.addEventListener("focusin", ({ target }) => {
    place = target.matches("a") ? { group: groupOf(target), text: target.innerText } : null;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest("a")) place = null;
  });

  // A row of choices or buttons is one stop of the Tab key. Arrow keys move within it.
  const ROWS = "[data-arrows], .modebar";
  const STEPS = { ArrowRight: 1, ArrowLeft: -1 };
  const membersOf = (row) => [...row.querySelectorAll("a, button, summary")];
  document.addEventListener(
    "keydown",
    ({ key }) => {
      if (key !== "Tab") return;
      for (const row of document.querySelectorAll(ROWS)) {
        const members = membersOf(row);
        const here = members.find((member) => member === document.activeElement);
        const stop = here ?? row.querySelector(".active") ?? members[0];
        for (const member of members) member.tabIndex = member === stop ? 0 : -1;
      }
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    const row = event.target.closest?.(ROWS);
    if (!row || !STEPS[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    const members = membersOf(row);
    if (!members.includes(event.target)) return;
    const next = members.indexOf(event.target) + STEPS[event.key];
    members.at(next % members.length).focus();
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("a.skip")) return;
    event.preventDefault(); // the address stays that of the page
    document.querySelector("main").focus();
  });

  new MutationObserver(() => {
    if (!place || document.activeElement !== document.body) return;
    const links = [...document.querySelectorAll("a")];
    links.find((link) => link.innerText === place.text && groupOf(link) === place.group)?.focus();
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
