"use strict";
/* The page's scripts in Node: those that know no document. */
const path = require("node:path");
const FOLDER = path.join(__dirname, "../../../../ws_service/dash/js");

global.window = global.window || {};
for (const name of ["merge", "queue", "sequence"]) {
  require(path.join(FOLDER, `${name}.js`));
}
module.exports = global.window.ws_service;
