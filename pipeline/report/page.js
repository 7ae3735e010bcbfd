// Draws the figures in the colours of the page, sorts tables, changes between light and dark.
"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");

  function colours() {
    const style = getComputedStyle(root);
    const value = (name) => style.getPropertyValue(name).trim();
    return { ink: value("--ink"), soft: value("--soft"), line: value("--line"), font: style.fontFamily };
  }

  function themed(layout) {
    const { ink, soft, line } = colours();
    const font = { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12.5 };
    const found = {
      hovermode: "closest", ...layout, font,
      margin: { l: 66, r: 24, t: 44, b: 54, ...layout.margin },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    };
    for (const [key, axis] of Object.entries(layout)) {
      if (/^[xy]axis\d*$/.test(key)) {
        found[key] = {
          gridcolor: line, linecolor: line, zerolinecolor: soft, tickfont: { color: soft },
          zeroline: false, automargin: true, ...axis,
        };
      }
    }
    return found;
  }

  function draw() {
    const { ink, soft } = colours();
    const drawn = Object.entries(figures).map(([id, figure]) => {
      const data = figure.data.map((trace) => trace.type === "parcoords"
        ? { ...trace, labelfont: { color: ink }, tickfont: { color: soft }, rangefont: { color: soft } }
        : trace.type === "heatmap" ? { ...trace, textfont: { color: ink } } : trace);
      return Plotly.react(id, data, themed(figure.layout), {
        responsive: true, displaylogo: false,
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
    });
    return Promise.all(drawn).then(() => {
      // Only now everything is where it stays: a link to a part of the page is followed again.
      if (!root.dataset.drawn && location.hash) location.replace(location.hash);
      root.dataset.drawn = drawn.length;
    });
  }

  function paint(theme) {
    root.dataset.theme = theme;
    document.getElementById("theme").textContent = theme === "dark" ? "light" : "dark";
    draw();
  }

  function sort(table, column, header) {
    const down = header.getAttribute("aria-sort") !== "descending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const text = row.cells[column].textContent.trim();
      const number = parseFloat(text.replace(/^#/, "").replace(/,/g, ""));
      return Number.isNaN(number) ? text : number;
    };
    const compare = (a, b) => (typeof a === "number" && typeof b === "number"
      ? a - b : String(a).localeCompare(String(b)));
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table")) {
    [...table.querySelectorAll("th")].forEach((header, column) => {
      header.addEventListener("click", () => sort(table, column, header));
    });
  }
  document.getElementById("theme").addEventListener("click", () => {
    paint(root.dataset.theme === "dark" ? "light" : "dark");
  });
  prefers.addEventListener("change", () => paint(prefers.matches ? "dark" : "light"));
  paint(prefers.matches ? "dark" : "light");
})();
