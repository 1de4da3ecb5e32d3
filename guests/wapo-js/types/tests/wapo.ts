// The object `Wapo`: uses that must be right, and mistakes that must be found. Checked by `cargo xtask types`; never run.

const secret: Uint8Array = Wapo.deriveSecret("a/path");
Wapo.storeBootData(secret);
const kept: Uint8Array | null = Wapo.bootData();
// @ts-expect-error there may be none
Wapo.bootData().length;
// @ts-expect-error the version is read only
Wapo.version = "2";
// @ts-expect-error only known algorithms
Wapo.hash("md5", "x");
// @ts-expect-error levels are 1 to 4
Wapo.print(5, ["x"]);

Wapo.httpListen((request) => {
  const first: [string, string] | undefined = request.headers[0];
  Wapo.httpSendResponseHead(request.opaqueResponseTx, { status: 200, headers: { "content-type": "text/plain" } });
  // @ts-expect-error the handle of an answer is no stream
  Wapo.streamOpenRead(request.opaqueResponseTx, () => {});
  // @ts-expect-error a stream that is read cannot be written
  Wapo.streamOpenWrite(request.opaqueInputStream);
  const writer = Wapo.streamOpenWrite(request.opaqueOutputStream);
  Wapo.streamWriteChunk(writer, `${first?.[0]}`, (ok, error) => ok || console.error(error));
  Wapo.streamClose(writer);
});

const { cancelToken, opaqueBodyStream } = Wapo.httpRequest({ url: "https://example.com/", headers: [["a", "b"]] }, (...event) => {
  if (event[0] === "head") {
    const status: number = event[1].status;
    Wapo.streamOpenRead(event[1].opaqueBodyStream, (kind, data) => console.log(status, kind, data));
  } else {
    const text: string = event[1];
    console.error(text);
  }
});
Wapo.close(cancelToken);
// @ts-expect-error there is a stream only for a streamed body
Wapo.streamOpenWrite(opaqueBodyStream);

Wapo.queryListen((query) => Wapo.queryReply(query.replyTx, query.payload));
const lock = Wapo.tryLock("one");
Wapo.unlock(lock);
// @ts-expect-error a lock is no reply
Wapo.queryReply(lock, "x");

Wapo.wsOpen({ url: "wss://example.com/" }, (...event) => {
  if (event[0] === "open") Wapo.wsSend(event[1], { kind: "text", data: "hello" });
  if (event[0] === "message" && event[1].kind === "close") console.log(event[1].data.code);
});

const types = Wapo.SCALE.parseTypes("Point={x:i32,y:i32}");
const bytes = Wapo.SCALE.encode({ x: 1, y: -1 }, "Point", types);
const point: { x: number } = new ScaleCodec("Point", types).decode(bytes);
// @ts-expect-error a type is a name, a number or text
SCALE.encode(1, {});
// @ts-expect-error only bytes can be decoded
SCALE.decode("0x00", "u8");

const { isOk, value, logs } = await Wapo.run<number>("module.exports = () => 42", { timeLimit: 500, network: ["example.com:443"] });
const sum: number = (value ?? 0) + logs.length;
// @ts-expect-error a limit is a number
await Wapo.run("1", { timeLimit: "1s" });
Wapo.isolateEval({ scripts: ["1"], args: [], env: {}, polyfills: [] }, ([error, output]) => console.log(error, output, isOk, sum));

const exports: object[] = [point, kept ?? {}];
void exports;
