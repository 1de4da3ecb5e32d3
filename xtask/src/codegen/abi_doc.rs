//! Renders `docs/abi.md`: the calling convention in prose and the table.

use wapo_abi::{CALLS, CallInfo, Cap, Excess, Gas, Mode, errno};

use super::line;
use super::lines::spaced;

const INTRODUCTION: &str = include_str!("abi_introduction.md");

/// The whole document.
pub(crate) fn render() -> String {
    let mut doc = String::from(INTRODUCTION);
    errors(&mut doc);
    overview(&mut doc);
    let mut family = "";
    for call in CALLS {
        if call.family != family {
            family = call.family;
            line(&mut doc, &format!("\n## Family `{family}`"));
        }
        section(&mut doc, call);
    }
    doc
}

fn errors(doc: &mut String) {
    line(
        doc,
        "\n## Errors\n\n| number | name | meaning |\n| --: | --- | --- |",
    );
    for errno in errno::ALL {
        if let Some((name, text)) = errno.describe() {
            line(doc, &format!("| {} | {name} | {text} |", errno.0));
        }
    }
    line(
        doc,
        "\nAny other number up to 255 may be added; 6 never is, because guests of Wapo 0.x \
         cannot decode it.",
    );
}

fn overview(doc: &mut String) {
    line(
        doc,
        "\n## All calls\n\n| id | name | family | mode | longest slice | gas |\n\
         | --: | --- | --- | --- | --- | --- |",
    );
    for call in CALLS {
        let CallInfo {
            id, name, family, ..
        } = call;
        let row = format!(
            "| {id} | [`{name}`](#{id}-{name}) | {family} | {} | {} | {} |",
            mode(call.mode),
            caps(call)
                .next()
                .map_or_else(String::new, |(_, cap)| cap_in_short(cap)),
            gas(call.gas)
        );
        line(doc, &row);
    }
}

fn section(doc: &mut String, call: &CallInfo) {
    line(doc, &format!("\n### {} {}\n", call.id, call.name));
    for text in call.doc {
        line(doc, text.trim());
    }
    line(doc, "");
    line(doc, &format!("* Mode: {}", mode_in_words(call.mode)));
    line(doc, &format!("* Arguments: {}", arguments(call)));
    for (what, cap) in caps(call) {
        line(doc, &format!("* Cap: {what} {}", cap_in_words(cap)));
    }
    line(doc, &format!("* Answer: {}", answer(call)));
    line(doc, &format!("* Gas: {}", gas(call.gas)));
    let errors: Vec<&str> = call
        .errors
        .iter()
        .filter_map(|errno| Some(errno.describe()?.0))
        .collect();
    let errors = if errors.is_empty() {
        "none of its own".to_owned()
    } else {
        errors.join(", ")
    };
    line(doc, &format!("* Errors: {errors}"));
}

fn arguments(call: &CallInfo) -> String {
    if call.args.is_empty() {
        return "none".to_owned();
    }
    let arguments: Vec<String> = call
        .args
        .iter()
        .map(|arg| format!("`{}: {}`", arg.name, scale(arg.kind)))
        .collect();
    let arguments = arguments.join(", ");
    if call.mode.encodes_input() {
        format!("one slice (2 slots) with the SCALE tuple of {arguments}")
    } else {
        format!("{arguments} ({})", slots(call.slots()))
    }
}

/// The caps of a row and what they are of.
fn caps(call: &CallInfo) -> impl Iterator<Item = (String, Cap)> {
    let args = call.args.iter().filter_map(|arg| {
        let cap = arg.cap?;
        Some((format!("`{}`", arg.name), cap))
    });
    let input = call
        .input_cap
        .map(|cap| ("the encoded input".to_owned(), cap));
    args.chain(input)
}

fn cap_in_short(cap: Cap) -> String {
    let size = size(cap.bytes);
    match cap.excess {
        Excess::Cut => format!("{size}, cut"),
        Excess::Refused(_) => size,
    }
}

fn cap_in_words(cap: Cap) -> String {
    let size = size(cap.bytes);
    match cap.excess {
        Excess::Cut => format!("is cut after {size}"),
        Excess::Refused(errno) => {
            let name = errno.describe().map_or("?", |(name, _)| name);
            format!("of more than {size} is refused with {name}")
        }
    }
}

fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    match bytes {
        bytes if bytes >= MIB && bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        bytes if bytes >= KIB && bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        bytes => format!("{bytes} bytes"),
    }
}

fn slots(count: usize) -> String {
    if count == 1 {
        "1 slot".to_owned()
    } else {
        format!("{count} slots")
    }
}

fn answer(call: &CallInfo) -> String {
    match (call.mode.is_fast(), call.result) {
        (true, "unit") => "0".to_owned(),
        (true, "handle") => "a new handle".to_owned(),
        (true, "task") => "the id of a task".to_owned(),
        (true, "size") => "a number, of bytes if the text does not say of what".to_owned(),
        (true, other) => format!("`{other}`"),
        (false, result) => format!("SCALE `{}`, fetched with `get_return`", scale(result)),
    }
}

/// Types of SCALE stand in parentheses in the table, to be one token.
fn scale(kind: &str) -> String {
    let kind = spaced(kind);
    kind.strip_prefix('(')
        .and_then(|kind| kind.strip_suffix(')'))
        .unwrap_or(&kind)
        .to_owned()
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Fast => "fast",
        Mode::FastEncoded => "fast, encoded",
        Mode::Slow => "slow",
        Mode::Wait => "slow, may wait",
    }
}

fn mode_in_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Fast => "fast",
        Mode::FastEncoded => "fast, arguments encoded",
        Mode::Slow => "slow",
        Mode::Wait => "slow; the host may suspend the instance meanwhile",
    }
}

fn gas(gas: Gas) -> String {
    match (gas.base, gas.per_bytes, gas.bytes) {
        (base, 0, _) => base.to_string(),
        (0, 1, 1) => "length".to_owned(),
        (0, 1, divisor) => format!("length / {divisor}"),
        (0, factor, 1) => format!("length × {factor}"),
        (base, 1, 1) => format!("{base} + length"),
        (base, 1, divisor) => format!("{base} + length / {divisor}"),
        (base, factor, divisor) => format!("{base} + length × {factor} / {divisor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_section() {
        let doc = render();
        for call in CALLS {
            assert!(doc.contains(&format!("### {} {}\n", call.id, call.name)));
        }
    }

    #[test]
    fn caps_are_told_in_words() {
        let doc = render();
        assert!(doc.contains("* Cap: `data` is cut after 1 MiB\n"));
        assert!(
            doc.contains("* Cap: `name` of more than 64 bytes is refused with CONDITION_ERROR\n")
        );
        assert!(doc.contains("* Cap: the encoded input of more than 100 KiB is refused with"));
    }

    #[test]
    fn types_lose_the_parentheses_of_the_table() {
        assert_eq!(scale("(Vec < u8 >)"), "Vec<u8>");
        assert_eq!(scale("((i32, String))"), "(i32, String)");
        assert_eq!(scale("(())"), "()");
        assert_eq!(scale("u16"), "u16");
    }
}
