//! `wapo usage show`: a bill for people, from a file that verifies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use wapo_rpc::hexbytes::to_hex;
use wapo_rpc::statement::{AppEntry, Prices, ReportEntries, UsageTotals};
use wapo_rpc::usage_file::{self, UsageFile};
use wapo_verify::usage::{self, Bill, Expected};
use wapod::ByteSize;

use super::{BILL_BYTES_MAX, good};
use crate::command::verify::read_bounded;
use crate::human;
use crate::table::{Align, Cell, Table};
use crate::terminal::Terminal;

/// Command line of `wapo usage show`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File that `wapo usage export` has written; - for standard input.
    file: PathBuf,

    /// What something costs: second, gas, received, sent, storage-read,
    /// storage-written, storage (a MiB for a second), memory (likewise) or tip.
    #[arg(long, value_name = "WHAT=PRICE", value_parser = price)]
    price: Vec<(Priced, u128)>,

    /// Show each interval of each app.
    #[arg(long)]
    intervals: bool,

    /// Print JSON instead of text for people.
    #[arg(long)]
    json: bool,
}

/// Something that has a price.
#[derive(Clone, Copy, Debug)]
enum Priced {
    Second,
    Gas,
    Received,
    Sent,
    StorageRead,
    StorageWritten,
    Storage,
    Memory,
    Tip,
}

const PRICED: &[(&str, Priced)] = &[
    ("second", Priced::Second),
    ("gas", Priced::Gas),
    ("received", Priced::Received),
    ("sent", Priced::Sent),
    ("storage-read", Priced::StorageRead),
    ("storage-written", Priced::StorageWritten),
    ("storage", Priced::Storage),
    ("memory", Priced::Memory),
    ("tip", Priced::Tip),
];

fn price(text: &str) -> Result<(Priced, u128), String> {
    let (name, number) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not WHAT=PRICE, such as gas=2"))?;
    let priced = PRICED.iter().find(|(known, _)| *known == name);
    let (_, priced) = priced.ok_or_else(|| {
        let names: Vec<_> = PRICED.iter().map(|(name, _)| *name).collect();
        format!("`{name}` has no price: it is one of {}", names.join(", "))
    })?;
    let number = number.parse();
    let number = number.map_err(|_| format!("`{text}`: a price is a whole number"))?;
    Ok((*priced, number))
}

fn prices(given: &[(Priced, u128)]) -> Prices {
    let mut prices = Prices::default();
    for (priced, number) in given {
        let place = match priced {
            Priced::Second => &mut prices.general_fee_per_second,
            Priced::Gas => &mut prices.gas_price,
            Priced::Received => &mut prices.net_ingress_price,
            Priced::Sent => &mut prices.net_egress_price,
            Priced::StorageRead => &mut prices.storage_read_price,
            Priced::StorageWritten => &mut prices.storage_write_price,
            Priced::Storage => &mut prices.storage_price,
            Priced::Memory => &mut prices.memory_price,
            Priced::Tip => &mut prices.tip_price,
        };
        *place = Some(*number);
    }
    prices
}

/// One line of a bill.
struct Row {
    app: String,
    from_ms: u64,
    to_ms: u64,
    used: UsageTotals,
    is_final: bool,
}

/// Prints a bill.
///
/// # Errors
///
/// The file cannot be read or does not verify.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let (file, bill) = read(&options.file)?;
    let rows = match options.intervals {
        true => intervals(&file),
        false => bill.deployments.iter().map(deployment).collect(),
    };
    let prices = (!options.price.is_empty()).then(|| prices(&options.price));
    if options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| row_json(row, prices.as_ref()))
            .collect();
        let text = serde_json::to_string_pretty(&bill_json(&bill, &rows));
        terminal.result(&text.context("cannot write JSON")?);
        return Ok(ExitCode::SUCCESS);
    }
    terminal.table(&head(&bill));
    terminal.result("");
    terminal.table(&table(&rows, prices.as_ref()));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<(UsageFile, Bill)> {
    let shown = path.display();
    let content = read_bounded(path, BILL_BYTES_MAX)?;
    let refused = |why: String| {
        anyhow!("{shown} does not verify: {why}\n`wapo verify usage {shown}` says more")
    };
    let file = usage_file::read(&content).map_err(|error| refused(error.to_string()))?;
    let bill = good(usage::check_read(&file, &Expected::default())).map_err(refused)?;
    Ok((file, bill))
}

fn deployment(one: &usage::Deployment) -> Row {
    Row {
        app: one.address.to_string(),
        from_ms: one.from_ms,
        to_ms: one.to_ms,
        used: one.used(),
        is_final: one.is_final,
    }
}

