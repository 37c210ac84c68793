//! What someone needs who reads a failure: the seed, what was done when, and a folder with every log, row and line of the
//! journal, which stays where cargo keeps what tests leave.

use super::driver::Driver;
use super::night::Variant;
use super::timeline::Nanos;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Holds the driver, and tells of it where the test fails.
pub struct Reporter {
    pub driver: Driver,
    pub seed: u64,
    pub variant: Variant,
}

impl Reporter {
    /// What there was, in figures.
    pub fn summary(&mut self) -> String {
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        let rows = self.driver.client().map(crate::support::rows::runs).unwrap_or_default();
        for row in &rows {
            *outcomes.entry(row.outcome.clone().unwrap_or_default()).or_default() += 1;
        }
        let acts =
            self.driver.notes.iter().filter(|(_, note)| note.contains('{') && !note.contains("not possible")).count();
        let lives: usize = self.driver.nodes.iter().map(|node| node.line.lives.len()).sum();
        format!("{acts} acts, {lives} supervisors, {} runs: {outcomes:?}", rows.len())
    }

    fn notes(&self) -> String {
        let begin = self.driver.notes.first().map_or(0, |(at, _)| *at);
        let mut text = String::new();
        for (at, note) in &self.driver.notes {
            writeln!(text, "{at} {:>9.3} {note}", seconds(at - begin)).ok();
        }
        text
    }

    fn keep(&mut self) -> io::Result<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{:?}-{}", self.variant, self.seed));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("notes"), self.notes())?;
        fs::write(folder.join("lines"), format!("{:#?}\n{:?}", self.driver.lines(), self.driver.kills))?;
        fs::write(folder.join("postgresql.log"), self.driver.cluster.log())?;
        fs::write(folder.join("journal"), self.driver.journal.text())?;
        for node in &self.driver.nodes {
            let (log, name) = (node.supervisor.log(), &node.line.name);
            fs::write(folder.join(format!("{name}.log")), &log)?;
            // What the kit prints of it is for eyes.
            let brief: Vec<&str> = log.lines().filter(|line| !line.contains(" debug ")).collect();
            fs::write(node.supervisor.folder().join("stderr"), brief.join("\n"))?;
        }
        let mut text = String::new();
        if let Some(client) = self.driver.client() {
            for table in ["tenantcron_status", "tenantcron_run"] {
                let rows = client
                    .simple_query(&format!("SELECT t::text FROM {table} t ORDER BY 1"))
                    .map_err(io::Error::other)?;
                for row in rows {
                    if let postgres::SimpleQueryMessage::Row(row) = row {
                        writeln!(text, "{}", row.get(0).unwrap_or_default()).ok();
                    }
                }
            }
        }
        fs::write(folder.join("rows"), text)?;
        Ok(folder)
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let notes = self.notes();
        let last: Vec<&str> = notes.lines().rev().take(60).collect();
        eprintln!("--- what was done (end)");
        last.iter().rev().for_each(|line| eprintln!("{line}"));
        // A second failure in here would hide the first.
        match catch_unwind(AssertUnwindSafe(|| self.keep())) {
            Ok(Ok(folder)) => eprintln!("--- everything is in {}", folder.display()),
            Ok(Err(error)) => eprintln!("--- not everything could be kept: {error}"),
            Err(_) => eprintln!("--- not everything could be kept"),
        }
        eprintln!("--- the same schedule again: CHAOS_SEED={} make chaos", self.seed);
    }
}

fn seconds(time: Nanos) -> f64 {
    time as f64 / 1e9
}
