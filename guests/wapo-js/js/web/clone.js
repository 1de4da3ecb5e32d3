// structuredClone, and the two halves of it that message ports use: a graph becomes records, records become a graph.
// HTML Living Standard, 2.7 (StructuredSerializeWithTransfer, StructuredDeserializeWithTransfer).
// Nothing is detached before the whole graph was serialized.
import { dictionary, isBuffer, isObject, isShared, need, sequence } from "./idl.js";
import { blobOf, blobState, fileOf, isBlob, isFile } from "./blob.js";
import { isPort, packPort, portMovable, unpackPort } from "./messaging.js";
import { isStream, locked, TransformStream, WritableStream } from "./streams.js";

const getter = (cls, key) => Object.getOwnPropertyDescriptor(cls.prototype, key)?.get;
const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
const typedName = getter(Object.getPrototypeOf(Uint8Array), Symbol.toStringTag);
const detached = getter(ArrayBuffer, "detached") ?? function () { try { return (new Uint8Array(this), false); } catch { return true; } };
const regexpSource = getter(RegExp, "source"), regexpFlags = getter(RegExp, "flags");
const mapSize = getter(Map, "size"), setSize = getter(Set, "size");

function refuse(what) {
  return new DOMException(`${what} cannot be cloned`, "DataCloneError");
}

// A brand check: whether an operation of a class takes the value.
function takes(operation, value, ...args) {
  try {
    operation.call(value, ...args);
    return true;
  } catch {
    return false;
  }
}

export function structuredClone(value, options = undefined) {
  need(arguments.length, 1, "structuredClone");
  const { transfer } = dictionary(options, "structuredClone");
  return deserialize(serialize(value, transferList(transfer, "structuredClone"))).value;
}
Object.defineProperty(structuredClone, "length", { value: 1, configurable: true });

export function transferList(transfer, where) {
  return transfer === undefined ? [] : sequence(transfer, (x) => x, `${where} transfer`);
}

// What is known of a graph while its records are made.
class Memory extends Map {
  // Members that have no clone and are left out; a clone has none.
  isOmitted = (member) => false;
}

const isCode = (member) => typeof member === "function" || typeof member === "symbol";

// As serialize(), without the functions and symbols among the members of objects, lists, maps and sets.
export function serializeData(value) {
  const memory = new Memory();
  memory.isOmitted = isCode;
  return { root: write(value, memory), slots: [] };
}

// { root, moved }: records, and what was moved in the order of the list.
export function serialize(value, transfer) {
  const memory = new Memory();
  const slots = transfer.map((item) => {
    if (!isObject(item) || !movable(item)) throw refuse("What is in the transfer list");
    if (memory.has(item)) throw refuse("A transfer list that names an object twice");
    const slot = { kind: "moved", item: undefined };
    memory.set(item, slot);
    return slot;
  });
  const root = write(value, memory);
  // Getters ran meanwhile: one may have detached what the list names.
  transfer.forEach((item, i) => {
    // One that was moved before may have locked this one.
    if (!movable(item)) throw refuse("What is in the transfer list");
    slots[i].item = pack(item);
  });
  return { root, slots };
}

function movable(item) {
  if (isBuffer(item)) return !isShared(item) && !detached.call(item);
  if (isPort(item)) return portMovable(item);
  if (isStream(item)) return !locked(item);
  if (item instanceof WritableStream) return !item.locked;
  return item instanceof TransformStream && !item.readable.locked && !item.writable.locked;
}

// What goes over to the other side. Streams stay in this engine: the old one is locked and feeds the new one.
function pack(item) {
  if (isBuffer(item)) return { value: item.transfer() };
  if (isPort(item)) return { port: packPort(item) };
  if (isStream(item)) return { value: item.pipeThrough(new TransformStream()) };
  if (item instanceof WritableStream) return { value: feed(item) };
  return { value: { readable: item.readable.pipeThrough(new TransformStream()), writable: feed(item.writable) } };
}

function feed(target) {
  const { readable, writable } = new TransformStream();
  readable.pipeTo(target).catch(() => {});
  return writable;
}

