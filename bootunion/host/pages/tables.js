"use strict";
// Sorting, filtering and shortening of tables that are whole without this.
(() => {
  const AT_ONCE = 200;
  const collator = new Intl.Collator("en", { numeric: true });
  const count = new Intl.NumberFormat("en");

  class Table {
    constructor(table) {
      this.body = table.tBodies[0];
      this.heads = [...table.tHead.rows[0].cells];
      this.rows = [...this.body.rows];
      this.matching = this.rows;
      this.filters = () => true;
      this.limit = AT_ONCE;
      this.heads.forEach((head, column) => this.makeSortable(head, column));
      this.more = document.createElement("div");
      this.more.className = "more";
      table.closest(".scroll").after(this.more);
      // Paper shows all that match, whatever the screen does.
      addEventListener("beforeprint", () => this.body.replaceChildren(...this.matching));
      addEventListener("afterprint", () => this.show());
      if (this.rows.length > AT_ONCE) this.show();
    }

    value(row, column) {
      const cell = row.cells[column];
      const order = this.heads[column].dataset.order?.split(" ");
      if (order) return String(order.indexOf(cell.textContent));
      return cell.dataset.v ?? cell.textContent;
    }

    makeSortable(head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => this.sort(head, column));
      head.replaceChildren(button);
    }

    sort(head, column) {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of this.heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const keyed = this.rows.map((row) => [this.value(row, column), row]);
      const sign = ascending ? 1 : -1;
      keyed.sort((a, b) => sign * collator.compare(a[0], b[0]));
      this.rows = keyed.map((pair) => pair[1]);
      this.filter();
    }

    filter() {
      this.matching = this.rows.filter(this.filters);
      this.limit = AT_ONCE;
      this.show();
    }

    show() {
      const shown = this.matching.slice(0, this.limit);
      this.body.replaceChildren(...shown);
      this.more.replaceChildren();
      const rest = this.matching.length - shown.length;
      if (rest <= 0) return;
      this.more.append(`${count.format(shown.length)} of ${count.format(this.matching.length)} rows`);
      this.offer(`Show ${count.format(Math.min(rest, AT_ONCE))} more`, this.limit + AT_ONCE);
      this.offer("Show all", Infinity);
    }

    offer(text, limit) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => {
        const next = this.body.rows.length;
        this.limit = limit;
        this.show();
        // The button that had the focus is gone: go on where the new rows begin.
        this.body.rows[next].tabIndex = -1;
        this.body.rows[next].focus();
      });
      this.more.append(button);
    }
  }

  function connect(panel, table) {
    const inputs = [...panel.querySelectorAll("input")];
    const output = panel.querySelector("output");
    const columns = {};
    table.heads.forEach((head, column) => {
      if (head.dataset.filter) (columns[head.dataset.filter] ??= []).push(column);
    });
    // Read once: asking 20,000 rows for their text at each key would be slow.
    const known = new Map(table.rows.map((row) => [row, Object.fromEntries(
      Object.entries(columns).map(([name, places]) => [name, places.map((at) => {
        const cell = row.cells[at];
        const number = name === "package" ? cell.lastChild.textContent.length + 1 : 0;
        const text = cell.textContent;
        return text.slice(0, text.length - number).toLowerCase();
      })]))]));

    function apply() {
      const wanted = inputs.filter((one) => one.type === "search" && one.value.trim())
        .map((one) => [one.dataset.filter, one.value.trim().toLowerCase()]);
      const allowed = {};
      for (const box of inputs.filter((one) => one.type === "checkbox")) {
        const names = (allowed[box.dataset.filter] ??= new Set());
        if (box.checked) names.add(box.value.toLowerCase());
      }
      table.filters = (row) => {
        const texts = known.get(row);
        return wanted.every(([name, part]) => texts[name].some((text) => text.includes(part)))
          && Object.entries(allowed).every(([name, names]) => texts[name].some((text) => names.has(text)));
      };
      table.filter();
      output.textContent = `${count.format(table.matching.length)} of ${count.format(table.rows.length)} paths`;
    }

    panel.querySelector(".reset").addEventListener("click", () => {
      for (const one of inputs) {
        if (one.type === "checkbox") one.checked = true; else one.value = "";
      }
      apply();
    });
    panel.addEventListener("input", apply);
    panel.hidden = false;
    apply();
  }

  const tables = new Map();
  for (const table of document.querySelectorAll("main table")) tables.set(table.id, new Table(table));
  for (const panel of document.querySelectorAll(".filters")) connect(panel, tables.get(panel.dataset.table));
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
})();
