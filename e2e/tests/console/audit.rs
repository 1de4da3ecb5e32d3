//! What must hold on every page: contrast, room, focus, silence, no strangers.

use serde_json::{Value, json};

use crate::page::Page;

/// Contrast of text and ground that everyone can read (WCAG 2, level AA).
const CONTRAST_MIN: f64 = 4.5;

/// Lists visible texts with less contrast than asked for, those of the editor among
/// them, which has a tree of its own. Colours are drawn on a canvas, because styles may
/// have them in any notation.
const LOW_CONTRAST: &str = r#"
const [least] = arguments;
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const read = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
const groundOf = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement ?? at.getRootNode().host) layers.push(read(getComputedStyle(at).backgroundColor));
  return layers.reduceRight((below, layer) => over(layer, below), isDark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
};
const luminance = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
};
const found = [];
let checked = 0;
const check = (element, colour, text) => {
  checked += 1;
  const ground = groundOf(element);
  const value = contrast(over(read(colour), ground), ground);
  if (value < least) found.push(`${value.toFixed(2)} ${element.tagName.toLowerCase()}#${element.id}.${element.className}: ${text.trim().slice(0, 40)}`);
};
const inside = [...document.querySelectorAll("*")].map((element) => element.shadowRoot).filter(Boolean);
for (const root of [document.body, ...inside]) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent;
    if (text.trim() === "" || !element?.checkVisibility({ visibilityProperty: true }) || element.closest(".visually-hidden")) continue;
    check(element, getComputedStyle(element).color, text);
  }
}
for (const field of document.querySelectorAll("input, textarea")) {
  if (!field.checkVisibility() || field.classList.contains("visually-hidden")) continue;
  if (field.value !== "") check(field, getComputedStyle(field).color, field.value);
  else if (field.placeholder) check(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
}
return { checked, found };
"#;

/// Lists visible elements that stick out of the window sideways, unless what
/// holds them can be scrolled.
const TOO_WIDE: &str = r#"
const width = document.documentElement.clientWidth;
const scrolls = (element) => {
  for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return true;
  }
  return false;
};
const found = [...document.body.querySelectorAll("*")].filter((element) => {
  const box = element.getBoundingClientRect();
  return element.checkVisibility() && box.width > 0 && (box.right > width + 1 || box.left < -1)
    && !element.closest(".visually-hidden, .skip") && !scrolls(element);
}).map((element) => `${element.tagName.toLowerCase()}#${element.id}.${element.className}`);
if (document.documentElement.scrollWidth > width + 1) found.push(`the page: ${document.documentElement.scrollWidth} of ${width}`);
return found;
"#;

/// All visible text can be read.
pub(crate) async fn contrast(page: &Page, what: &str) {
    let outcome = page.script_with(LOW_CONTRAST, json!([CONTRAST_MIN])).await;
    let checked = outcome["checked"].as_u64().unwrap_or_default();
    assert!(checked > 5, "{what}: only {checked} texts were seen");
    assert_eq!(outcome["found"], json!([]), "{what}: too little contrast");
}

/// Nothing sticks out.
pub(crate) async fn room(page: &Page, what: &str) {
    let outcome = page.script(TOO_WIDE).await;
    assert_eq!(outcome, json!([]), "{what}: wider than the window");
}

/// Every field and button has a name for those who cannot see it.
pub(crate) async fn names(page: &Page, what: &str) {
    let body = r#"
return [...document.querySelectorAll("input, textarea, select, button, a[href], [role=img], progress, dialog")]
  .filter((element) => element.checkVisibility())
  .filter((element) => {
    const by = element.getAttribute("aria-labelledby");
    const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
    const own = element.matches("input, textarea, select") ? "" : element.textContent;
    const named = element.getAttribute("aria-label") ?? (by && document.getElementById(by)?.textContent);
    return !(named || labels || own).trim();
  }).map((element) => element.outerHTML.slice(0, 120));
"#;
    assert_eq!(page.script(body).await, json!([]), "{what}: without a name");
}

/// What has the focus looks like it.
pub(crate) async fn focus_is_visible(page: &Page) {
    let body = r#"
const at = document.activeElement;
const style = (element) => getComputedStyle(element);
const box = at.classList.contains("visually-hidden") ? at.parentElement : at;
const holders = [box, ...(at.labels ?? []), at.parentElement];
return holders.some((element) => style(element).outlineStyle !== "none" && parseFloat(style(element).outlineWidth) >= 2)
  ? null : at.outerHTML.slice(0, 120);
"#;
    assert_eq!(page.script(body).await, Value::Null, "no mark of the focus");
}

/// The browser's own console is empty: no error, no violation of the policy.
pub(crate) async fn no_console_messages(page: &Page, expected: &[&str]) {
    let lines = page.noted("browser").await;
    let messages = lines.iter().filter_map(|line| line["message"].as_str());
    let unexpected: Vec<_> = messages
        .filter(|text| !expected.iter().any(|part| text.contains(part)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// The console asked nobody but its own worker.
pub(crate) async fn asked_only(page: &Page, origin: &str) {
    let lines = page.noted("performance").await;
    let mut asked = 0;
    for line in &lines {
        let text = line["message"].as_str().expect("a text");
        let event: Value = serde_json::from_str(text).expect("JSON");
        let (event, parameters) = (&event["message"]["method"], &event["message"]["params"]);
        let from = parameters["documentURL"].as_str().unwrap_or_default();
        if event != "Network.requestWillBeSent" || !from.starts_with(origin) {
            continue;
        }
        asked += 1;
        let url = parameters["request"]["url"].as_str().expect("a URL");
        let is_own = url
            .strip_prefix(origin)
            .is_some_and(|rest| rest.starts_with('/'));
        assert!(
            is_own || url.starts_with("data:"),
            "the console asked {url}"
        );
    }
    assert!(asked > 10, "only {asked} requests were noted");
}
