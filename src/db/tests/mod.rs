//! This floor against a real server.

mod bench;
mod claim;
mod cluster;
