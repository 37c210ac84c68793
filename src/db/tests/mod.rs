//! This floor against a real server.

pub(super) mod bench;
mod claim;
mod clash;
mod cluster;
mod evict;
mod finish;
mod leases;
mod limits;
mod looks;
mod operator;
mod pgbouncer;
mod prepared;
mod reach;
mod repair;
mod rows;
mod schema;
mod takeover;
mod undo;
