// node:assert/strict: without the loose comparisons.
import { strict } from "../../wapo/assert.js";

export {
  AssertionError, deepStrictEqual, deepStrictEqual as deepEqual, doesNotMatch, doesNotReject, doesNotThrow, fail, ifError, match, notDeepStrictEqual,
  notDeepStrictEqual as notDeepEqual, notStrictEqual, notStrictEqual as notEqual, ok, partialDeepStrictEqual, rejects, strict, strictEqual,
  strictEqual as equal, throws,
} from "../../wapo/assert.js";

export default strict;
