// BLAKE2b (RFC 7693) with a 32-byte digest and no key: the hash behind an app's
// address. Browsers have no such function. It hashes manifests of a few KiB;
// 64-bit words are pairs of 32-bit numbers, because BigInt would be slower and
// no clearer.

const BLOCK_BYTES = 128;
const DIGEST_BYTES = 32;

/** Initial state: low and high half of each of the eight words, as for SHA-512. */
const IV = Uint32Array.of(
  0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a,
  0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19,
);

/** Order of the message's words in each round; rounds 10 and 11 repeat 0 and 1. */
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/** The four words of each of a round's eight mixings: columns, then diagonals. */
const LANES = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];

/** v[a] += low, high */
function add(v, a, low, high) {
  const sum = v[2 * a] + low;
  v[2 * a] = sum;
  v[2 * a + 1] += high + (sum > 0xffffffff ? 1 : 0);
}

/** v[a] = (v[a] ^ v[b]) rotated right by so many bits. */
function xorRotate(v, a, b, bits) {
  let low = v[2 * a] ^ v[2 * b];
  let high = v[2 * a + 1] ^ v[2 * b + 1];
  if (bits >= 32) [low, high] = [high, low];
  const rest = bits % 32;
  if (rest !== 0) {
    const shifted = (low >>> rest) | (high << (32 - rest));
    high = (high >>> rest) | (low << (32 - rest));
    low = shifted;
  }
  v[2 * a] = low;
  v[2 * a + 1] = high;
}

function mix(v, [a, b, c, d], m, x, y) {
  add(v, a, v[2 * b], v[2 * b + 1]);
  add(v, a, m[2 * x], m[2 * x + 1]);
  xorRotate(v, d, a, 32);
  add(v, c, v[2 * d], v[2 * d + 1]);
  xorRotate(v, b, c, 24);
  add(v, a, v[2 * b], v[2 * b + 1]);
  add(v, a, m[2 * y], m[2 * y + 1]);
  xorRotate(v, d, a, 16);
  add(v, c, v[2 * d], v[2 * d + 1]);
  xorRotate(v, b, c, 63);
}

function compress(state, block, bytesSoFar, isLast) {
  const words = new DataView(block.buffer, block.byteOffset, BLOCK_BYTES);
  const m = Uint32Array.from({ length: 32 }, (_, i) => words.getUint32(4 * i, true));
  const v = new Uint32Array(32);
  v.set(state);
  v.set(IV, 16);
  v[24] ^= bytesSoFar;
  v[25] ^= Math.floor(bytesSoFar / 2 ** 32);
  if (isLast) {
    v[28] = ~v[28];
    v[29] = ~v[29];
  }
  for (let round = 0; round < 12; round += 1) {
    const order = SIGMA[round % 10];
    LANES.forEach((lane, i) => mix(v, lane, m, order[2 * i], order[2 * i + 1]));
  }
  for (let i = 0; i < 16; i += 1) state[i] ^= v[i] ^ v[i + 16];
}

/**
 * The hash of some bytes.
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
export function blake2b256(bytes) {
  const state = IV.slice();
  // Digest length, no key, fanout and depth 1.
  state[0] ^= 0x01010000 ^ DIGEST_BYTES;
  // The last block is the one that is marked, so a full one is held back.
  const lastStart = bytes.length === 0 ? 0 : Math.floor((bytes.length - 1) / BLOCK_BYTES) * BLOCK_BYTES;
  for (let start = 0; start < lastStart; start += BLOCK_BYTES) {
    compress(state, bytes.subarray(start, start + BLOCK_BYTES), start + BLOCK_BYTES, false);
  }
  const last = new Uint8Array(BLOCK_BYTES);
  last.set(bytes.subarray(lastStart));
  compress(state, last, bytes.length, true);

  const digest = new DataView(new ArrayBuffer(DIGEST_BYTES));
  for (let i = 0; i < DIGEST_BYTES / 4; i += 1) digest.setUint32(4 * i, state[i], true);
  return new Uint8Array(digest.buffer);
}
