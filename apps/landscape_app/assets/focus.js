// Dash puts new links in place of old ones when an address changes: the keyboard's place is kept.
(() => {
  let place = null;

  const groupOf = (element) => element.closest?.("[aria-label]")?.getAttribute("aria-label");

  document.addEventListener("focusin", ({ target }) => {
    place = target.matches("a") ? { group: groupOf(target), text: target.innerText } : null;
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest("a")) place = null;
  });

  new MutationObserver(() => {
    if (!place || document.activeElement !== document.body) return;
    const links = [...document.querySelectorAll("a")];
    links.find((link) => link.innerText === place.text && groupOf(link) === place.group)?.focus();
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
