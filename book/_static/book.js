// Small repairs to the theme's pages, for readers who use a keyboard or a screen reader.
(function () {
  // Whatever scrolls sideways inside its own box can be reached, and then scrolled, from the keyboard.
  const boxes = "pre, mjx-container[display='true'], .cell_output table, .pst-scrollable-table-container";
  function makeReachable() {
    document.querySelectorAll(boxes).forEach((box) => {
      if (box.scrollWidth > box.clientWidth + 1) {
        box.tabIndex = 0;
      }
    });
  }

  // The switches that unfold a part of the table of contents have no name.
  function nameSwitches() {
    document.querySelectorAll("nav.bd-links details > summary").forEach((summary) => {
      const link = summary.closest("li").querySelector("a");
      summary.setAttribute("aria-label", "Pages under " + (link ? link.textContent.trim() : "this one"));
    });
  }

  document.addEventListener("DOMContentLoaded", nameSwitches);
  window.addEventListener("resize", makeReachable);
  window.addEventListener("load", () => {
    makeReachable();
    window.MathJax?.startup?.promise?.then(makeReachable);
  });
})();
