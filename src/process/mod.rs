//! The host: processes, signals, locks and what the kernel tells about them. A thin door, free of
//! policy: who runs, who is late and what follows from an end is decided by the scheduler.
//!
//! Invariants: every descriptor opened here is close-on-exec, so that a child has exactly what
//! [`Spawn::keep`] names; every child of this program is spawned here and collected by [`reap`], never
//! through `std::process` (two reapers steal from each other); `unsafe` stands in `syscall.rs` alone.

mod adopt;
mod adopted;
mod child;
mod command;
mod cpus;
mod environment;
mod group;
mod identity;
mod left_behind;
mod let_go;
mod lock_file;
mod locks;
mod poller;
mod reap;
mod signals;
mod slots;
mod state_folder;
mod syscall;
mod tenant_lock;
mod title;
mod unrecorded;
mod upgrade;

#[cfg(test)]
mod tests;

pub use adopt::{Heard, Verdict, examine, lives};
pub use adopted::{Adopted, Adoption};
pub use child::{Spawn, SpawnFailure, Spawned, Spawner};
pub use command::{Command, Printed};
pub use cpus::usable_cpus;
pub use environment::{BadVariable, ChildEnvironment};
pub use group::{has_living_members, has_members, members, signal_group, signal_process, signal_stranger};
pub use identity::{Process, host, proc_is_of_this_namespace};
pub use left_behind::{holders, left_behind};
pub use let_go::{LetGo, let_go, tenants_with_slots};
pub use lock_file::LockFile;
pub use locks::{Held, Holder, KeeperLock, LockError, SupervisorLock, probe_keeper, probe_supervisor, probe_tenant};
pub use poller::{Waker, wait};
pub use reap::{Exit, Reaped, own_peak_kb, reap};
pub use signals::{Meaning, Signals, SignalsBlocked};
pub use slots::{SlotLock, Slots};
pub use state_folder::{Places, StateError, StateFolder};
pub use tenant_lock::TenantLock;
pub use title::Title;
pub use unrecorded::{EndsFile, KeptEnds, OwnEnds, kept_ends};
pub use upgrade::{Handed, Inherited, Program, Stamp, look_into, memory_file_of, take_out};
