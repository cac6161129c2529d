"use strict";

/* The table of volumes: sorting by a column, and filtering. */

(() => {
  const table = document.querySelector("table.sortable");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];

  /* The images of the table are those of the montage. */
  for (const image of body.querySelectorAll("img[data-image]")) {
    const source = document.querySelector(`#images img[data-image="${image.dataset.image}"]`)?.src;
    if (source) image.src = source;
  }

  /* Rows without a value come last in both orders. */
  const values = new Map(rows.map(row => [row, [...row.cells].map(cell => {
    const text = cell.dataset.value ?? cell.textContent.trim(), number = Number(text);
    return text === "" ? null : Number.isNaN(number) ? text : number;
  })]));
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", other === head ? (down ? "descending" : "ascending") : "none"));
    const compare = (a, b) => {
      const [x, y] = [values.get(a)[column], values.get(b)[column]];
      if (x === null || y === null) return (x === null) - (y === null);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return down ? -order : order;
    };
    body.append(...rows.sort(compare));
  }));

  const form = document.getElementById("filter"), count = form.querySelector("output");
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
  function filter() {
    const wanted = new FormData(form);
    const terms = (wanted.get("text") || "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const fits = ["label", "state"].every(name => !wanted.get(name) || row.dataset[name] === wanted.get(name))
        && (!wanted.get("outlier") || row.dataset.outlier === "1")
        && terms.every(term => /^\d+$/.test(term) ? row.dataset.number === term : texts.get(row).includes(term));
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === rows.length ? `${shown} volumes` : `${shown} of ${rows.length} volumes`;
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
})();
