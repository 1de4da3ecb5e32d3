// WebAssembly: the classes and functions of the JavaScript interface, over the interpreter of the native side.
// WebAssembly JavaScript Interface, 5; WebAssembly Web API, 3 (streaming). Modules are compiled where they are asked for, whether the
// function gives a promise or not.
import native from "wapo:native";
import { bytesOf, enforceRange, isObject, need, tag } from "./idl.js";
import { adopt, addImport, handle, idIn, item, roots, World, worldOf } from "./wasm-world.js";

const { wasm } = native;
const { defineProperty } = Object;
const PAGES_MAX = 65_536;
const ELEMENTS_MAX = 2 ** 32 - 1;
const OWN = Symbol("own");

function errorClass(name) {
  const E = function (message = undefined, options = undefined) {
    return Reflect.construct(Error, message === undefined ? [] : [message, options], new.target ?? E);
  };
  Object.setPrototypeOf(E, Error);
  defineProperty(E, "name", { value: name, configurable: true });
  defineProperty(E, "length", { value: 1, configurable: true });
  const hidden = (value) => ({ value, writable: true, configurable: true, enumerable: false });
  const prototype = Object.create(Error.prototype, { constructor: hidden(E), name: hidden(name), message: hidden("") });
  defineProperty(E, "prototype", { value: prototype, writable: false });
  return E;
}

const CompileError = errorClass("CompileError"), LinkError = errorClass("LinkError"), RuntimeError = errorClass("RuntimeError");
const errors = { CompileError, LinkError, RuntimeError };
wasm.onError((kind, message) => { throw new errors[kind](message); });

function source(value, where) {
  const bytes = bytesOf(value);
  if (bytes === null) throw new TypeError(`${where}: expected the bytes of a module`);
  return bytes;
}

let moduleOf;
// Where in which world an object of each kind is.
const place = { __proto__: null };

class Module {
  #described;

  constructor(bytes) {
    need(arguments.length, 1, "WebAssembly.Module");
    this.#described = wasm.compile(source(bytes, "WebAssembly.Module"));
  }

  static {
    moduleOf = (value) => (isObject(value) && #described in value ? value.#described : null);
  }

  static exports(module) {
    return each(given(module, "exports").exports, ({ name, kind }) => ({ name, kind }));
  }

  static imports(module) {
    return each(given(module, "imports").imports, ({ module: from, name, kind }) => ({ module: from, name, kind }));
  }

  static customSections(module, sectionName) {
    need(arguments.length, 2, "WebAssembly.Module.customSections");
    const { sections } = given(module, "customSections"), wanted = `${sectionName}`, found = [];
    for (let i = 0; i < sections.length; i += 2) if (sections[i] === wanted) found.push(sections[i + 1].slice().buffer);
    return found;
  }
}

// As `map`, which scripts can replace: what is of this module is for nobody else's functions.
function each(list, make) {
  const made = [];
  for (let i = 0; i < list.length; i++) defineProperty(made, i, { value: make(list[i], i), writable: true, enumerable: true, configurable: true });
  return made;
}

function given(module, where) {
  const described = moduleOf(module);
  if (described === null) throw new TypeError(`WebAssembly.Module.${where}: not a module`);
  return described;
}

// What the constructors make is in this world, and what is linked with it.
let common;
const commonWorld = () => (common ??= new World(wrap));

function limits(descriptor, max, where) {
  if (!isObject(descriptor)) throw new TypeError(`${where}: the descriptor must be an object`);
  const { initial, minimum, maximum } = descriptor;
  const least = initial ?? minimum;
  if (least === undefined) throw new TypeError(`${where}: initial is missing`);
  const from = enforceRange(least, max, `${where} initial`);
  const to = maximum === undefined ? undefined : enforceRange(maximum, max, `${where} maximum`);
  if (to !== undefined && to < from) throw new RangeError(`${where}: the maximum is less than the initial size`);
  return [from, to];
}

// Buffers of memories cannot be given away (ECMAScript, [[ArrayBufferDetachKey]]). The native side does not rely on it.
const buffers = new WeakSet();
for (const name of ["transfer", "transferToFixedLength", "transferToImmutable"]) {
  const original = ArrayBuffer.prototype[name];
  if (original === undefined) continue;
  const value = { [name](...given) {
    if (buffers.has(this)) throw new TypeError(`ArrayBuffer.${name}: the buffer of a memory cannot be transferred`);
    return Reflect.apply(original, this, given);
  } }[name];
  defineProperty(ArrayBuffer.prototype, name, { value, writable: true, configurable: true, enumerable: false });
}

class Memory {
  #at;

