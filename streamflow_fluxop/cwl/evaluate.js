// Evaluates expressions of CWL documents, a line of JSON in and a line out. What runs here is somebody else's program: the
// process is confined (confined.py), and what Node offers beyond ECMAScript is taken away before anything is evaluated.
// `vm` separates one expression from the next, nothing more.
"use strict";
(function () {
  const fs = require("fs");
  const vm = require("vm");
  const { spawnSync } = require("child_process");
  const { parse, stringify } = JSON;
  const { readSync, writeSync } = fs;
  const from = Buffer.from;
  const chunk = Buffer.alloc(2 ** 16);
  const LARGEST = 2 ** 24; // bytes of an answer
  const sandbox = () =>
    vm.createContext(Object.create(null), { codeGeneration: { strings: false, wasm: false } });
  const answer = (message) => {
    let rest = from(stringify(message) + "\n");
    while (rest.length) {
      rest = rest.subarray(writeSync(1, rest));
    }
  };

  // what must not be possible is tried
  const works = (action) => {
    try {
      action();
      return true;
    } catch {
      return false;
    }
  };
  const open = [];
  if (works(() => fs.readdirSync("/"))) open.push("reads files");
  if (works(() => fs.closeSync(fs.openSync("/dev/null", "w")))) open.push("writes to files");
  if (works(() => { const { error } = spawnSync(process.execPath, ["--version"]); if (error) throw error; })) {
    open.push("starts programs");
  }
  if (works(() => Function("return 1"))) open.push("generates code");
  if (Object.keys(process.env).some((name) => name !== "LC_CTYPE" && name !== "LD_LIBRARY_PATH")) {
    open.push("has an environment");
  }
  answer({ open });
  if (open.length) process.exit(1);

  const plain = new Set(vm.runInContext("Object.getOwnPropertyNames(globalThis)", sandbox()));
  const exit = process.exit.bind(process);
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (!plain.has(name) || name === "WebAssembly") delete globalThis[name];
  }

  const UNKNOWN = "\0unknown was read"; // what the code sets where it meets a value that nobody knows yet
  const evaluate = (code) => {
    const context = sandbox();
    const toJSON = vm.runInContext("JSON.stringify", context);
    let answered;
    try {
      const value = toJSON(vm.runInContext(code, context));
      answered = { value: typeof value === "string" && value.length > LARGEST ? null : value };
    } catch (error) {
      answered = { error: said(error) };
    }
    return context[UNKNOWN] ? { unknown: true } : answered;
  };
  const said = (error) => {
    const text = error && typeof error === "object" && error.name ? `${error.name}: ${error.message}` : `${error}`;
    return text.slice(0, 500);
  };
  let parts = [];
  for (;;) {
    const count = readSync(0, chunk);
    if (count === 0) exit(0);
    let rest = from(chunk.subarray(0, count));
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      parts.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      const code = parse(parts.map((part) => part.toString("latin1")).join(""));
      parts = [];
      try {
        answer(evaluate(code));
      } catch {
        answer({ value: null });
      }
    }
    if (rest.length) parts.push(rest);
  }
})();
