// node:util/types: what kind of object of the language a value is, whatever its prototype says.
// Not there: isProxy and isExternal, which need an engine that tells.
const slot = (method) => (value) => {
  try {
    method.call(value);
    return true;
  } catch {
    return false;
  }
};
const getter = (cls, key) => Object.getOwnPropertyDescriptor(cls.prototype, key).get;
const isObject = (value) => (typeof value === "object" && value !== null) || typeof value === "function";
const tagOf = (value) => Object.prototype.toString.call(value);
const typedName = getter(Object.getPrototypeOf(Uint8Array), Symbol.toStringTag);
const nameOf = (value) => (ArrayBuffer.isView(value) ? typedName.call(value) : undefined);
const typed = (name) => (value) => nameOf(value) === name;
const boxed = (cls) => (value) => isObject(value) && slot(cls.prototype.valueOf)(value);
const kindOf = (example) => {
  const prototype = Object.getPrototypeOf(example);
  return (value) => isObject(value) && prototype.isPrototypeOf(value);
};
// Functions of one kind have the tag of their prototype.
const functionOf = (tag) => (value) => typeof value === "function" && (tagOf(value) === `[object ${tag}]`);
// A method of weak collections looks at its receiver first.
const weak = (cls) => { const has = cls.prototype.has; return (value) => isObject(value) && slot(function () { has.call(this, {}); })(value); };

export const isAnyArrayBuffer = (value) => isArrayBuffer(value) || isSharedArrayBuffer(value);
export const isArrayBuffer = slot(getter(ArrayBuffer, "byteLength"));
export const isSharedArrayBuffer = typeof SharedArrayBuffer === "undefined" ? () => false : slot(getter(SharedArrayBuffer, "byteLength"));
export const isArrayBufferView = ArrayBuffer.isView;
export const isDataView = (value) => ArrayBuffer.isView(value) && nameOf(value) === undefined;
export const isTypedArray = (value) => nameOf(value) !== undefined;
export const isUint8Array = typed("Uint8Array");
export const isUint8ClampedArray = typed("Uint8ClampedArray");
export const isUint16Array = typed("Uint16Array");
export const isUint32Array = typed("Uint32Array");
export const isInt8Array = typed("Int8Array");
export const isInt16Array = typed("Int16Array");
export const isInt32Array = typed("Int32Array");
export const isFloat32Array = typed("Float32Array");
export const isFloat64Array = typed("Float64Array");
export const isBigInt64Array = typed("BigInt64Array");
export const isBigUint64Array = typed("BigUint64Array");
export const isDate = slot(Date.prototype.getTime);
const source = getter(RegExp, "source");
export const isRegExp = (value) => value !== RegExp.prototype && slot(source)(value);
export const isMap = slot(getter(Map, "size"));
export const isSet = slot(getter(Set, "size"));
export const isWeakMap = weak(WeakMap);
export const isWeakSet = weak(WeakSet);
export const isMapIterator = kindOf(new Map().entries());
export const isSetIterator = kindOf(new Set().values());
export const isPromise = (value) => value instanceof Promise;
export const isNativeError = (value) => Error.isError?.(value) ?? value instanceof Error;
export const isAsyncFunction = (value) => functionOf("AsyncFunction")(value) || functionOf("AsyncGeneratorFunction")(value);
export const isGeneratorFunction = (value) => functionOf("GeneratorFunction")(value) || functionOf("AsyncGeneratorFunction")(value);
export const isGeneratorObject = (value) => isObject(value) && /^\[object (?:Async)?Generator\]$/.test(tagOf(value));
export const isArgumentsObject = (value) => isObject(value) && !(Symbol.toStringTag in value) && tagOf(value) === "[object Arguments]";
export const isModuleNamespaceObject = (value) => isObject(value) && Object.getPrototypeOf(value) === null && tagOf(value) === "[object Module]";
export const isNumberObject = boxed(Number);
export const isStringObject = boxed(String);
export const isBooleanObject = boxed(Boolean);
export const isBigIntObject = boxed(BigInt);
export const isSymbolObject = boxed(Symbol);
export const isBoxedPrimitive = (value) => isNumberObject(value) || isStringObject(value) || isBooleanObject(value) || isBigIntObject(value) || isSymbolObject(value);

export default {
  isAnyArrayBuffer, isArgumentsObject, isArrayBuffer, isArrayBufferView, isAsyncFunction, isBigInt64Array, isBigIntObject, isBigUint64Array,
  isBooleanObject, isBoxedPrimitive, isDataView, isDate, isFloat32Array, isFloat64Array, isGeneratorFunction, isGeneratorObject, isInt16Array,
  isInt32Array, isInt8Array, isMap, isMapIterator, isModuleNamespaceObject, isNativeError, isNumberObject, isPromise, isRegExp, isSet, isSetIterator,
  isSharedArrayBuffer, isStringObject, isSymbolObject, isTypedArray, isUint16Array, isUint32Array, isUint8Array, isUint8ClampedArray, isWeakMap, isWeakSet,
};
