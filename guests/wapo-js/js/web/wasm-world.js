// Worlds of WebAssembly: what is linked together, and what scripts have given to it. The native side has numbers for its items and
// keeps no value of a script; all of them are here, so that a world that nobody has any more is collected with them.
import native from "wapo:native";

const { wasm } = native;

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

export class World {
  handle = wasm.world();
  #objects = new Map();
  #values = [];
  #numbers = new Map();

  constructor(wrap) {
    this.wrap = wrap;
    // What the native side asks for; see src/native/wasm.
    this.roots = {
      __proto__: null,
      imports: [],
      buffers: { __proto__: null },
      toNumber: (value) => +value,
      toBigInt: (value) => BigInt.asIntN(64, value),
      list: (value, count) => listOf(value, count),
      function: (id, count) => this.item("function", id, count),
      idOf: (value) => this.idOf(value),
      value: (number) => this.#values[number],
      keep: (value) => this.#keep(value),
    };
  }

  // The object for an item: one for each, so that exports keep their identity.
  item(kind, id, count) {
    let object = this.#objects.get(id);
    if (object === undefined) {
      object = kind === "function" ? this.#exported(id, count) : this.wrap(kind, this, id);
      this.#objects.set(id, object);
    }
    return object;
  }

  adopt(id, object) {
    this.#objects.set(id, object);
  }

  #exported(id, count) {
    const { handle, roots } = this, name = String(id);
    // A method: exported functions are no constructors.
    const f = { [name](...given) { return wasm.call(handle, roots, id, ...given); } }[name];
    Object.defineProperty(f, "length", { value: count, configurable: true });
    return new Exported(f, { world: this, id });
  }

  // The number of a function that this world has exported; `null` for all others.
  idOf(value) {
    const known = Exported.place(value);
    return known?.world === this ? known.id : null;
  }

  // The number of a value that WebAssembly only hands around. It is kept as long as the world.
  #keep(value) {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.#values.push(value) - 1;
      this.#numbers.set(value, number);
    }
    return number;
  }
}

// The world of a function that was exported; `undefined` for what is none.
export const worldOf = (value) => Exported.place(value)?.world;

function listOf(value, count) {
  const list = [...value];
  if (list.length !== count) throw new TypeError(`WebAssembly: the function gave ${list.length} values instead of ${count}`);
  return list;
}
