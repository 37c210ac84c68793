//! Exit codes: an interface, as the contract fixes them.

/// All went well.
pub const DONE: i32 = 0;
/// Something failed.
pub const FAILED: i32 = 1;
/// The command line is wrong.
pub const USAGE: i32 = 2;
/// No database at all could be reached (EX_UNAVAILABLE).
pub const UNAVAILABLE: i32 = 69;
/// The configuration is wrong (EX_CONFIG).
pub const CONFIG: i32 = 78;
