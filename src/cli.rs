//! The command line: what can be asked, in clap's words. It holds no decision.

use clap::{ArgAction, Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs periodic work for many tenants: one status row per tenant, one process per running tenant.
#[derive(Debug, Parser)]
#[command(name = "tenantcron", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file; its stem names the instance, FILE's .d folder goes along
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Instance: /etc/tenantcron/NAME.toml [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub instance: Option<String>,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say less
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Supervise; with --once a single look; with tenants: run these now and follow their output
    Run(Run),
    /// Show the tenants: state, since, node, pid, last outcome, next due, and why a needed one does not run
    Status(Status),
    /// Ask for a run of tenants, first in the queue
    Request(Request),
    /// Create or upgrade the tables in every tenant's database
    Migrate(Migrate),
    /// Show the effective configuration, where each value came from, and the tenants found
    Config,
    /// Internal: asked by a supervisor of the program that is to replace it
    #[command(hide = true)]
    ResumeCheck(ResumeCheck),
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Run these tenants now, needed or done, whatever the schedule says
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// One look, then what is needed while slots are free, then exit: for a crontab line
    #[arg(long, conflicts_with = "tenants")]
    pub once: bool,
    /// Write nothing, start nothing, say what would be started and why
    #[arg(long, conflicts_with_all = ["tenants", "once"])]
    pub dry_run: bool,
    /// How many at once on this node: a number or an expression such as cpu/2+1
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// This node's name
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// With tenants: run paused ones too
    #[arg(long, requires = "tenants")]
    pub force: bool,
}

/// `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Only these
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `request`.
#[derive(Debug, Args)]
pub struct Request {
    /// Whom
    #[arg(value_name = "TENANT", required_unless_present = "all", conflicts_with = "all")]
    pub tenants: Vec<String>,
    /// Every tenant
    #[arg(long)]
    pub all: bool,
    /// Wait until a running tenant has ended, then request it
    #[arg(long)]
    pub wait: bool,
}

/// `migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the SQL, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `resume-check`.
#[derive(Debug, Args)]
pub struct ResumeCheck {
    /// Where the running program has put what it would hand over
    pub state: i32,
    /// The arguments that it was started with
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}
