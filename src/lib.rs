//! tenantcron
pub mod config;
pub mod db;
pub mod logging;
pub mod model;
pub mod process;
pub mod scheduler;
pub mod tenants;
