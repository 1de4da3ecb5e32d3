// Whether two values are the same all the way down: the comparison behind `assert.deepStrictEqual` and `assert.deepEqual`.
// As Node documents it: own enumerable members, prototypes and symbols count when it is strict; sets and maps have no order.

const getter = (cls, key) => Object.getOwnPropertyDescriptor(cls.prototype, key).get;
const typedTag = getter(Object.getPrototypeOf(Uint8Array), Symbol.toStringTag);
const tagOf = (value) => Object.prototype.toString.call(value);
const isObject = (value) => typeof value === "object" && value !== null;
const BOXES = [Number, String, Boolean, BigInt, Symbol];
const UNIQUE = ["[object Promise]", "[object WeakMap]", "[object WeakSet]", "[object WeakRef]"];

export function isDeepEqual(a, b, isStrict) {
  return same(a, b, { isStrict, path: new Map() });
}

function same(a, b, state) {
  if (!isObject(a) || !isObject(b)) {
    if (Object.is(a, b)) return true;
    return !state.isStrict && !isObject(a) && !isObject(b) && (a == b || (a !== a && b !== b));
  }
  if (a === b) return true;
  if (tagOf(a) !== tagOf(b) || UNIQUE.includes(tagOf(a))) return false;
  if (state.isStrict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  // Inside of itself, a value equals what it is compared with outside.
  if (state.path.has(a)) return state.path.get(a) === b;
  state.path.set(a, b);
  const result = sameKind(a, b, state) && sameMembers(a, b, state);
  state.path.delete(a);
  return result;
}

// What a value is besides its members.
function sameKind(a, b, state) {
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a)) return a.length === b.length;
  if (a instanceof Error || b instanceof Error) return a.name === b.name && a.message === b.message && sameHidden(a, b, state);
  if (a instanceof Date && b instanceof Date) return Object.is(+a, +b);
  if (a instanceof RegExp && b instanceof RegExp) return a.source === b.source && a.flags === b.flags && a.lastIndex === b.lastIndex;
  if (a instanceof Map && b instanceof Map) return a.size === b.size && sameEntries(a, b, state);
  if (a instanceof Set && b instanceof Set) return a.size === b.size && sameElements([...a], [...b], state);
  if (ArrayBuffer.isView(a)) return sameBytes(a, b, state);
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) return sameBytes(new Uint8Array(a), new Uint8Array(b), state);
  if (a instanceof URL && b instanceof URL) return a.href === b.href;
  const box = BOXES.find((cls) => a instanceof cls);
  return box === undefined || (b instanceof box && Object.is(a.valueOf(), b.valueOf()));
}

function sameHidden(a, b, state) {
  return ["cause", "errors"].every((key) => Object.hasOwn(a, key) === Object.hasOwn(b, key) && same(a[key], b[key], state));
}

function sameBytes(a, b, state) {
  if (a.byteLength !== b.byteLength || typedTag.call(a) !== typedTag.call(b)) return false;
  if (/^Float/.test(typedTag.call(a)) && !state.isStrict) return a.every((value, i) => value === b[i] || (value !== value && b[i] !== b[i]));
  if (/^Float/.test(typedTag.call(a))) return a.every((value, i) => Object.is(value, b[i]));
  const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const two = bytes(b);
  return bytes(a).every((byte, i) => byte === two[i]);
}

function sameEntries(a, b, state) {
  const left = [];
  for (const entry of a) {
    if (!b.has(entry[0])) left.push(entry);
    else if (!same(entry[1], b.get(entry[0]), state)) return false;
  }
  // Keys that are objects are found by what they look like.
  return sameElements(left, [...b].filter(([key]) => !a.has(key)), state);
}

function sameElements(as, bs, state) {
  const left = [...bs];
  return as.every((a) => {
    const at = left.findIndex((b) => same(a, b, state));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  }) && left.length === 0;
}

function sameMembers(a, b, state) {
  const [one, two] = [a, b].map((value) => membersOf(value, state.isStrict));
  return one.length === two.length && one.every((key) => Object.prototype.propertyIsEnumerable.call(b, key) && same(a[key], b[key], state));
}

function membersOf(value, isStrict) {
  const keys = ArrayBuffer.isView(value) ? Object.keys(value).filter((key) => !/^\d+$/.test(key)) : Object.keys(value);
  if (!isStrict) return keys;
  return [...keys, ...Object.getOwnPropertySymbols(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key))];
}

// Whether a value has all that another one has: `assert.partialDeepStrictEqual`.
export function has(value, part) {
  if (!isObject(part) || !isObject(value)) return Object.is(value, part);
  if (tagOf(value) !== tagOf(part)) return false;
  if (part instanceof Map) return [...part].every(([key, inner]) => value.has(key) && has(value.get(key), inner));
  if (part instanceof Set) return [...part].every((inner) => [...value].some((candidate) => has(candidate, inner)));
  if (Array.isArray(part)) {
    let from = 0;
    return part.every((inner) => {
      while (from < value.length && !has(value[from], inner)) from++;
      return from++ < value.length;
    });
  }
  const keys = Reflect.ownKeys(part).filter((key) => Object.prototype.propertyIsEnumerable.call(part, key));
  if (keys.length === 0) return isDeepEqual(value, part, true) || Object.getPrototypeOf(part) === Object.prototype;
  return keys.every((key) => key in value && has(value[key], part[key]));
}
