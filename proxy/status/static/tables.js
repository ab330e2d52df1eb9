"use strict";
// Tables that are filled again and again: only what has changed is written, so that a selected text stays selected.

class Table {
  // columns: {label, text, kind} each. text: row => string, or [class, string] for a word with a sign.
  constructor(parent, title, columns, empty) {
    this.columns = columns;
    this.table = element("table", "", parent);
    this.table.setAttribute("role", "table");  // a narrow page lays it out anew, and would lose the roles with that
    this.table.setAttribute("aria-labelledby", title);
    const head = element("thead", "", this.table);
    head.setAttribute("role", "rowgroup");
    const row = element("tr", "", head);
    row.setAttribute("role", "row");
    for (const column of columns) {
      const cell = element("th", column.kind || "", row, column.label);
      cell.setAttribute("scope", "col");
      cell.setAttribute("role", "columnheader");
    }
    this.body = element("tbody", "", this.table);
    this.body.setAttribute("role", "rowgroup");
    this.empty = element("p", "empty", parent);
    this.emptyText = empty;
    this.fill([]);
  }

  // empty: what is said where there is no row; the table's own sentence where it is left out.
  fill(rows, empty = this.emptyText) {
    write(this.empty, empty);
    this.table.hidden = !rows.length;
    this.empty.hidden = rows.length > 0;
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach((row, index) => this.put(this.body.rows[index] || this.row(), row));
  }

  row() {
    const row = element("tr", "", this.body);
    row.setAttribute("role", "row");
    for (const column of this.columns) {
      const cell = element("td", column.kind || "", row);
      cell.setAttribute("role", "cell");
      cell.dataset.label = column.label;
      element("span", "", cell);
    }
    return row;
  }

  put(line, row) {
    line.className = row.sub ? "sub" : "";
    this.columns.forEach((column, index) => {
      const said = column.text(row);
      const [kind, text] = Array.isArray(said) ? [`word ${said[0]}`, said[1]] : ["", said];
      const inner = line.cells[index].firstChild;
      if (inner.className !== kind) inner.className = kind;
      write(inner, text);
      line.cells[index].classList.toggle("missing", text === MISSING);
    });
  }
}