  constructor(descriptor) {
    if (descriptor === OWN) {
      this.#at = { world: arguments[1], id: arguments[2] };
      return;
    }
    need(arguments.length, 1, "WebAssembly.Memory");
    const [initial, maximum] = limits(descriptor, PAGES_MAX, "WebAssembly.Memory");
    if (descriptor.shared) throw new TypeError("WebAssembly.Memory: there is one thread, so no memory is shared");
    const world = commonWorld();
    this.#at = { world, id: wasm.memory(handle(world), initial, maximum) };
    adopt(world, this.#at.id, this);
  }

  static { place.memory = (value) => (isObject(value) && #at in value ? value.#at : null); }

  grow(delta) {
    need(arguments.length, 1, "WebAssembly.Memory.grow");
    const pages = enforceRange(delta, ELEMENTS_MAX, "WebAssembly.Memory.grow");
    return wasm.grow(handle(this.#at.world), this.#at.id, pages);
  }

  get buffer() {
    const buffer = wasm.buffer(handle(this.#at.world), this.#at.id);
    buffers.add(buffer);
    return buffer;
  }
}

class Table {
  #at;

  constructor(descriptor, value = undefined) {
    if (descriptor === OWN) {
      this.#at = { world: arguments[1], id: arguments[2] };
      return;
    }
    need(arguments.length, 1, "WebAssembly.Table");
    const [initial, maximum] = limits(descriptor, ELEMENTS_MAX, "WebAssembly.Table");
    const element = `${descriptor.element}`;
    if (element !== "anyfunc" && element !== "externref") throw new TypeError(`WebAssembly.Table: "${element}" is no kind of elements`);
    const world = commonWorld();
    const init = arguments.length > 1 ? value : element === "anyfunc" ? null : undefined;
    const first = element === "anyfunc" && init === undefined ? null : init;
    this.#at = { world, id: wasm.table(handle(world), roots(world), element, initial, maximum, first) };
    adopt(world, this.#at.id, this);
  }

  static { place.table = (value) => (isObject(value) && #at in value ? value.#at : null); }

  get length() {
    return wasm.tableSize(handle(this.#at.world), this.#at.id);
  }

  get(index) {
    need(arguments.length, 1, "WebAssembly.Table.get");
    const at = enforceRange(index, ELEMENTS_MAX, "WebAssembly.Table.get");
    return wasm.tableGet(handle(this.#at.world), roots(this.#at.world), this.#at.id, at);
  }

  set(index, value = null) {
    need(arguments.length, 1, "WebAssembly.Table.set");
    const at = enforceRange(index, ELEMENTS_MAX, "WebAssembly.Table.set");
    wasm.tableSet(handle(this.#at.world), roots(this.#at.world), this.#at.id, at, value);
  }

  grow(delta, value = null) {
    need(arguments.length, 1, "WebAssembly.Table.grow");
    const more = enforceRange(delta, ELEMENTS_MAX, "WebAssembly.Table.grow");
    return wasm.tableGrow(handle(this.#at.world), roots(this.#at.world), this.#at.id, more, value);
  }
}

class Global {
  #at;

  constructor(descriptor, value = undefined) {
    if (descriptor === OWN) {
      this.#at = { world: arguments[1], id: arguments[2] };
      return;
    }
    need(arguments.length, 1, "WebAssembly.Global");
    if (!isObject(descriptor)) throw new TypeError("WebAssembly.Global: the descriptor must be an object");
    const { mutable = false, value: type } = descriptor;
    const world = commonWorld();
    this.#at = { world, id: wasm.global(handle(world), roots(world), `${type}`, !!mutable, value) };
    adopt(world, this.#at.id, this);
  }

  static { place.global = (value) => (isObject(value) && #at in value ? value.#at : null); }

  get value() {
    return wasm.globalGet(handle(this.#at.world), roots(this.#at.world), this.#at.id);
  }

  set value(value) {
    wasm.globalSet(handle(this.#at.world), roots(this.#at.world), this.#at.id, value);
  }

  valueOf() {
    return this.value;
  }
}

const CLASSES = { __proto__: null, memory: Memory, table: Table, global: Global };

function wrap(kind, world, id) {
  return new CLASSES[kind](OWN, world, id);
}

let finishInstance;

class Instance {
  #exports;

  constructor(module, imports = undefined) {
    if (module === OWN) return;
    need(arguments.length, 1, "WebAssembly.Instance");
    const described = moduleOf(module);
    if (described === null) throw new TypeError("WebAssembly.Instance: not a module");
    this.#exports = link(described, imports);
  }

  static { finishInstance = (described, imports) => { const instance = new Instance(OWN); instance.#exports = link(described, imports); return instance; }; }

  get exports() {
    return this.#exports;
  }
}

function link({ module, imports: wanted }, imports) {
  if (imports !== undefined && !isObject(imports)) throw new TypeError("WebAssembly.Instance: the imports must be an object");
  if (wanted.length > 0 && imports === undefined) throw new TypeError("WebAssembly.Instance: the module has imports");
  const values = each(wanted, ({ module: from, name }) => {
    const items = imports[from];
    if (!isObject(items)) throw new TypeError(`WebAssembly.Instance: the import ${from} is not an object`);
    return items[name];
  });
  const world = worldFor(wanted, values);
  const links = each(wanted, (one, i) => linkOne(world, one, values[i]));
  const exports = Object.create(null);
  const made = wasm.instantiate(handle(world), roots(world), module, links);
  for (let i = 0; i < made.length; i++) {
    const { 0: name, 1: kind, 2: id, 3: count } = made[i];
    defineProperty(exports, name, { value: item(world, kind, id, count), enumerable: true, writable: false, configurable: false });
  }
  return Object.freeze(exports);
}

// The world of what the module shares with others. A module that shares nothing is a world of its own.
function worldFor(wanted, values) {
  let world;
  for (let i = 0; i < wanted.length; i++) {
    const { kind, module, name, mutable } = wanted[i];
    const at = place[kind]?.(values[i]);
    if (!at || (kind === "global" && !mutable)) continue;
    if (world !== undefined && world !== at.world) {
      throw new LinkError(`the import ${module}.${name} belongs to an instance that shares nothing with the other imports`);
    }
    world = at.world;
  }
  for (let i = 0; world === undefined && i < values.length; i++) world = worldOf(values[i]);
  return world ?? new World(wrap);
}

function linkOne(world, { kind, module, name, type, mutable }, value) {
  const wrong = (what) => new LinkError(`the import ${module}.${name} must be ${what}`);
  if (kind === "function") {
    if (typeof value !== "function") throw wrong("a function");
    const id = idIn(world, value);
    return id === null ? { call: addImport(world, value) } : { id };
  }
  const at = place[kind](value);
  if (at && kind === "global" && wasm.globalType(handle(at.world), at.id) !== `${type} ${mutable}`) throw wrong(`a global of the type ${type}${mutable ? " that can be changed" : ""}`);
  if (at && at.world === world) return { id: at.id };
  if (kind !== "global") throw wrong(`a WebAssembly.${kind === "memory" ? "Memory" : "Table"}`);
  if (at) return { value: value.value };
  if (mutable) throw wrong("a WebAssembly.Global");
  if (type === "i64" ? typeof value !== "bigint" : (type === "i32" || type === "f32" || type === "f64") && typeof value !== "number") {
    throw wrong(type === "i64" ? "a BigInt" : "a number");
  }
  return { value };
}

async function bytesOfResponse(source, where) {
  const response = await source;
  if (bytesOf(response) !== null) return response;
  if (!(response instanceof Response)) throw new TypeError(`${where}: expected a response`);
  if (!response.ok) throw new TypeError(`${where}: the server answered ${response.status}`);
  const type = response.headers.get("content-type") ?? "";
  if (type.split(";")[0].trim().toLowerCase() !== "application/wasm") throw new TypeError(`${where}: the type is ${type || "missing"} and not application/wasm`);
  return response.bytes();
}

const functions = {
  validate(bytes) {
    need(arguments.length, 1, "WebAssembly.validate");
    return wasm.validate(source(bytes, "WebAssembly.validate"));
  },
  async compile(bytes) {
    return new Module(source(bytes, "WebAssembly.compile"));
  },
  async compileStreaming(response) {
    return new Module(await bytesOfResponse(response, "WebAssembly.compileStreaming"));
  },
  async instantiate(bytes, imports = undefined) {
    const described = moduleOf(bytes);
    if (described !== null) return finishInstance(described, imports);
    return pair(source(bytes, "WebAssembly.instantiate"), imports);
  },
  async instantiateStreaming(response, imports = undefined) {
    return pair(await bytesOfResponse(response, "WebAssembly.instantiateStreaming"), imports);
  },
};

function pair(bytes, imports) {
  const module = new Module(bytes);
  return { module, instance: finishInstance(moduleOf(module), imports) };
}

export const WebAssembly = {};
const hidden = (value) => ({ value, writable: true, configurable: true, enumerable: false });
for (const [name, value] of Object.entries({ Module, Instance, Memory, Table, Global, ...errors })) {
  defineProperty(WebAssembly, name, hidden(value));
  if (name in errors) continue;
  for (const key of Reflect.ownKeys(value.prototype)) {
    if (key !== "constructor") defineProperty(value.prototype, key, { enumerable: true });
  }
  tag(value.prototype, `WebAssembly.${name}`);
}
for (const name of ["exports", "imports", "customSections"]) defineProperty(Module, name, { enumerable: true });
for (const [name, value] of Object.entries(functions)) defineProperty(WebAssembly, name, { ...hidden(value), enumerable: true });
tag(WebAssembly, "WebAssembly");

export const wasmClasses = [Module, Instance, Memory, Table, Global];
