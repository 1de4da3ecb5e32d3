// Packages that were made for Node: CommonJS, with `require` of Node's modules in them.
import iconv from "iconv-lite";
import { parse } from "csv-parse";
import mime from "mime-types";
import stringify from "safe-stable-stringify";

const rows = (text) => new Promise((resolve, reject) => parse(text, { columns: true }, (error, found) => (error ? reject(error) : resolve(found))));

export default {
  async fetch() {
    const circle = { b: 1, a: 2 };
    circle.me = circle;
    return Response.json({
      iconv: [iconv.encode("žluťoučký", "win1250").toString("hex"), iconv.decode(Buffer.from([0xe9, 0x20]), "latin1")],
      csv: await rows("name,n\n\"a,b\",1\nc,2\n"),
      mime: [mime.lookup("x/file.json"), mime.contentType("a.html")],
      circle: stringify(circle),
      env: [process.env.NODE_ENV, typeof process.env.WAPO_JS_REQUEST_CPU_MS],
    });
  },
};
