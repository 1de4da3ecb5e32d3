// Compression Standard, written from the text of the standard.
const FORMATS = ["deflate", "deflate-raw", "gzip"];

async function through(stream, chunks) {
  const writer = stream.writable.getWriter();
  const written = (async () => {
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
  })();
  written.catch(() => {});
  const parts = [];
  for await (const part of stream.readable) {
    assert_true(part instanceof Uint8Array);
    parts.push(...part);
  }
  await written;
  return new Uint8Array(parts);
}
const pack = (format, ...chunks) => through(new CompressionStream(format), chunks);
const unpack = (format, ...chunks) => through(new DecompressionStream(format), chunks);
const bytes = (text) => new TextEncoder().encode(text);
const text = (b) => new TextDecoder().decode(b);

test(() => {
  for (const cls of [CompressionStream, DecompressionStream]) {
    for (const format of ["", "GZIP", "brotli", "zlib", null, undefined]) assert_throws_js(TypeError, () => new cls(format), format);
    assert_throws_js(TypeError, () => new cls());
    assert_throws_js(TypeError, () => cls("gzip"));
    assert_equals(cls.length, 1);
    const { readable, writable } = new cls("gzip");
    assert_true(readable instanceof ReadableStream && writable instanceof WritableStream);
    for (const name of ["readable", "writable"]) {
      const d = Object.getOwnPropertyDescriptor(cls.prototype, name);
      assert_true(d.enumerable && d.configurable && d.set === undefined);
      assert_throws_js(TypeError, () => d.get.call({}));
    }
  }
}, "the classes");

for (const format of FORMATS) {
  promise_test(async () => {
    for (const given of ["", "a", "expected output".repeat(1000)]) {
      assert_equals(text(await unpack(format, await pack(format, bytes(given)))), given);
    }
    const packed = await pack(format, bytes("expected "), bytes(""), bytes("output"));
    assert_equals(text(await unpack(format, ...[...packed].map((b) => Uint8Array.of(b)))), "expected output");
    const many = await pack(format, ...Array.from({ length: 50 }, () => bytes("x".repeat(999))));
    assert_less_than(many.length, 500);
    assert_equals((await unpack(format, many)).length, 50 * 999);
    assert_equals((await unpack(format, await pack(format))).length, 0);
  }, `${format}: there and back`);

  promise_test(async () => {
    const packed = await pack(format, bytes("ab"));
    for (const chunk of [packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.length), new DataView(packed.buffer, packed.byteOffset, packed.length)]) {
      assert_equals(text(await unpack(format, chunk)), "ab");
    }
    assert_equals(text(await unpack(format, await pack(format, new Uint16Array([0x6261])))), "ab");
  }, `${format}: every kind of bytes`);

  for (const chunk of [undefined, null, 3, "text", {}, [], [1, 2]]) {
    promise_test(async (t) => {
      await promise_rejects_js(t, TypeError, pack(format, chunk));
      await promise_rejects_js(t, TypeError, unpack(format, chunk));
    }, `${format}: the chunk ${JSON.stringify(chunk)} is refused`);
  }

  promise_test(async (t) => {
    const packed = await pack(format, bytes("expected output"));
    await promise_rejects_js(t, TypeError, unpack(format, packed.slice(0, -1)), "cut");
    await promise_rejects_js(t, TypeError, unpack(format, new Uint8Array([...packed, 0])), "too much");
    await promise_rejects_js(t, TypeError, unpack(format, packed, Uint8Array.of(0)), "too much, later");
    await promise_rejects_js(t, TypeError, unpack(format), "nothing");
  }, `${format}: what ends early or late is refused`);
}

const DEFLATE = [120, 156, 75, 173, 40, 72, 77, 46, 73, 77, 81, 200, 47, 45, 41, 40, 45, 1, 0, 48, 173, 6, 36];
const GZIP = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 173, 40, 72, 77, 46, 73, 77, 81, 200, 47, 45, 41, 40, 45, 1, 0, 176, 1, 57, 179, 15, 0, 0, 0];
const changed = (list, at, value) => Uint8Array.from(list, (b, i) => (i === at ? value : b));

promise_test(async () => {
  assert_equals(text(await unpack("deflate", Uint8Array.from(DEFLATE))), "expected output");
  assert_equals(text(await unpack("gzip", Uint8Array.from(GZIP))), "expected output");
}, "bytes of others");

for (const [format, list, at, value, what] of [
  ["deflate", DEFLATE, 0, 0, "method"], ["deflate", DEFLATE, 1, 157, "check of the head"], ["deflate", DEFLATE, 2, 7, "block"],
  ["deflate", DEFLATE, 19, 0, "Adler-32"], ["deflate", DEFLATE, 22, 0, "end of Adler-32"],
  ["gzip", GZIP, 0, 255, "first byte"], ["gzip", GZIP, 1, 0, "second byte"], ["gzip", GZIP, 2, 9, "method"], ["gzip", GZIP, 27, 0, "CRC"],
  ["gzip", GZIP, 31, 1, "length"], ["gzip", GZIP, 3, 2, "CRC of a head that has none"],
]) {
  promise_test((t) => promise_rejects_js(t, TypeError, unpack(format, changed(list, at, value))), `${format}: a wrong ${what} is refused`);
}

promise_test(async () => {
  // Name (with NUL), then the data.
  const named = [...GZIP.slice(0, 3), 8, ...GZIP.slice(4, 10), 0x61, 0, ...GZIP.slice(10)];
  assert_equals(text(await unpack("gzip", Uint8Array.from(named))), "expected output");
  const commented = [...GZIP.slice(0, 3), 16, ...GZIP.slice(4, 10), 0x61, 0x62, 0, ...GZIP.slice(10)];
  assert_equals(text(await unpack("gzip", Uint8Array.from(commented))), "expected output");
  const extra = [...GZIP.slice(0, 3), 4, ...GZIP.slice(4, 10), 2, 0, 1, 2, ...GZIP.slice(10)];
  assert_equals(text(await unpack("gzip", Uint8Array.from(extra))), "expected output");
}, "gzip: fields of the head are skipped");