function write(value, memory) {
  if (!isObject(value)) {
    if (typeof value === "symbol") throw refuse("A symbol");
    return { kind: "plain", value };
  }
  const known = memory.get(value);
  if (known !== undefined) return known;
  if (typeof value === "function") throw refuse("A function");
  if (isOrdinary(value)) return writeObject(value, memory);
  const proto = Object.getPrototypeOf(value);
  const record = proto === Map.prototype || proto === Set.prototype ? undefined : writeLeaf(value);
  if (record !== undefined) {
    memory.set(value, record);
    return record;
  }
  return writeContainer(value, memory);
}

// Most objects are arrays, or literals: they need none of the checks below, each of which costs an exception when it fails. The tag is
// "[object Object]" for what has no slots of Boolean, Number, String, Date, RegExp, Error, and is neither array nor function.
function isOrdinary(value) {
  if (Array.isArray(value)) return true;
  const proto = Object.getPrototypeOf(value);
  return (proto === Object.prototype || proto === null) && Object.prototype.toString.call(value) === "[object Object]";
}

function writeObject(value, memory) {
  const array = Array.isArray(value);
  const record = { kind: "object", array, length: array ? value.length : 0, members: [] };
  memory.set(value, record);
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(value, key)) continue;
    const member = value[key];
    if (!memory.isOmitted(member)) record.members.push(key, write(member, memory));
  }
  return record;
}

function writeLeaf(value) {
  for (const cls of [Boolean, Number, String, BigInt]) {
    if (takes(cls.prototype.valueOf, value)) return { kind: "boxed", value: cls.prototype.valueOf.call(value) };
  }
  if (takes(Symbol.prototype.valueOf, value)) throw refuse("A symbol");
  if (takes(Date.prototype.getTime, value)) return { kind: "date", value: Date.prototype.getTime.call(value) };
  if (value !== RegExp.prototype && takes(regexpSource, value)) return { kind: "regexp", source: regexpSource.call(value), flags: regexpFlags.call(value) };
  if (isBuffer(value)) return writeBuffer(value);
  if (isFile(value)) return { kind: "file", bytes: blobState(value).bytes, type: value.type, name: value.name, modified: value.lastModified };
  if (isBlob(value)) return { kind: "blob", bytes: blobState(value).bytes, type: value.type };
  if (value instanceof DOMException) return { kind: "exception", message: `${value.message}`, name: `${value.name}` };
  return undefined;
}

function writeBuffer(buffer) {
  if (isShared(buffer)) throw refuse("A SharedArrayBuffer");
  if (detached.call(buffer)) throw refuse("A detached ArrayBuffer");
  return { kind: "buffer", bytes: new Uint8Array(buffer).slice(), max: buffer.resizable ? buffer.maxByteLength : undefined };
}

function writeContainer(value, memory) {
  if (ArrayBuffer.isView(value)) return writeView(value, memory);
  const put = (record) => {
    memory.set(value, record);
    return record;
  };
  if (takes(mapSize, value)) {
    const pairs = [];
    Map.prototype.forEach.call(value, (v, k) => pairs.push([k, v]));
    const record = put({ kind: "map", pairs: [] });
    for (const [k, v] of pairs) if (!memory.isOmitted(k) && !memory.isOmitted(v)) record.pairs.push([write(k, memory), write(v, memory)]);
    return record;
  }
  if (takes(setSize, value)) {
    const items = [];
    Set.prototype.forEach.call(value, (v) => items.push(v));
    const record = put({ kind: "set", items: [] });
    for (const v of items) if (!memory.isOmitted(v)) record.items.push(write(v, memory));
    return record;
  }
  if (Error.isError ? Error.isError(value) : value instanceof Error) return writeError(value, put, memory);
  if (!isPlain(value)) throw refuse(`An object of the kind ${Object.prototype.toString.call(value).slice(8, -1)}`);
  return writeObject(value, memory);
}

function writeView(value, memory) {
  const name = typedName.call(value) ?? "DataView";
  const length = name === "DataView" ? value.byteLength : value.length, offset = value.byteOffset;
  const record = { kind: "view", name, offset, length, buffer: null };
  memory.set(value, record);
  record.buffer = write(value.buffer, memory);
  return record;
}

