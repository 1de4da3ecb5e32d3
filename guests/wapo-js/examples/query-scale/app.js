// Answers queries, in the codec of Substrate: what a contract or a chain's client would ask.
//
//     wapo deploy guests/wapo-js/examples/query-scale
//     wapo query query-scale /add --hex 0x02000000ffffffff --as-hex      # (2, -1) as i32
//
// A signed query names its sender; `origin` is the account then.

const types = SCALE.parseTypes(`
  Numbers = (i32, i32)
  Answer  = <Sum:i64, Overflow>
  Asker   = <Account:[u8;32], Nobody>
`);

const paths = {
  "/add"({ payload }) {
    const [a, b] = SCALE.decode(payload, "Numbers", types);
    const sum = a + b;
    const fits = sum >= -(2 ** 31) && sum < 2 ** 31;
    return SCALE.encode(fits ? { Sum: sum } : { Overflow: null }, "Answer", types);
  },
  "/who"({ origin }) {
    return SCALE.encode(origin === null ? { Nobody: null } : { Account: origin }, "Asker", types);
  },
};

export default {
  query(query) {
    const answer = paths[query.path];
    if (answer === undefined) throw new TypeError(`nothing answers ${query.path}`);
    return answer(query);
  },
};
