"use strict";
// Sorts and filters the table of cases; without it the page is complete, in its initial order.
const body = document.querySelector("#cases tbody"), rows = [...body.rows];
const texts = rows.map((row) => row.textContent.toLowerCase());
const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim() || null;
};
const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
let sorted = {column: -1, up: true};
function sort(column) {
  sorted = {column, up: sorted.column === column ? !sorted.up : column < 3};
  const keyed = rows.map((row) => [value(row, column), row]);
  keyed.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : (sorted.up ? 1 : -1) * compare(a, b));
  body.append(...keyed.map(([, row]) => row));
  document.querySelectorAll("#cases thead th").forEach((head, i) =>
    i === column ? head.setAttribute("aria-sort", sorted.up ? "ascending" : "descending") : head.removeAttribute("aria-sort"));
}
document.querySelectorAll("#cases thead th").forEach((head, column) => {
  if (column === 0) return;
  const button = document.createElement("button");
  button.type = "button"; button.textContent = head.textContent;
  button.addEventListener("click", () => sort(column));
  head.replaceChildren(button);
});
function filter() {
  const words = document.getElementById("find").value.toLowerCase().split(/\s+/), quality = document.getElementById("quality").value;
  let shown = 0;
  rows.forEach((row, i) => {
    row.hidden = !(words.every((word) => texts[i].includes(word)) && (!quality || row.dataset.quality === quality));
    shown += !row.hidden;
  });
  document.getElementById("count").textContent = `${shown} of ${rows.length} cases shown`;
}
document.getElementById("controls").hidden = false;
document.getElementById("find").addEventListener("input", filter);
document.getElementById("quality").addEventListener("change", filter);
filter();
document.documentElement.dataset.ready = "yes";
