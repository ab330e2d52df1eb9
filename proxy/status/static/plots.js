"use strict";
// Small plots: lines over the last minutes, all with one scale of time, and the values under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 76;
const STROKES = ["one", "two", "three"];

function element(name, className, parent, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function shape(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

const STEPS = [1, 1.5, 2, 3, 4, 6, 8, 10];

// The end of a scale: a number with one digit or two, of a unit such as KiB.
function niceMost(value, unit) {
  while (unit > 1 && value < unit) unit /= KIB;
  const power = unit * 10 ** (Math.ceil(Math.log10(value / unit)) - 1);
  return power * STEPS.find((step) => step * power >= value);
}

// A line breaks where a value is not known.
function path(values, most, kept) {
  let text = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value == null) { pen = "M"; return; }
    const x = (kept - values.length + index) * WIDTH / (kept - 1);
    text += `${pen}${x.toFixed(1)} ${(HEIGHT - value / most * HEIGHT).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

class Plot {
  // series: [label, columns => values] each; the first one is the large figure.
  // least: the least that the scale ends at. unit: the largest in which it is written.
  constructor(parent, { title, format, series, least, unit }) {
    this.format = format;
    this.title = title;
    this.least = least;
    this.unit = unit || 1;
    const card = element("div", "plot", parent);
    element("h3", "", card, title);
    this.value = element("p", "value", card);
    const graph = element("div", "graph", card);
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, graph);
    shape("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }, this.svg);
    this.area = shape("path", { class: "area one" }, this.svg);
    this.most = element("span", "most", graph);
    const legend = element("ul", "legend", card);
    this.series = series.map(([label, read], index) => {
      const line = shape("path", { class: `series ${STROKES[index]}` }, this.svg);
      const item = element("li", "", legend);
      const key = shape("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, item);
      shape("path", { class: `series ${STROKES[index]}`, d: "M0 4H22" }, key);
      item.append(`${label} `);
      return { label, read, line, shown: element("b", "", item), values: [] };
    });
    this.cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" }, this.svg);
  }

  draw(columns, kept) {
    this.kept = kept;
    for (const one of this.series) one.values = one.read(columns);
    const most = Math.max(this.least, ...this.series.flatMap((one) => one.values.map((value) => value || 0)));
    const top = niceMost(1.05 * most, this.unit);  // a line that runs along the top is not seen
    for (const one of this.series) one.line.setAttribute("d", path(one.values, top, kept));
    this.area.setAttribute("d", this.below(this.series[0].values, top, kept));
    write(this.most, this.format(top));
    const now = this.series.map((one) => `${one.label} ${this.format(one.values[one.values.length - 1])}`);
    this.svg.setAttribute("aria-label", `${this.title}: now ${now.join(", ")}; highest ${this.format(most)}`);
  }

  // What is under a line with gaps is left out.
  below(values, top, kept) {
    if (!values.length || values.includes(null)) return "";
    const first = (kept - values.length) * WIDTH / (kept - 1);
    return `${path(values, top, kept)}L${WIDTH} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`;
  }

  // back: how many points before the newest one; 0 is now.
  show(back) {
    for (const one of this.series) write(one.shown, this.format(one.values[one.values.length - 1 - back]));
    write(this.value, this.series[0].shown.textContent);
    const x = ((this.kept - 1 - back) * WIDTH / (this.kept - 1)).toFixed(1);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", back ? "visible" : "hidden");
  }
}

// All plots, with one moment for all of them: that under the pointer, else now.
class Plots {
  constructor(parent, moment, described) {
    this.moment = moment;
    this.back = 0;
    this.plots = described.map((one) => new Plot(parent, one));
    for (const plot of this.plots) {
      plot.svg.addEventListener("pointermove", (event) => this.point(plot, event));
      plot.svg.addEventListener("pointerleave", () => { this.back = 0; this.show(); });
    }
  }

  draw(columns, interval, kept) {
    this.interval = interval;
    this.length = columns.requests.length;
    for (const plot of this.plots) plot.draw(columns, kept);
    this.show();
  }

  point(plot, event) {
    if (!plot.kept) return;
    const box = plot.svg.getBoundingClientRect();
    const back = Math.round((box.right - event.clientX) / box.width * (plot.kept - 1));
    this.back = Math.max(0, Math.min(this.length - 1, back));
    this.show();
  }

  show() {
    for (const plot of this.plots) if (plot.kept) plot.show(this.back);
    write(this.moment, this.back ? `${age(this.back * this.interval)} ago` : "");
  }
}
