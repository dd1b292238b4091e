//! The page: how all backups are. It has no script, loads nothing, and changes nothing.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::cli::size;
use crate::sidecar::state::{Ran, instant};
use crate::sidecar::status::{Health, Status};

const STYLE: &str = "\
:root{color-scheme:light dark;--good:#1a7f37;--bad:#c62828;--new:#7a6a00;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin:0 0 .5rem}
section{border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0;overflow-wrap:anywhere}
.good{color:var(--good)}.bad{color:var(--bad)}.new{color:var(--new)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:0}dt{opacity:.7}dd{margin:0}
svg{width:100%;height:4rem;margin-top:.8rem}
@media(max-width:30rem){dl{grid-template-columns:1fr}dt{margin-top:.4rem}}
@media(prefers-color-scheme:dark){:root{--good:#57c773;--bad:#ff7b72;--new:#e3c53c}}";

/// All of it, at `now`.
pub(crate) fn html(all: &[Status<'_>], now: DateTime<Utc>) -> String {
    let bad = all.iter().filter(|status| matches!(status.health, Health::Bad(_))).count();
    let title = if bad == 0 { "Backups".to_owned() } else { format!("Backups: {bad} not good") };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"refresh\" content=\"60\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    for status in all {
        section(&mut page, status);
    }
    let _ = writeln!(page, "<p>{} UTC</p></html>", now.format("%Y-%m-%d %H:%M:%S"));
    page
}

fn section(page: &mut String, status: &Status<'_>) {
    let (job, record) = (status.job, &status.record);
    let (class, word) = match &status.health {
        Health::Good => ("good", "good"),
        Health::New => ("new", "no backup yet"),
        Health::Bad(_) => ("bad", "not good"),
    };
    let _ = write!(page, "<section><h2>{} <span class={class}>{word}</span></h2>", escaped(&job.name));
    if let Health::Bad(problems) = &status.health {
        for problem in problems {
            let _ = write!(page, "<p class=bad>{}</p>", escaped(problem));
        }
    }
    let sources = job.sources.iter().map(|source| source.path.clone());
    let parts = sources.chain(job.databases.iter().map(|named| named.database.to_string()));
    let places = job.places.iter().map(|place| place.address.to_string());
    let run = |ran: Option<&Ran>| ran.map_or("never".to_owned(), |ran| shown(instant(ran.begun), job.zone));
    let next = status.next.map_or("by hand".to_owned(), |next| shown(next, job.zone));
    let good = record.last_success.as_ref();
    let size = good.map(|ran| format!("{} ({} stored)", size::bytes(ran.size), size::bytes(ran.bytes)));
    page.push_str("<dl>");
    for (name, value) in [
        ("backs up", parts.collect::<Vec<_>>().join(", ")),
        ("to", places.collect::<Vec<_>>().join(", ")),
        ("last run", run(record.last.as_ref())),
        ("last good", run(good)),
        ("size", size.unwrap_or_default()),
        ("next run", next),
    ] {
        let _ = write!(page, "<dt>{name}<dd>{}", escaped(&value));
    }
    page.push_str("</dl>");
    chart(page, &record.history);
    page.push_str("</section>");
}

fn shown(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The sizes of backups, a bar a run; a run without a backup is a red mark.
fn chart(page: &mut String, history: &[Ran]) {
    let most = history.iter().map(|ran| ran.size).max().unwrap_or(0).max(1);
    if history.len() < 2 {
        return;
    }
    let width = history.len() * 10;
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {width} 100\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"size of the last {} backups\">",
        history.len()
    );
    for (at, ran) in history.iter().enumerate() {
        let height = (u128::from(ran.size) * 97 / u128::from(most)).max(3);
        let color = if ran.problems.is_empty() { "good" } else { "bad" };
        let (x, y) = (at * 10, 100 - height);
        let _ = write!(
            page,
            "<rect x={x} y={y} width=8 height={height} fill=\"var(--{color})\"><title>{} UTC, {}</title></rect>",
            instant(ran.begun).format("%Y-%m-%d %H:%M"),
            size::bytes(ran.size)
        );
    }
    page.push_str("</svg>");
}

/// Text that is nothing but text. Messages and paths come from outside.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_no_markup() {
        assert_eq!(escaped("<b a='1' c=\"2\">&"), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
    }
}
