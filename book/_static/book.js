// Small repairs to the theme's pages, for readers who use a keyboard or a screen reader.
(function () {
  // Whatever scrolls inside its own box can be reached, and then scrolled, from the keyboard.
  const boxes = "pre, mjx-container[display='true'], .cell_output table, .pst-scrollable-table-container";
  function makeReachable() {
    document.querySelectorAll(boxes).forEach((box) => {
      if (box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1) {
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

  // Paper is white, whatever the screen is.
  const root = document.documentElement;
  let theme = root.dataset.theme;
  window.addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    root.dataset.theme = theme;
  });

  document.addEventListener("DOMContentLoaded", nameSwitches);
  // A fold that opens may show a box that was not there before.
  document.addEventListener("toggle", makeReachable, true);
  window.addEventListener("resize", makeReachable);
  window.addEventListener("load", () => {
    makeReachable();
    window.MathJax?.startup?.promise?.then(makeReachable);
  });
})();
