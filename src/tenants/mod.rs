//! Who the tenants are: what each source of `[tenants]` says, and how the sources become one list.
//!
//! Pure but for the reading of one folder: commands are spawned and queries sent elsewhere, their output is read
//! here. Its invariant: "could not list" is never "there are none". A source that fails keeps its last answer, one
//! that has never answered makes the whole incomplete, and no name leaves this module that
//! [`TenantName`](crate::model::TenantName) has not proved harmless.

pub mod command;
pub mod directory;
mod exclude;
pub mod list;
mod listing;
pub mod query;
mod sources;

pub use exclude::{BadGlob, Excludes};
pub use listing::{Candidate, Listing, Refusal};
pub use sources::{Merged, SourceKind, SourceNotice, Sources};
