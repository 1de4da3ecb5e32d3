// WebAssembly: the classes and functions of the JavaScript interface, over the interpreter of the native side.
// WebAssembly JavaScript Interface, 5; WebAssembly Web API, 3 (streaming). Modules are compiled where they are asked for, whether the
// function gives a promise or not.
import native from "wapo:native";
import { bytesOf, enforceRange, isObject, need, tag } from "./idl.js";
import { World, worldOf } from "./wasm-world.js";

const { wasm } = native;
const PAGES_MAX = 65_536;
const ELEMENTS_MAX = 2 ** 32 - 1;
const OWN = Symbol("own");

function errorClass(name) {
  const E = function (message = undefined, options = undefined) {
    return Reflect.construct(Error, message === undefined ? [] : [message, options], new.target ?? E);
  };
  Object.setPrototypeOf(E, Error);
  Object.defineProperty(E, "name", { value: name, configurable: true });
  Object.defineProperty(E, "length", { value: 1, configurable: true });
  const hidden = (value) => ({ value, writable: true, configurable: true, enumerable: false });
  const prototype = Object.create(Error.prototype, { constructor: hidden(E), name: hidden(name), message: hidden("") });
  Object.defineProperty(E, "prototype", { value: prototype, writable: false });
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

let moduleOf, place;

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
    return given(module, "exports").exports.map(({ name, kind }) => ({ name, kind }));
  }

  static imports(module) {
    return given(module, "imports").imports.map(({ module: from, name, kind }) => ({ module: from, name, kind }));
  }

  static customSections(module, sectionName) {
    need(arguments.length, 2, "WebAssembly.Module.customSections");
    const { sections } = given(module, "customSections"), wanted = `${sectionName}`, found = [];
    for (let i = 0; i < sections.length; i += 2) if (sections[i] === wanted) found.push(sections[i + 1].slice().buffer);
    return found;
  }
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
  Object.defineProperty(ArrayBuffer.prototype, name, { value, writable: true, configurable: true, enumerable: false });
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
    this.#at = { world, id: wasm.memory(world.handle, initial, maximum) };
    world.adopt(this.#at.id, this);
  }

  static { place = { memory: (value) => (isObject(value) && #at in value ? value.#at : null) }; }

  grow(delta) {
    need(arguments.length, 1, "WebAssembly.Memory.grow");
    const pages = enforceRange(delta, ELEMENTS_MAX, "WebAssembly.Memory.grow");
    return wasm.grow(this.#at.world.handle, this.#at.world.roots, this.#at.id, pages);
  }

  get buffer() {
    const buffer = wasm.buffer(this.#at.world.handle, this.#at.world.roots, this.#at.id);
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
    this.#at = { world, id: wasm.table(world.handle, world.roots, element, initial, maximum, first) };
    world.adopt(this.#at.id, this);
  }

  static { place.table = (value) => (isObject(value) && #at in value ? value.#at : null); }

  get length() {
    return wasm.tableSize(this.#at.world.handle, this.#at.id);
  }

  get(index) {
    need(arguments.length, 1, "WebAssembly.Table.get");
    const at = enforceRange(index, ELEMENTS_MAX, "WebAssembly.Table.get");
    return wasm.tableGet(this.#at.world.handle, this.#at.world.roots, this.#at.id, at);
  }

  set(index, value = null) {
    need(arguments.length, 1, "WebAssembly.Table.set");
    const at = enforceRange(index, ELEMENTS_MAX, "WebAssembly.Table.set");
    wasm.tableSet(this.#at.world.handle, this.#at.world.roots, this.#at.id, at, value);
  }

  grow(delta, value = null) {
    need(arguments.length, 1, "WebAssembly.Table.grow");
    const more = enforceRange(delta, ELEMENTS_MAX, "WebAssembly.Table.grow");
    return wasm.tableGrow(this.#at.world.handle, this.#at.world.roots, this.#at.id, more, value);
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
    this.#at = { world, id: wasm.global(world.handle, world.roots, `${type}`, !!mutable, value) };
    world.adopt(this.#at.id, this);
  }

  static { place.global = (value) => (isObject(value) && #at in value ? value.#at : null); }

  get value() {
    return wasm.globalGet(this.#at.world.handle, this.#at.world.roots, this.#at.id);
  }

  set value(value) {
    wasm.globalSet(this.#at.world.handle, this.#at.world.roots, this.#at.id, value);
  }

  valueOf() {
    return this.value;
  }
}

const CLASSES = { memory: Memory, table: Table, global: Global };

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
  const values = wanted.map(({ module: from, name }) => {
    const items = imports[from];
    if (!isObject(items)) throw new TypeError(`WebAssembly.Instance: the import ${from} is not an object`);
    return items[name];
  });
  const world = worldFor(wanted, values);
  const links = wanted.map((item, i) => linkOne(world, item, values[i]));
  const exports = Object.create(null);
  for (const [name, kind, id, count] of wasm.instantiate(world.handle, world.roots, module, links)) {
    Object.defineProperty(exports, name, { value: world.item(kind, id, count), enumerable: true, writable: false, configurable: false });
  }
  return Object.freeze(exports);
}

// The world of what the module shares with others. A module that shares nothing is a world of its own.
function worldFor(wanted, values) {
  let world;
  wanted.forEach(({ kind, module, name, mutable }, i) => {
    const at = place[kind]?.(values[i]);
    if (!at || (kind === "global" && !mutable)) return;
    if (world !== undefined && world !== at.world) {
      throw new LinkError(`the import ${module}.${name} belongs to an instance that shares nothing with the other imports`);
    }
    world = at.world;
  });
  return world ?? values.map(worldOf).find((found) => found !== undefined) ?? new World(wrap);
}

function linkOne(world, { kind, module, name, type, mutable }, value) {
  const wrong = (what) => new LinkError(`the import ${module}.${name} must be ${what}`);
  if (kind === "function") {
    if (typeof value !== "function") throw wrong("a function");
    const id = world.idOf(value);
    return id === null ? { call: world.roots.imports.push(value) - 1 } : { id };
  }
  const at = place[kind](value);
  if (at && kind === "global" && wasm.globalType(at.world.handle, at.id) !== `${type} ${mutable}`) throw wrong(`a global of the type ${type}${mutable ? " that can be changed" : ""}`);
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
  Object.defineProperty(WebAssembly, name, hidden(value));
  if (name in errors) continue;
  for (const key of Reflect.ownKeys(value.prototype)) {
    if (key !== "constructor") Object.defineProperty(value.prototype, key, { enumerable: true });
  }
  tag(value.prototype, `WebAssembly.${name}`);
}
for (const name of ["exports", "imports", "customSections"]) Object.defineProperty(Module, name, { enumerable: true });
for (const [name, value] of Object.entries(functions)) Object.defineProperty(WebAssembly, name, { ...hidden(value), enumerable: true });
tag(WebAssembly, "WebAssembly");

export const wasmClasses = [Module, Instance, Memory, Table, Global];
