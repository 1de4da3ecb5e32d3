//! Takes the start function out of a module, so that it is called as others are.
//!
//! The interpreter would call it while it makes the instance, where it cannot stop for
//! functions of scripts. The module becomes one that exports it under a name of ours.

/// Numbers of sections (WebAssembly core, 5.5.2).
const CUSTOM: u8 = 0;
const EXPORT: u8 = 7;
const START: u8 = 8;

/// Magic number and version.
const HEADER_BYTES: usize = 8;

/// What the name of the export begins with. No compiler makes such a name.
const NAME: &str = "\0start";

/// A module without start section, and the name under which it exports what was there.
pub(super) struct Opened {
    pub(super) module: Vec<u8>,
    pub(super) start: String,
}

/// Opens a valid module; `None` when it has no start function.
pub(super) fn open(module: &[u8]) -> Option<Opened> {
    let sections = sections(module)?;
    let start = sections.iter().find(|section| section.id == START)?;
    let (index, _) = number(start.content)?;
    let mut name = NAME.to_owned();
    while has(module, name.as_bytes()) {
        name.push('\0');
    }
    let mut out = module.get(..HEADER_BYTES)?.to_vec();
    let export = exports(&sections, &name, index)?;
    let mut is_written = false;
    for section in &sections {
        // The exports are before the start function and everything behind it.
        if !is_written && section.id >= EXPORT && section.id != CUSTOM {
            write_section(&mut out, EXPORT, &export);
            is_written = true;
        }
        if !matches!(section.id, EXPORT | START) {
            write_section(&mut out, section.id, section.content);
        }
    }
    Some(Opened {
        module: out,
        start: name,
    })
}

fn has(module: &[u8], name: &[u8]) -> bool {
    module.windows(name.len()).any(|part| part == name)
}

struct Section<'m> {
    id: u8,
    content: &'m [u8],
}

fn sections(module: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut rest = module.get(HEADER_BYTES..)?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = number(after)?;
        let (content, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        sections.push(Section { id: *id, content });
        rest = after;
    }
    Some(sections)
}

/// The content of the export section, with one more.
fn exports(sections: &[Section<'_>], name: &str, index: u32) -> Option<Vec<u8>> {
    let known = sections.iter().find(|section| section.id == EXPORT);
    let (count, list) = match known {
        Some(section) => number(section.content)?,
        None => (0, &[][..]),
    };
    let mut out = Vec::new();
    write_number(&mut out, count.checked_add(1)?);
    out.extend_from_slice(list);
    write_number(&mut out, u32::try_from(name.len()).ok()?);
    out.extend_from_slice(name.as_bytes());
    // A function.
    out.push(0);
    write_number(&mut out, index);
    Some(out)
}

fn write_section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    // A part of a module that was read, and a few bytes.
    write_number(out, u32::try_from(content.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(content);
}

/// Reads a number in LEB128, of 32 bits.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

fn write_number(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        // The lowest seven bits.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