function writeError(value, put, memory) {
  const own = (key) => {
    const d = Object.getOwnPropertyDescriptor(value, key);
    return d !== undefined && "value" in d ? d : undefined;
  };
  const { name } = value;
  const message = own("message"), cause = own("cause"), stack = own("stack");
  const record = put({
    kind: "error", name: Object.hasOwn(ERRORS, `${name}`) ? `${name}` : "Error", message: message && `${message.value}`,
    stack: typeof stack?.value === "string" ? stack.value : undefined, cause: undefined,
  });
  if (cause && !memory.isOmitted(cause.value)) record.cause = write(cause.value, memory);
  return record;
}

// Objects of the language with slots of their own, and those of the platform, are not plain.
function isPlain(value) {
  if (value instanceof Promise || takes(WeakMap.prototype.has, value, value) || takes(WeakSet.prototype.has, value, value)) return false;
  if (takes(WeakRef.prototype.deref, value) || takes(FinalizationRegistry.prototype.unregister, value, value)) return false;
  for (let p = Object.getPrototypeOf(value), depth = 0; p !== null && depth < 20; p = Object.getPrototypeOf(p), depth++) {
    if (platform.has(p)) return false;
  }
  return true;
}

const platform = new Set();
// boot-web names the classes of the platform: their objects cannot be cloned unless this module knows how.
export function notCloneable(classes) {
  for (const cls of classes) if (cls.prototype) platform.add(cls.prototype);
}

// { value, ports }: the graph, and the ports that were moved.
export function deserialize({ root, slots }) {
  const memory = new Map();
  const ports = [];
  for (const slot of slots) {
    const object = slot.item.port ? unpackPort(slot.item.port) : slot.item.value;
    if (slot.item.port) ports.push(object);
    memory.set(slot, object);
  }
  return { value: read(root, memory), ports };
}

function read(record, memory) {
  if (record.kind === "plain") return record.value;
  if (memory.has(record)) return memory.get(record);
  const put = (object) => {
    memory.set(record, object);
    return object;
  };
  switch (record.kind) {
    case "boxed": return put(Object(record.value));
    case "date": return put(new Date(record.value));
    case "regexp": return put(new RegExp(record.source, record.flags));
    case "buffer": return put(readBuffer(record));
    case "file": return put(fileOf(record.bytes, record.type, record.name, record.modified));
    case "blob": return put(blobOf(record.bytes, record.type));
    case "exception": return put(new DOMException(record.message, record.name));
    // The names are looked up among those known: records of isolates are made by strangers.
    case "view": return put(new (known(VIEWS, record.name))(read(record.buffer, memory), record.offset, record.length));
    case "map": {
      const map = put(new Map());
      for (const [k, v] of record.pairs) map.set(read(k, memory), read(v, memory));
      return map;
    }
    case "set": {
      const set = put(new Set());
      for (const v of record.items) set.add(read(v, memory));
      return set;
    }
    case "error": return readError(record, put, memory);
    default: {
      const object = put(record.array ? [] : {});
      if (record.array) object.length = record.length;
      for (let i = 0; i < record.members.length; i += 2) assign(object, record.members[i], read(record.members[i + 1], memory));
      return object;
    }
  }
}

// CreateDataProperty: no setter of a prototype may run, and "__proto__" is a member like others. Most keys are nowhere yet.
function assign(object, key, value) {
  if (key in object) Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  else object[key] = value;
}

function known(classes, name) {
  if (!Object.hasOwn(classes, name)) throw refuse(`A ${name}`);
  return classes[name];
}

const VIEWS = { DataView };
for (const name of ["Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "BigInt64Array",
  "BigUint64Array", "Float16Array", "Float32Array", "Float64Array"]) {
  if (globalThis[name]) VIEWS[name] = globalThis[name];
}

function readBuffer({ bytes, max }) {
  if (max === undefined) return bytes.slice().buffer;
  const buffer = new ArrayBuffer(bytes.length, { maxByteLength: max });
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

function readError(record, put, memory) {
  const error = put(new (known(ERRORS, record.name))());
  const define = (key, value) => Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
  if (record.message !== undefined) define("message", record.message);
  if (record.stack !== undefined) define("stack", record.stack);
  if (record.cause !== undefined) define("cause", read(record.cause, memory));
  return error;
}
