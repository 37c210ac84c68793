//! What must hold (DESIGN 2), seen from outside the core: by the fake kernels' and the fake databases' truth. What breaks
//! is told with the invariant's name before a colon.

mod claims;
mod endings;
mod exits;
mod ledger;
mod lives;
mod morning;
mod order;
mod overlaps;
mod records;
mod signals;
mod starts;

pub use ledger::Ledger;
