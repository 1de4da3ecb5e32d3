//! Every series of `/metrics` and every budget has a line in the operator's manual.
//!
//! Names are compared as texts, in both directions: what the daemon's source writes in
//! quotes, and what the tables of the manual write in backquotes. So a name in the source
//! is written out. Labels and meanings are not compared. Called by `tidy`.

use std::collections::BTreeSet;

use super::{File, Finding};

/// Writes the series.
const SERIES: &str = "crates/wapod/src/api/figures.rs";
/// Lists the budgets, whose names are labels of some series.
const BUDGETS: &str = "crates/wapod/src/api/all_budgets.rs";
/// Explains both.
const MANUAL: &str = "docs/operating.md";
/// First line of the table of all series.
const TABLE: &str = "| series | what | labels |";
/// Heading of the chapter that has the tables of budgets.
const CHAPTER: &str = "### Budgets, and what happens at their limit";
/// How the name of each series begins.
const PREFIX: &str = "wapo_";
/// What the series of a histogram have behind its name.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Words of [`BUDGETS`] that name holders of budgets.
const HOLDERS: [&str; 3] = ["guests", "daemon", "admin"];

/// Compares source and manual.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.and_then(|file| file.text.as_deref())
    };
    // Other trees of files, such as those of tests, have none of them.
    let (Some(series), Some(budgets)) = (text(SERIES), text(BUDGETS)) else {
        return Vec::new();
    };
    let manual = text(MANUAL).unwrap_or_default();
    let mut findings = undocumented(series, manual);
    findings.extend(unknown(series, manual));
    findings.extend(budgets_without_line(budgets, manual));
    findings
}

/// Series that the table leaves out, and such as cannot be compared.
fn undocumented(series: &str, manual: &str) -> Vec<Finding> {
    let table: BTreeSet<&str> = cells(manual, |line| line == TABLE, |line| line.is_empty());
    let names = literals(series).filter(|(_, name)| name.starts_with(PREFIX));
    let advice = |name: &str| match is_name(name) {
        true if table.contains(name) => None,
        true => Some(format!(
            "`{name}` has no line in the table of all series of {MANUAL}"
        )),
        false => Some(format!(
            "`{name}` is put together: write the names out, so that they can be searched for"
        )),
    };
    names
        .filter_map(|(line, name)| Some(Finding::new(SERIES, line, "figure", advice(name)?)))
        .collect()
}

/// Names anywhere in the manual that no series has.
fn unknown(series: &str, manual: &str) -> Vec<Finding> {
    let names: BTreeSet<&str> = literals(series).map(|(_, name)| name).collect();
    let is_known = |word: &str| {
        let of_histogram = PARTS.iter().filter_map(|part| word.strip_suffix(part));
        names.contains(word) || of_histogram.into_iter().any(|name| names.contains(name))
    };
    let mut findings = Vec::new();
    for (index, line) in manual.lines().enumerate() {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        // What ends in `_` is the beginning of several names.
        let names = words.filter(|word| word.starts_with(PREFIX) && !word.ends_with('_'));
        for word in names.filter(|word| !is_known(word)) {
            let advice = format!("{SERIES} has no series `{word}`");
            findings.push(Finding::new(MANUAL, index + 1, "figure", advice));
        }
    }
    findings
}

fn budgets_without_line(budgets: &str, manual: &str) -> Vec<Finding> {
    let is_heading = |line: &str| line.starts_with('#');
    let documented = cells(manual, |line| line == CHAPTER, is_heading);
    let names = literals(budgets).filter(|(_, word)| is_name(word) && !HOLDERS.contains(word));
    let missing = names.filter(|(_, name)| !documented.contains(name));
    missing
        .map(|(line, name)| {
            let advice = format!(
                "the budget `{name}` has no line in {MANUAL}, chapter \"{}\"",
                CHAPTER.trim_start_matches(['#', ' '])
            );
            Finding::new(BUDGETS, line, "figure", advice)
        })
        .collect()
}

/// What the first cells of the tables say in backquotes, behind the line that begins a
/// part of the manual and in front of the next one that ends it.
fn cells(
    manual: &str,
    begins: impl Fn(&str) -> bool,
    ends: impl Fn(&str) -> bool,
) -> BTreeSet<&str> {
    let part = manual.lines().skip_while(|line| !begins(line)).skip(1);
    let part = part.take_while(|line| !ends(line));
    let rows = part.filter(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

/// Texts in quotes outside of comments, with their lines. What is in a line with quotes
/// within a text is not exact, and no name.
fn literals(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.lines().enumerate();
    let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(index, line)| {
        let texts = line.split('"').skip(1).step_by(2);
        texts.map(move |text| (index + 1, text))
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    const SOURCE: &str = "\
//! Such as \"wapo_invented\".
fn answer() {
    page.one(\"wapo_apps\", \"gauge\", \"Deployed apps.\", 1);
    page.line(\"wapo_seconds\", &format!(\"app=\\\"{app}\\\"\"), 2);
}
";
    const BUDGET_ROWS: &str = "let row = client(\"admin\", \"log_followers\", reading);\n";
    const TEXT: &str = "\
### Budgets, and what happens at their limit

| `log_followers` | clients that follow logs |

## Monitoring

| series | what | labels |
| --- | --- | --- |
| `wapo_apps`, `wapo_seconds` | apps and times | `app` |

Worth an alarm: `wapo_seconds_sum`, and `wapo_…` in general.
";

    fn found(source: &str, budgets: &str, manual: &str) -> Vec<String> {
        let files = [
            text_file(SERIES, source),
            text_file(BUDGETS, budgets),
            text_file(MANUAL, manual),
        ];
        let findings = check(&files).into_iter();
        findings.map(|found| found.to_string()).collect()
    }

    #[test]
    fn a_manual_with_every_name_is_fine() {
        assert_eq!(found(SOURCE, BUDGET_ROWS, TEXT), [] as [&str; 0]);
        assert_eq!(check(&[]).len(), 0);
    }

    #[test]
    fn a_series_without_a_line_is_found() {
        let short = TEXT.replace("`wapo_apps`, ", "");
        assert_eq!(
            found(SOURCE, BUDGET_ROWS, &short),
            [format!(
                "{SERIES}:3: [figure] `wapo_apps` has no line in the table of all series of {MANUAL}"
            )]
        );
        // Elsewhere in the manual is not enough.
        let moved = format!("{short}\nThere is `wapo_apps`.\n");
        assert_eq!(found(SOURCE, BUDGET_ROWS, &moved).len(), 1);
    }

    #[test]
    fn a_name_that_is_put_together_is_found() {
        let source = SOURCE.replace("\"wapo_apps\"", "&format!(\"wapo_{kind}\")");
        let found = found(&source, BUDGET_ROWS, &TEXT.replace("`wapo_apps`, ", ""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("`wapo_{kind}` is put together"),
            "{found:?}"
        );
    }

    #[test]
    fn a_series_that_does_not_exist_is_found() {
        let more = format!("{TEXT}\nAlarm: `rate(wapo_gone_total[5m])`.\n");
        let found = found(SOURCE, BUDGET_ROWS, &more);
        assert_eq!(
            found,
            [format!(
                "{MANUAL}:13: [figure] {SERIES} has no series `wapo_gone_total`"
            )]
        );
    }

    #[test]
    fn a_budget_without_a_line_in_its_chapter_is_found() {
        let moved = TEXT.replace("| `log_followers` |", "| none |");
        let moved = format!("{moved}\n| `log_followers` | elsewhere |\n");
        let found = found(SOURCE, BUDGET_ROWS, &moved);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("the budget `log_followers`"), "{found:?}");
    }
}
