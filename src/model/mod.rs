//! The words that more than one floor uses: tenants, rows, runs, times, and what one exchange with a
//! database says and hears. Nothing here reads a clock, a file or a socket.

mod exchange;
mod outcome;
mod row;
mod template;
mod tenant;
mod time;

pub use exchange::{
    Claim, Claimed, DatabaseId, Exchange, Finish, Finished, Identity, Mark, Offer, Poll, Polled, Refresh, Refreshed,
    Release, Repair, Repaired, Reply, Reset, Trouble, TroubleKind, Unrecorded,
};
pub use outcome::{Becomes, Outcome};
pub use row::{OpenRun, RowValue, RunId, RunIdentity, StatusRow};
pub use template::{Template, TemplateError, Values};
pub use tenant::{BadField, BadName, Fields, Tenant, TenantName};
pub use time::{DbTime, Moment};
