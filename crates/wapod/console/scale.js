// The part of the SCALE codec that a manifest needs, encoding only: numbers are
// little endian, lengths are compact, fields follow each other.

const utf8 = new TextEncoder();

/** Collects the bytes of values. */
export class ScaleWriter {
  #bytes = [];

  /** A number of four bytes. */
  u32(value) {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
      throw new RangeError(`${value} is not a number from 0 to 4294967295`);
    }
    for (let shift = 0; shift < 32; shift += 8) this.#bytes.push((value >>> shift) & 0xff);
    return this;
  }

  bool(value) {
    this.#bytes.push(value ? 1 : 0);
    return this;
  }

  /** A length. Lengths from 2^30 on have another form, and never occur here. */
  compact(value) {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** 30) {
      throw new RangeError(`${value} is not a length below 2^30`);
    }
    if (value < 2 ** 6) {
      this.#bytes.push(value << 2);
    } else if (value < 2 ** 14) {
      const word = (value << 2) | 1;
      this.#bytes.push(word & 0xff, word >>> 8);
    } else {
      this.u32(((value << 2) | 2) >>> 0);
    }
    return this;
  }

  string(text) {
    const bytes = utf8.encode(text);
    this.compact(bytes.length);
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  /** A vector: `write` is called with this writer and each item. */
  vector(items, write) {
    this.compact(items.length);
    for (const item of items) write(this, item);
    return this;
  }

  finish() {
    return Uint8Array.from(this.#bytes);
  }
}
