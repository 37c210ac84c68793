//! The configuration: read in layers (file, drop-ins, environment, command line), checked as a whole, and
//! handed on as typed values.
//!
//! | file | holds |
//! | --- | --- |
//! | `load` | the entry: which file, which instance, and the way through the layers |
//! | `keys` | every known key with its default; the nearest known key |
//! | `document` | TOML text to a tree that knows its lines |
//! | `layers` | what each layer sets, and which wins |
//! | `values` | one value to one type |
//! | `rules` | what holds for single keys |
//! | `check` | all values to a [`Config`], and what only shows when they are seen together |
//! | `schema` | the types |
//! | `workers` | `cpu/2+1` |
//! | `explain` | the effective values and where each came from, secrets hidden |
//! | `mistake` | what is wrong, and where |
//!
//! It is not the place that knows this host: its name, its CPUs and its user come in with the [`Request`], so
//! that a configuration can be checked on any machine. It does not look at tenants' names in the sources either:
//! a bad one is reported when the source is read and never makes a configuration wrong.
//!
//! Invariant: whoever holds a [`Config`] holds values that are possible; every mistake of every layer is told at once.

mod check;
mod document;
mod explain;
mod keys;
mod layers;
mod load;
mod mistake;
mod rules;
mod schema;
mod values;
mod workers;

#[cfg(test)]
mod tests;

pub use load::{Loaded, Request, load};
pub use mistake::{Mistake, Mistakes, Origin, Source};
pub use schema::{
    Cluster, Config, Database, Facility, Job, Limits, Log, LogTarget, Migrate, Offset, Override, Query, Rounds,
    Schedule, Stale, StaleAction, TableName, TenantSettings, Tenants,
};
pub use workers::{WorkersError, WorkersExpr};
