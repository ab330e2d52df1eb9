"use strict";
// Numbers as people read them. A value that is not known is a dash.

const MISSING = "–";
const KIB = 1024;

const count = (value) => value == null ? MISSING : Math.round(value).toLocaleString("en");

function short(value) {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return Number(value.toFixed(digits)).toLocaleString("en", { maximumFractionDigits: 2 });
}

const rate = (value) => value == null ? MISSING : `${short(value)}/s`;

function bytes(value) {
  if (value == null) return MISSING;
  let unit = 0;
  while (value >= KIB && unit < 4) { value /= KIB; unit += 1; }
  return `${unit ? short(value) : Math.round(value)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

const byteRate = (value) => value == null ? MISSING : `${bytes(value)}/s`;

function seconds(value) {
  if (value == null) return MISSING;
  return value < 1 ? `${short(value * 1000)} ms` : `${short(value)} s`;
}

// The first bucket of a histogram says "at most", what is above the last one "at least".
function latency(value, bounds) {
  if (value == null) return MISSING;
  if (value <= bounds[0]) return `≤ ${seconds(bounds[0])}`;
  if (value >= bounds[bounds.length - 1]) return `≥ ${seconds(bounds[bounds.length - 1])}`;
  return seconds(value);
}

function age(value) {
  if (value == null) return MISSING;
  if (value < 60) return `${Math.trunc(value)} s`;
  const minutes = Math.trunc(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.trunc(value % 60)} s`;
  const hours = Math.trunc(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.trunc(hours / 24)} d ${hours % 24} h`;
}

const clock = (date) => date.toLocaleTimeString("en-GB");
