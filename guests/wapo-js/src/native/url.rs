//! `native.url`: URLs by the URL Standard, from the `url` crate.
//!
//! A parsed URL is an array: its text, and where the components are in it.

use rquickjs::prelude::Func;
use rquickjs::{Array, Ctx, Object};
use url::{Url, quirks};

use super::Nullable;
use crate::engine::bytes::with_text;

/// `parse`, `can` and `set`.
pub(super) fn object<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let area = Object::new(ctx.clone())?;
    area.set("parse", Func::from(parse))?;
    area.set("can", Func::from(can))?;
    area.set("set", Func::from(set))?;
    Ok(area)
}

type Text<'js> = rquickjs::String<'js>;

fn parsed(input: &Text<'_>, base: Option<&Text<'_>>) -> rquickjs::Result<Option<Url>> {
    let base = match base {
        Some(base) => match with_text(base, Url::parse)? {
            Ok(base) => Some(base),
            Err(_) => return Ok(None),
        },
        None => None,
    };
    with_text(input, |input| {
        let options = Url::options().base_url(base.as_ref());
        let url = options.parse(input).ok().or_else(|| {
            let base = base.as_ref()?;
            let input = is_authority_special(base.scheme()).then(|| with_two_slashes(input))??;
            options.parse(&input).ok()
        });
        url.map(mended)
    })
}

/// Schemes of the standard's special ones that always have a host.
fn is_authority_special(scheme: &str) -> bool {
    matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp")
}

/// A reference that begins with more than two slashes, with two: any number of them
/// is followed by a host where the base is special (URL Standard, 4.4, "special
/// authority ignore slashes state"). The crate takes that of the others for empty.
fn with_two_slashes(input: &str) -> Option<String> {
    let is_ignored = |c: char| c <= ' ';
    let is_skipped = |c: char| matches!(c, '\t' | '\n' | '\r');
    let input: String = input
        .trim_matches(is_ignored)
        .chars()
        .filter(|c| !is_skipped(*c))
        .collect();
    let rest = input.trim_start_matches(['/', '\\']);
    (input.len() - rest.len() > 2).then(|| format!("//{rest}"))
}

/// Does what the standard asks for and the crate does not: `^` in a path is
/// percent-encoded, and the `|` after the letter of a drive is a `:`.
fn mended(url: Url) -> Url {
    let path = url.path();
    let is_drive = url.scheme() == "file"
        && matches!(path.as_bytes(), [b'/', letter, b'|', rest @ ..]
            if letter.is_ascii_alphabetic() && matches!(rest.first(), None | Some(b'/')));
    if !is_drive && (url.cannot_be_a_base() || !path.contains('^')) {
        return url;
    }
    let mut changed = path.replace('^', "%5E");
    if is_drive {
        changed.replace_range(2..3, ":");
    }
    // Byte offsets of the text: `path` is a part of it.
    let start = quirks::internal_components(&url).path_start as usize;
    let whole = url.as_str();
    let text = [&whole[..start], &changed, &whole[start + path.len()..]].concat();
    Url::parse(&text).unwrap_or(url)
}

fn parse<'js>(
    ctx: Ctx<'js>,
    input: Text<'js>,
    base: Option<Text<'js>>,
) -> rquickjs::Result<Nullable<Array<'js>>> {
    let url = parsed(&input, base.as_ref())?;
    let array = url.map(|url| components(&ctx, &url)).transpose()?;
    Ok(Nullable(array))
}

fn can<'js>(input: Text<'js>, base: Option<Text<'js>>) -> rquickjs::Result<bool> {
    Ok(parsed(&input, base.as_ref())?.is_some())
}

fn components<'js>(ctx: &Ctx<'js>, url: &Url) -> rquickjs::Result<Array<'js>> {
    let at = quirks::internal_components(url);
    let optional = |place: Option<u32>| place.map_or(-1.0, f64::from);
    let places = [
        f64::from(at.scheme_end),
        f64::from(at.username_end),
        f64::from(at.host_start),
        f64::from(at.host_end),
        at.port.map_or(-1.0, f64::from),
        f64::from(at.path_start),
        optional(at.query_start),
        optional(at.fragment_start),
    ];
    let array = Array::new(ctx.clone())?;
    array.set(0, url.as_str())?;
    for (index, place) in places.into_iter().enumerate() {
        array.set(index + 1, place)?;
    }
    Ok(array)
}

/// Changes one part; a value that the standard refuses changes nothing.
fn set<'js>(
    ctx: Ctx<'js>,
    href: Text<'js>,
    part: String,
    value: Text<'js>,
) -> rquickjs::Result<Nullable<Array<'js>>> {
    let Some(mut url) = parsed(&href, None)? else {
        return Ok(Nullable(None));
    };
    with_text(&value, |value| {
        // Refused values are no error of the setters.
        let _ = match part.as_str() {
            "protocol" => quirks::set_protocol(&mut url, value),
            "username" => quirks::set_username(&mut url, value),
            "password" => quirks::set_password(&mut url, value),
            "host" => quirks::set_host(&mut url, value),
            "hostname" => quirks::set_hostname(&mut url, value),
            "port" => quirks::set_port(&mut url, value),
            "pathname" => {
                quirks::set_pathname(&mut url, value);
                Ok(())
            }
            "search" => {
                quirks::set_search(&mut url, value);
                Ok(())
            }
            _ => {
                quirks::set_hash(&mut url, value);
                Ok(())
            }
        };
    })?;
    let array = components(&ctx, &mended(url))?;
    Ok(Nullable(Some(array)))
}
