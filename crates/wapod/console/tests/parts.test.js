// The parts of the console that work without a page: texts, links, rates, the log's stream.

import assert from "node:assert/strict";
import { test } from "node:test";

import { asText, formatBytes, formatCount, formatDuration, hexDump, parseSize, shorten, toBase32 } from "../format.js";
import { History } from "../history.js";
import { linksOf } from "../links.js";
import { EventParser } from "../rpc.js";

test("sizes and counts keep three digits", () => {
  assert.equal(formatBytes(0), "0 B");
  assert.equal(formatBytes(999), "999 B");
  assert.equal(formatBytes(1000), "0.98 KiB");
  assert.equal(formatBytes(1536), "1.50 KiB");
  assert.equal(formatBytes(2 ** 31), "2 GiB");
  assert.equal(formatCount(999), "999");
  assert.equal(formatCount(12345), "12.3 k");
  assert.equal(formatCount(0.25), "0.25");
});

test("durations name their two largest units", () => {
  assert.equal(formatDuration(999), "0 s");
  assert.equal(formatDuration(61_000), "1 min 1 s");
  assert.equal(formatDuration(93_784_000), "1 d 2 h");
  assert.equal(formatDuration(7_200_000), "2 h");
});

test("sizes are read with binary suffixes, and nonsense is refused", () => {
  assert.equal(parseSize("64M"), 2 ** 26);
  assert.equal(parseSize(" 1.5 GiB "), 1.5 * 2 ** 30);
  assert.equal(parseSize("", 7), 7);
  for (const wrong of ["x", "-1", "1X", "0.3", "1e9", "99999999T"]) {
    assert.throws(() => parseSize(wrong), RangeError, wrong);
  }
});

test("long texts are shortened in the middle", () => {
  assert.equal(shorten("0123456789abcdef", 4, 3), "0123…def");
  assert.equal(shorten("01234567", 4, 3), "01234567");
});

test("bytes that are no text are not shown as text", () => {
  assert.equal(asText(new TextEncoder().encode("né\n")), "né\n");
  assert.equal(asText(Uint8Array.of(0xff)), null);
  assert.equal(asText(Uint8Array.of(0x61, 0x00)), null);
  assert.equal(hexDump(Uint8Array.of(0x41, 0x00)), `000000  41 00${" ".repeat(43)}  A.`);
});

test("base 32 is that of RFC 4648", () => {
  const encode = (text) => toBase32(new TextEncoder().encode(text));
  assert.equal(encode(""), "");
  assert.equal(encode("f"), "my");
  assert.equal(encode("foobar"), "mzxw6ytboi");
});

test("links name a host that the browser can reach", () => {
  const app = { address: `0x${"00".repeat(32)}`, name: "shop" };
  const links = (user_address, name = "shop") => linksOf({ user_address, base_domain: "localhost" }, { ...app, name }, "10.0.0.5");
  assert.deepEqual(links("127.0.0.1:8002"), {
    path: `http://127.0.0.1:8002/app/${"00".repeat(32)}/`,
    host: "http://shop.localhost:8002/",
  });
  assert.match(links("0.0.0.0:8002").path, /^http:\/\/10\.0\.0\.5:8002\//);
  assert.match(links("[::]:8002").path, /^http:\/\/10\.0\.0\.5:8002\//);
  assert.match(links("[::1]:8002").path, /^http:\/\/\[::1\]:8002\//);
  assert.equal(links("127.0.0.1:8002", "").host, `http://${"a".repeat(52)}.localhost:8002/`);
  const secure = linksOf({ user_address: "127.0.0.1:8002", user_tls: true }, app, "h");
  assert.match(secure.path, /^https:\/\/127\.0\.0\.1:8002\//);
  assert.equal(secure.host, "https://shop.localhost:8002/");
  assert.equal(linksOf({}, app, "h"), null);
  const info = { user_address: "127.0.0.1:8002" };
  const listening = ["0.0.0.0:3000"];
  assert.equal(linksOf(info, { ...app, instance_list: [{ listening }] }, "h"), null);
  assert.equal(linksOf(info, { ...app, instance_list: [{ takes_queries: true }] }, "h"), null);
  assert.ok(linksOf(info, { ...app, instance_list: [{ listening, takes_http: true }] }, "h"));
});

test("rates are increases per second, and never negative", () => {
  const history = new History();
  assert.equal(history.rate("requests"), null);
  for (const [at, requests] of [[0, 100], [1000, 110], [2000, 120], [3000, 130], [3100, 131], [4000, 10]]) {
    history.add(at, { requests });
  }
  // The sample after a tenth of a second is put half a second after the one before.
  assert.deepEqual(history.rates("requests").map(({ at, value }) => [at, value]),
    [[1000, 10], [2000, 10], [3000, 10], [3500, 8.4], [4000, 0]]);
  assert.equal(history.rate("requests"), 0);
});

test("events are cut out of the stream wherever its pieces end", () => {
  const stream = ": a comment\n\ndata: {\"seq\":1}\r\n\r\nevent: missed\ndata: {\"missed\":3}\n\ndata: {\"a\":\ndata: 2}\n\n";
  const expected = [["message", { seq: 1 }], ["missed", { missed: 3 }], ["message", { a: 2 }]];
  for (let size = 1; size < stream.length; size += 1) {
    const events = [];
    const parser = new EventParser((...event) => events.push(event));
    for (let at = 0; at < stream.length; at += size) parser.push(stream.slice(at, at + size));
    assert.deepEqual(events, expected, `pieces of ${size}`);
  }
});
