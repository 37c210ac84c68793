//! The jobs' own journal: what ran, when and how often at once, told by the jobs and not by the supervisor.
//! It proves what invariant 1 promises; it is no log for people.

use super::world::world;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A journal and its job script.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

/// One run as the job itself told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRun {
    /// `TENANTCRON_TENANT`.
    pub tenant: String,
    /// `TENANTCRON_RUN_ID`.
    pub run: i64,
    /// `TENANTCRON_NODE`.
    pub node: String,
    /// The job's shell.
    pub pid: i32,
    /// When it began, nanoseconds since the epoch.
    pub begin: i64,
    /// When it ended; none while it runs, and for ever if it was killed by SIGKILL.
    pub end: Option<i64>,
    /// Its exit status (143 for SIGTERM).
    pub exit: Option<i32>,
}

/// The journal, read and sorted by begin.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Every run.
    pub runs: Vec<JobRun>,
    /// Runs that found their tenant's lock held by a living copy: tenant and run.
    pub locked_out: Vec<(String, i64)>,
}

impl Journal {
    /// A fresh journal whose jobs end at once.
    pub fn new() -> Self {
        let folder = world().folder("journal");
        for name in ["busy", "plan"] {
            fs::create_dir(folder.join(name)).expect("a folder of the journal");
        }
        let script = include_str!("job.sh").replace("@FOLDER@", folder.to_str().expect("an ASCII path"));
        fs::write(folder.join("job"), script).expect("the job script");
        fs::set_permissions(folder.join("job"), fs::Permissions::from_mode(0o755)).expect("making it executable");
        let journal = Self { folder };
        journal.plan_for_all(":");
        journal
    }

    /// Lets jobs of another user write in it.
    pub(super) fn open_to_others(&self) {
        for folder in [self.folder.clone(), self.folder.join("busy")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("opening the journal to others");
        }
    }

    /// The job, for `job.command`.
    pub fn job(&self) -> String {
        self.folder.join("job").display().to_string()
    }

    /// What every tenant without a plan of its own does: lines of shell.
    pub fn plan_for_all(&self, shell: &str) -> &Self {
        replace(&self.folder.join("default"), shell);
        self
    }

    /// What this tenant does: lines of shell, such as `sleep 20`, `exit 3`, `kill -SEGV $$`.
    pub fn plan(&self, tenant: &str, shell: &str) -> &Self {
        replace(&self.folder.join("plan").join(tenant), shell);
        self
    }

    /// What the jobs have told so far.
    pub fn read(&self) -> Record {
        Record::parse(&self.text())
    }

    /// The same in their own words, a line each: word, time, tenant, run, node, pid, status.
    pub fn text(&self) -> String {
        fs::read_to_string(self.folder.join("journal")).unwrap_or_default()
    }
}

impl Record {
    /// Reads the lines; a broken one fails the test, since each is one write.
    pub fn parse(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            let [word, time, tenant, run, node, pid, status] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("a broken line in the jobs' journal: {line:?}");
            };
            let (time, run, pid) = (number(time), number(run), number(pid) as i32);
            match word {
                "overlap" => record.locked_out.push((tenant.to_owned(), run)),
                "begin" => record.runs.push(JobRun {
                    tenant: tenant.to_owned(),
                    run,
                    node: node.to_owned(),
                    pid,
                    begin: time,
                    end: None,
                    exit: None,
                }),
                "end" => {
                    let same = |it: &&mut JobRun| it.tenant == tenant && it.run == run && it.pid == pid;
                    let found = record.runs.iter_mut().rev().find(same);
                    let it = found.unwrap_or_else(|| panic!("an end without a begin: {line:?}"));
                    (it.end, it.exit) = (Some(time), status.parse().ok());
                }
                _ => panic!("an unknown word in the jobs' journal: {line:?}"),
            }
        }
        record.runs.sort_by_key(|run| run.begin);
        record
    }

    /// Every time that a tenant ran twice at once, in words: by the times told, and by the lock found held.
    pub fn overlaps(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.locked_out.iter().map(|(tenant, run)| format!("{tenant}: run {run} found a living copy")).collect();
        let mut last: BTreeMap<&str, &JobRun> = BTreeMap::new();
        for run in &self.runs {
            if let Some(before) = last.get(run.tenant.as_str())
                && before.end.is_some_and(|end| end > run.begin)
            {
                found.push(format!("{}: run {} began before run {} ended", run.tenant, run.run, before.run));
            }
            let longest = last.entry(&run.tenant).or_insert(run);
            if run.end >= longest.end {
                *longest = run;
            }
        }
        found
    }

    /// The runs of a tenant, by begin.
    pub fn runs_of(&self, tenant: &str) -> Vec<&JobRun> {
        self.runs.iter().filter(|run| run.tenant == tenant).collect()
    }

    /// How many runs of a tenant have ended.
    pub fn ended(&self, tenant: &str) -> usize {
        self.runs.iter().filter(|run| run.tenant == tenant && run.end.is_some()).count()
    }

    /// The most runs at one moment. One without an end (killed) counts only for its begin.
    pub fn most_at_once(&self) -> usize {
        let mut steps: Vec<(i64, isize)> = Vec::new();
        for run in &self.runs {
            steps.push((run.begin, 1));
            steps.push((run.end.unwrap_or(run.begin), -1));
        }
        // At one nanosecond an end goes before a begin, but never before its own.
        steps.sort_by_key(|(time, step)| (*time, *step));
        let mut now = 0isize;
        steps
            .iter()
            .map(|(_, step)| {
                now += step;
                now
            })
            .max()
            .unwrap_or(0)
            .max(0) as usize
    }

    /// The nodes that ran anything.
    pub fn nodes(&self) -> BTreeSet<&str> {
        self.runs.iter().map(|run| run.node.as_str()).collect()
    }

    /// The tenants that began at least once.
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.runs.iter().map(|run| run.tenant.as_str()).collect()
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("not a number in the jobs' journal: {text:?}"))
}

/// Replaces a file whole, so that a job never sources half a plan.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension(format!("new{}", world().number()));
    fs::write(&fresh, format!("{text}\n")).expect("writing a plan");
    fs::rename(&fresh, file).expect("putting a plan in place");
}
