// Wapo.SCALE: types by text, values of them to bytes and back.
import { BUILTIN, parseDefinitions, parseType, PRIMITIVES } from "./scale-types.js";
import * as codecs from "./scale-codec.js";

// Types of a registry that are kept compiled; with more, all are compiled anew.
const COMPILED_MAX = 1024;

// Names that stand for each other with parameters, in a row. A circle of those is found by their number.
const HOPS_MAX = 100;

class Types {
  #named = new Map();
  #numbered = [];
  #compiled = new Map();

  constructor(text, hasBuiltin) {
    if (hasBuiltin) for (const definition of parseDefinitions(BUILTIN)) this.#named.set(definition.name, definition);
    this.append(text);
  }

  append(text) {
    for (const definition of parseDefinitions(text)) {
      this.#numbered.push(definition);
      if (definition.name !== null) this.#named.set(definition.name, definition);
    }
    this.#compiled.clear();
  }

  // The codec of a number, a name or a type's text.
  codec(type) {
    if (typeof type === "number") return this.#reference({ name: type, args: [] }, new Map());
    if (typeof type !== "string") throw new TypeError("SCALE: a type is a number or text");
    return this.#cached(`=${type}`, () => this.#compile(parseType(type), new Map()));
  }

  #cached(key, make) {
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const codec = make();
    if (this.#compiled.size >= COMPILED_MAX) this.#compiled.clear();
    this.#compiled.set(key, codec);
    return codec;
  }

  // A function that gives the codec, compiled at its first call.
  #later(type, scope) {
    let codec;
    return () => (codec ??= this.#compile(type, scope));
  }

  #compile(type, scope) {
    switch (type.kind) {
      case "primitive": return codecs.primitive(type.name);
      case "compact": return codecs.compact(this.#later(type.item, scope));
      case "sequence": return codecs.several(this.#later(type.item, scope), null);
      case "array": return codecs.several(this.#later(type.item, scope), type.length);
      case "tuple": return codecs.tuple(type.items.map((item) => this.#later(item, scope)));
      case "struct": return codecs.struct(type.fields.map((field) => ({ name: field.name, item: this.#later(field.type, scope) })));
      case "enum": return this.#enumeration(type.variants, scope);
      default: return this.#reference(type, scope);
    }
  }

  #enumeration(variants, scope) {
    const all = variants.map(({ name, type, index }) => ({ name, index, item: type && this.#later(type, scope) }));
    const [first, second] = all;
    const isOption = all.length === 2 && first.name === "_None" && !first.item && second.name === "_Some" && second.item;
    return isOption ? codecs.option(first, second) : codecs.enumeration(all);
  }

  // `scope` has what the parameters of the definition stand for: [type, scope of it].
  #reference({ name, args }, scope) {
    const seen = new Set();
    for (let hops = 0; ; hops++) {
      const bound = args.length === 0 ? scope.get(name) : undefined;
      if (bound !== undefined) {
        const [type, outer] = bound;
        if (type.kind !== "reference") return this.#compile(type, outer);
        ({ name, args } = type);
        scope = outer;
        continue;
      }
      const definition = typeof name === "number" ? this.#numbered[name] : this.#named.get(name);
      if (definition === undefined) {
        if (PRIMITIVES.includes(name) && args.length === 0) return codecs.primitive(name);
        throw new TypeError(`SCALE: there is no type ${typeof name === "number" ? name : `"${name}"`}`);
      }
      if (definition.params.length !== args.length) {
        throw new TypeError(`SCALE: the type "${name}" takes ${definition.params.length} types, not ${args.length}`);
      }
      if (args.length === 0) {
        // A name for a name, for a name: followed here, so that a circle is found.
        if (seen.has(definition)) throw new TypeError(`SCALE: the type "${name}" stands for itself`);
        seen.add(definition);
        if (definition.type.kind !== "reference") return this.#cached(`#${name}`, () => this.#compile(definition.type, new Map()));
        ({ name, args } = definition.type);
        scope = new Map();
        continue;
      }
      if (hops > HOPS_MAX) throw new TypeError(`SCALE: the type "${name}" stands for itself`);
      const inner = new Map(definition.params.map((param, i) => [param, [args[i], scope]]));
      if (definition.type.kind !== "reference") return this.#compile(definition.type, inner);
      ({ name, args } = definition.type);
      scope = inner;
    }
  }
}

// What programs have of a registry: nothing to look into.
let typesOf;

class ScaleTypes {
  #types;
  constructor(types) {
    this.#types = types;
  }
  static {
    typesOf = (value) => (typeof value === "object" && value !== null && #types in value ? value.#types : null);
  }
}

let builtin = null;

function registry(given) {
  if (given === undefined || given === null) return (builtin ??= new Types("", true));
  if (typeof given === "string") return new Types(given, true);
  const types = typesOf(given);
  if (types === null) throw new TypeError("SCALE: the types are neither text nor what parseTypes gave");
  return types;
}

function reader(bytes) {
  if (!(bytes instanceof Uint8Array)) throw new TypeError("SCALE: only a Uint8Array can be decoded");
  return new codecs.Reader(bytes);
}

const listed = (value, what) => {
  if (!Array.isArray(value)) throw new TypeError(`SCALE: the ${what} are no array`);
  return value;
};

function encodeWith(all, values) {
  if (values.length !== all.length) throw new RangeError(`SCALE: ${values.length} values of ${all.length} types`);
  const writer = new codecs.Writer();
  all.forEach((codec, i) => codec.encode(writer, values[i], ""));
  return writer.result();
}

function decodeWith(all, bytes) {
  const from = reader(bytes);
  return all.map((codec) => codec.decode(from));
}

// The global ScaleCodec: one type, or several in a row.
export class ScaleCodec {
  #all;
  #isOne;

  constructor(type, types = undefined) {
    const known = registry(types);
    this.#isOne = !Array.isArray(type);
    this.#all = (this.#isOne ? [type] : type).map((one) => known.codec(one));
  }

  encode(value) { return encodeWith(this.#all, this.#isOne ? [value] : listed(value, "values")); }
  decode(bytes) {
    const values = decodeWith(this.#all, bytes);
    return this.#isOne ? values[0] : values;
  }
}

export const SCALE = {
  parseTypes: (text, options = undefined) => new ScaleTypes(new Types(String(text), !options?.no_std)),
  appendTypes(types, text) {
    const known = typesOf(types);
    if (known === null) throw new TypeError("SCALE.appendTypes: the types are not what parseTypes gave");
    known.append(String(text));
  },
  builtinTypes: () => BUILTIN,
  encode: (value, type, types = undefined) => encodeWith([registry(types).codec(type)], [value]),
  decode: (bytes, type, types = undefined) => decodeWith([registry(types).codec(type)], bytes)[0],
  encodeAll(values, list, types = undefined) {
    const known = registry(types);
    return encodeWith(listed(list, "types").map((type) => known.codec(type)), listed(values, "values"));
  },
  decodeAll(bytes, list, types = undefined) {
    const known = registry(types);
    return decodeWith(listed(list, "types").map((type) => known.codec(type)), bytes);
  },
  codec: (type, types = undefined) => new ScaleCodec(type, types),
};
