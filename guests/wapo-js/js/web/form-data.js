// FormData.
// XMLHttpRequest Living Standard, 4 (FormData). A Blob becomes a File when it is added; there are no forms to read from.
import { finish, isObject, need, pairIterable, usv } from "./idl.js";
import { blobState, fileOf, isBlob, isFile } from "./blob.js";

let get, is;

export class FormData {
  #entries = [];

  constructor(form = undefined) {
    if (form !== undefined) throw new TypeError("FormData: there are no form elements here");
  }

  static {
    get = (f) => f.#entries;
    is = (f) => isObject(f) && #entries in f;
    pairIterable(FormData, "FormData", (f) => f.#entries);
  }

  append(name, value, filename = undefined) {
    need(arguments.length, 2, "FormData.append");
    const entry = entryOf(name, value, filename, arguments.length, "append");
    this.#entries.push(entry);
  }

  delete(name) {
    need(arguments.length, 1, "FormData.delete");
    const n = usv(name);
    this.#entries = this.#entries.filter(([k]) => k !== n);
  }

  get(name) {
    need(arguments.length, 1, "FormData.get");
    const n = usv(name), found = this.#entries.find(([k]) => k === n);
    return found === undefined ? null : found[1];
  }

  getAll(name) {
    need(arguments.length, 1, "FormData.getAll");
    const n = usv(name);
    return this.#entries.filter(([k]) => k === n).map(([, v]) => v);
  }

  has(name) {
    need(arguments.length, 1, "FormData.has");
    const n = usv(name);
    return this.#entries.some(([k]) => k === n);
  }

  set(name, value, filename = undefined) {
    need(arguments.length, 2, "FormData.set");
    const entry = entryOf(name, value, filename, arguments.length, "set");
    const first = this.#entries.findIndex(([k]) => k === entry[0]);
    if (first < 0) this.#entries.push(entry);
    else this.#entries = this.#entries.filter(([k], i) => i === first || k !== entry[0]).with(first, entry);
  }
}
finish(FormData, "FormData");
for (const key of ["append", "set"]) Object.defineProperty(FormData.prototype[key], "length", { value: 2, configurable: true });

export { get as formEntries, is as isFormData };

function entryOf(name, value, filename, given, where) {
  const n = usv(name);
  if (!isBlob(value)) {
    if (given > 2 && filename !== undefined) throw new TypeError(`FormData.${where}: only a Blob can have a file name`);
    return [n, usv(value)];
  }
  const { bytes, type } = blobState(value);
  if (filename !== undefined) return [n, fileOf(bytes, type, usv(filename), isFile(value) ? value.lastModified : undefined)];
  return [n, isFile(value) ? value : fileOf(bytes, type, "blob")];
}
