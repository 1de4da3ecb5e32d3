// `require` and the other globals of Node's flavour of Wapo 0.x. Modules of Node are evaluated when a program asks for one.
import native from "wapo:native";

const loaded = new Map();

// A module of Node as CommonJS has it. Files and packages are not found: they are imported, or bundled.
export function require(id) {
  if (typeof id !== "string") throw new TypeError("require: the name of the module is not a text");
  let module = loaded.get(id);
  if (module === undefined) {
    if (!isNodeModule(id)) throw Object.assign(new Error(notFound(id)), { code: "MODULE_NOT_FOUND" });
    module = native.modules.load(id).default;
    loaded.set(id, module);
  }
  return module;
}

function notFound(id) {
  const way = /^\.{0,2}\//.test(id) ? "it gives modules of Node; files are imported, or bundled" : `of Node's modules it has ${nodeModules.join(", ")}; packages have to be bundled`;
  return `require cannot find ${JSON.stringify(id)}: ${way}`;
}

export const isNodeModule = (id) => native.modules.isKnown(String(id));
export const nodeModules = native.modules.names();

// A global that is made when it is first used.
function lazy(global, key, make) {
  const put = (value) => Object.defineProperty(global, key, { value, writable: true, configurable: true, enumerable: false });
  Object.defineProperty(global, key, {
    get() {
      const value = make();
      put(value);
      return value;
    },
    set: put, configurable: true, enumerable: false,
  });
}

export function installNode(global) {
  const values = { require, __dirname: "/", __filename: "/app.js" };
  for (const [key, value] of Object.entries(values)) Object.defineProperty(global, key, { value, writable: true, configurable: true, enumerable: false });
  lazy(global, "Buffer", () => require("buffer").Buffer);
  lazy(global, "process", () => require("process"));
}
