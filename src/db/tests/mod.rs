//! This floor against a real server.

mod bench;
mod claim;
mod clash;
mod cluster;
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
