// Worlds of WebAssembly: what is linked together, and what scripts have given to it. The native side has numbers for its items and
// keeps no value of a script; all of them are here, so that an unreachable world is collected with them.
import native from "wapo:native";

const { wasm } = native;
const { defineProperty } = Object;

// Exported functions know where they are. Not by a WeakMap: the engine's collector does not see that a world which only such a map
// leads to is nobody's.
class Exported extends (function (f) { return f; }) {
  #place;
  constructor(f, place) {
    super(f);
    this.#place = place;
  }
  static place(f) {
    return typeof f === "function" && #place in f ? f.#place : undefined;
  }
}

// Scripts may come to have a world, by replacing what this code calls: it shows them nothing. Its native half is with the functions
// below, which only this code has.
let handle, roots, item, adopt, idIn, addImport;

export class World {
  #handle = wasm.world();
  #objects = new Map();
  #values = [];
  #numbers = new Map();
  #wrap;
  #roots;

  constructor(wrap) {
    this.#wrap = wrap;
    // What the native side asks for; see src/native/wasm. It trusts none of it.
    this.#roots = {
      __proto__: null,
      imports: [],
      toNumber: (value) => +value,
      toBigInt: (value) => BigInt.asIntN(64, value),
      list: (value, count) => listOf(value, count),
      function: (id, count) => this.#item("function", id, count),
      idOf: (value) => this.#idOf(value),
      value: (number) => this.#values[number],
      keep: (value) => this.#keep(value),
    };
  }

  static {
    handle = (world) => world.#handle;
    roots = (world) => world.#roots;
    // The object for an item: one for each, so that exports keep their identity.
    item = (world, kind, id, count) => world.#item(kind, id, count);
    adopt = (world, id, object) => world.#objects.set(id, object);
    // The number of a function that this world has exported; `null` for all others.
    idIn = (world, value) => world.#idOf(value);
    // The place of a function of a script among the imports.
    addImport = (world, value) => {
      const { imports } = world.#roots;
      append(imports, value);
      return imports.length - 1;
    };
  }

  #item(kind, id, count) {
    let object = this.#objects.get(id);
    if (object === undefined) {
      object = kind === "function" ? this.#exported(id, count) : this.#wrap(kind, this, id);
      this.#objects.set(id, object);
    }
    return object;
  }

  #exported(id, count) {
    const handle = this.#handle, roots = this.#roots, name = String(id);
    // A method: exported functions are no constructors.
    const f = { [name](...given) { return wasm.call(handle, roots, id, ...given); } }[name];
    defineProperty(f, "length", { value: count, configurable: true });
    return new Exported(f, { world: this, id });
  }

  #idOf(value) {
    const known = Exported.place(value);
    return known?.world === this ? known.id : null;
  }

  // The number of a value that WebAssembly only hands around. It is kept as long as the world.
  #keep(value) {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.#values.length;
      append(this.#values, value);
      this.#numbers.set(value, number);
    }
    return number;
  }
}

export { adopt, addImport, handle, idIn, item, roots };

// As `push`, without what scripts may have put in its place.
function append(list, value) {
  defineProperty(list, list.length, { value, writable: true, enumerable: true, configurable: true });
}

// The world of a function that was exported; `undefined` for what is none.
export const worldOf = (value) => Exported.place(value)?.world;

function listOf(value, count) {
  const list = [...value];
  if (list.length !== count) throw new TypeError(`WebAssembly: the function gave ${list.length} values instead of ${count}`);
  return list;
}