fn intervals(file: &UsageFile) -> Vec<Row> {
    let mut rows = Vec::new();
    for one in &file.reports {
        let row = |entry: &AppEntry| Row {
            app: entry.address.to_string(),
            from_ms: entry.from_ms,
            to_ms: one.report.to_ms,
            used: entry.totals.since(&entry.before),
            is_final: entry.is_final,
        };
        match &one.entries {
            ReportEntries::All(all) => rows.extend(all.iter().map(row)),
            ReportEntries::OfOne(some) => rows.extend(some.iter().map(|one| row(&one.entry))),
        }
    }
    rows
}

fn head(bill: &Bill) -> Table {
    let mut table = Table::pairs();
    table.pair("worker", hex::encode(bill.worker));
    if let Some(app) = bill.app {
        table.pair("app", app.to_string());
    }
    let (first, last) = (&bill.first, &bill.last);
    table.pair(
        "reports",
        format!(
            "{} to {}, in {} sessions",
            first.seq, last.seq, bill.sessions
        ),
    );
    table.pair("from", human::moment(first.from_ms));
    table.pair("to", human::moment(last.to_ms));
    table.pair(
        "goes on after",
        format!("{}:{}", last.seq, hex::encode(last.hash())),
    );
    table
}

fn table(rows: &[Row], prices: Option<&Prices>) -> Table {
    let mut table = Table::new(&[
        ("APP", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("REQUESTS", Align::Right),
        ("GAS", Align::Right),
        ("RECEIVED", Align::Right),
        ("SENT", Align::Right),
        ("MEMORY MIB·S", Align::Right),
        ("STORED MIB·S", Align::Right),
        ("RAN", Align::Right),
        ("STARTS", Align::Right),
        ("TIP", Align::Right),
        ("", Align::Left),
        ("COST", Align::Right),
    ]);
    for row in rows {
        let used = &row.used;
        let cells: [Cell; 14] = [
            row.app.get(..10).unwrap_or(&row.app).to_owned().into(),
            human::moment(row.from_ms).into(),
            human::moment(row.to_ms).into(),
            human::count(used.requests).into(),
            human::count(used.gas_consumed).into(),
            ByteSize(used.network_ingress).to_string().into(),
            ByteSize(used.network_egress).to_string().into(),
            human::count(used.memory_used).into(),
            human::count(used.storage_used).into(),
            human::millis(used.running_time_ms).into(),
            human::count(used.starts).into(),
            human::count(used.tip).into(),
            if row.is_final { "removed" } else { "" }.to_owned().into(),
            prices
                .map_or_else(String::new, |prices| human::count(prices.cost_of(used)))
                .into(),
        ];
        table.row(cells);
    }
    table
}

fn bill_json(bill: &Bill, rows: &[Value]) -> Value {
    json!({
        "worker": to_hex(bill.worker),
        "app": bill.app.map(|app| format!("0x{app}")),
        "first_seq": bill.first.seq,
        "last_seq": bill.last.seq,
        "last_hash": to_hex(bill.last.hash()),
        "from_ms": bill.first.from_ms,
        "to_ms": bill.last.to_ms,
        "sessions": bill.sessions,
        "rows": rows,
    })
}

/// Numbers are texts: JSON's own are not that exact everywhere.
fn row_json(row: &Row, prices: Option<&Prices>) -> Value {
    let figures = row.used.figures().into_iter();
    let mut object: serde_json::Map<_, _> = figures
        .map(|(name, value)| (name.to_owned(), Value::from(value.to_string())))
        .collect();
    object.insert("app".to_owned(), Value::from(format!("0x{}", row.app)));
    object.insert("from_ms".to_owned(), Value::from(row.from_ms));
    object.insert("to_ms".to_owned(), Value::from(row.to_ms));
    object.insert("is_final".to_owned(), Value::from(row.is_final));
    if let Some(prices) = prices {
        let cost = prices.cost_of(&row.used).to_string();
        object.insert("cost".to_owned(), Value::from(cost));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_named() {
        let given = [price("gas=2"), price("tip=5"), price("memory=3")];
        let given: Vec<_> = given.into_iter().collect::<Result<_, _>>().expect("prices");
        let used = UsageTotals {
            gas_consumed: 10,
            tip: 1,
            memory_used: 2,
            requests: 9,
            ..UsageTotals::default()
        };
        assert_eq!(prices(&given).cost_of(&used), 20 + 5 + 6);
        for bad in ["gas", "gas=x", "water=1", "gas=-1"] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }
}
