//! tenantcron: a process supervisor for hosts that serve many tenants. One status row per tenant
//! (`needed` → `running` → `done`), one child process per running tenant, and nothing else to know.
//!
//! The house has floors; imports go strictly down, siblings do not see each other:
//!
//! ```text
//! 5  commands                     ← main, cli
//! 4  supervisor
//! 3  tenants
//! 2  process   db   logging
//! 1  scheduler   config
//! 0  model
//! ```
//!
//! `scheduler` is pure: an event goes in with the time, actions and notices come out. `supervisor` is the
//! thin shell that waits, gathers, asks and obeys. `db/sql` holds every statement, `process/syscall.rs`
//! every unsafe block.

pub mod cli;
pub mod commands;
pub mod config;
pub mod db;
pub mod exit;
pub mod logging;
pub mod model;
pub mod process;
pub mod scheduler;
pub mod supervisor;
pub mod tenants;
