// Whoever has no mouse must reach what scrolls in itself: tables, code, outputs.
function letScrollersBeFocused() {
  for (const box of document.querySelectorAll(".table-wrapper, .highlight pre, .output pre, div.math")) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (scrolls) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}
window.addEventListener("load", letScrollersBeFocused);
window.addEventListener("resize", letScrollersBeFocused);
document.addEventListener("toggle", letScrollersBeFocused, true);
