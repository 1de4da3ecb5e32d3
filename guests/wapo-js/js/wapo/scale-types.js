// SCALE's text of types: definitions, and what their parts are.
// [Name[<P, …>] =] type, separated by blanks, new lines or ";", with // comments. See scale.js for what becomes of them.

const TOKENS = /\s+|\/\/[^\n]*|([A-Za-z_]\w*)|(\d+)|([=#<>@[\];(),|:{}])|(.)/gys;

// How deep types may be inside of each other, in a text and in data.
export const DEPTH_MAX = 128;

export const PRIMITIVES = ["u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "bool", "str"];

export const BUILTIN = `
String = #str
Vec<T> = [T]
Option<T> = <_None, _Some: T>
Result<T, E> = <Ok: T, Err: E>
AccountId32 = [#u8; 32]
AccountId = AccountId32
Hash = [#u8; 32]
H256 = [#u8; 32]
H160 = [#u8; 20]
`;

function tokens(source) {
  const out = [];
  let line = 1;
  TOKENS.lastIndex = 0;
  for (let match; (match = TOKENS.exec(source)) !== null;) {
    const [all, name, number, mark, wrong] = match;
    if (wrong !== undefined) throw new SyntaxError(`SCALE types, line ${line}: "${wrong}" does not belong here`);
    const kind = name !== undefined ? "name" : number !== undefined ? "number" : mark;
    if (kind !== undefined) out.push({ kind, text: all, at: match.index, end: TOKENS.lastIndex, line });
    line += all.split("\n").length - 1;
  }
  return out;
}

class Parser {
  #tokens;
  #at = 0;
  #depth = 0;

  constructor(source) {
    this.#tokens = tokens(source);
  }

  get done() { return this.#at >= this.#tokens.length; }
  #is(kind) { return this.#tokens[this.#at]?.kind === kind; }
  #take(kind) { return this.#is(kind) ? this.#tokens[this.#at++] : null; }

  #fail(wanted) {
    const token = this.#tokens[this.#at];
    throw new SyntaxError(`SCALE types${token ? `, line ${token.line}` : ""}: expected ${wanted}, found ${token ? `"${token.text}"` : "the end"}`);
  }

  #need(kind, wanted = `"${kind}"`) { return this.#take(kind) ?? this.#fail(wanted); }

  #number(wanted) {
    const n = Number(this.#need("number", wanted).text);
    if (n > 0xffffffff) throw new SyntaxError(`SCALE types: ${n} is too large for ${wanted}`);
    return n;
  }

  // Items up to `close`, each followed by one of `separators`; the last one need not be.
  #list(close, separators, item) {
    const out = [];
    while (!this.#take(close)) {
      out.push(item());
      if (this.#is(close)) continue;
      if (!separators.some((mark) => this.#take(mark))) this.#fail(`"${separators[0]}" or "${close}"`);
    }
    return out;
  }

  skipSeparators() {
    while (this.#take(";"));
  }

  // { name, params, type }; the name is null when there is none.
  definition() {
    const start = this.#at, name = this.#take("name");
    if (name !== null) {
      const params = this.#paramList();
      if (params !== null && this.#take("=")) return { name: name.text, params, type: this.type() };
      this.#at = start;
    }
    return { name: null, params: [], type: this.type() };
  }

  #paramList() {
    const params = [];
    if (!this.#take("<")) return params;
    for (;;) {
      const param = this.#take("name");
      if (param === null) return null;
      params.push(param.text);
      this.#take(",");
      if (this.#take(">")) return params;
    }
  }

  type() {
    if (++this.#depth > DEPTH_MAX) throw new RangeError(`SCALE types: more than ${DEPTH_MAX} types inside of each other`);
    const type = this.#type();
    this.#depth--;
    return type;
  }

  #type() {
    if (this.#take("#")) {
      const { text: name } = this.#need("name", "the name of a primitive type");
      if (!PRIMITIVES.includes(name)) throw new SyntaxError(`SCALE types: "${name}" is not a primitive type`);
      return { kind: "primitive", name };
    }
    if (this.#take("@")) return { kind: "compact", item: this.type() };
    if (this.#take("[")) return this.#array();
    if (this.#take("(")) return { kind: "tuple", items: this.#list(")", [","], () => this.type()) };
    if (this.#take("{")) return { kind: "struct", fields: this.#list("}", [","], () => this.#field()) };
    if (this.#take("<")) return enumeration(this.#list(">", [",", "|"], () => this.#variant()));
    if (this.#is("number")) return { kind: "reference", name: this.#number("a type's number"), args: [] };
    const name = this.#need("name", "a type");
    // Arguments stand at the name: a "<" after a blank begins the next definition.
    const next = this.#tokens[this.#at];
    const has = next?.kind === "<" && next.at === name.end && this.#take("<");
    return { kind: "reference", name: name.text, args: has ? this.#list(">", [","], () => this.type()) : [] };
  }

  #array() {
    const item = this.type();
    if (!this.#take(";")) {
      this.#need("]");
      return { kind: "sequence", item };
    }
    const length = this.#number("a length");
    this.#need("]");
    return { kind: "array", item, length };
  }

  #field() {
    const { text: name } = this.#need("name", "the name of a field");
    this.#need(":");
    return { name, type: this.type() };
  }

  // Name, Name:Type, Name::index, Name:Type:index
  #variant() {
    const { text: name } = this.#need("name", "the name of a variant");
    const variant = { name, type: null, index: null };
    if (!this.#take(":")) return variant;
    if (!this.#is(":")) variant.type = this.type();
    if (this.#take(":")) variant.index = this.#number("the index of a variant");
    return variant;
  }
}

// A variant without an index has that of its place.
function enumeration(variants) {
  const seen = new Set();
  variants.forEach((variant, place) => {
    variant.index ??= place;
    if (variant.index > 255 || seen.has(variant.index)) throw new SyntaxError(`SCALE types: the index ${variant.index} of "${variant.name}" is not possible`);
    seen.add(variant.index);
  });
  return { kind: "enum", variants };
}

export function parseDefinitions(source) {
  const parser = new Parser(source), out = [];
  for (parser.skipSeparators(); !parser.done; parser.skipSeparators()) out.push(parser.definition());
  return out;
}

export function parseType(source) {
  const parser = new Parser(source), type = parser.type();
  parser.skipSeparators();
  if (!parser.done) throw new SyntaxError(`SCALE types: "${source}" is more than one type`);
  return type;
}
