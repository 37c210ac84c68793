//! What can be made wrong with the world on purpose, to see that the invariants find it.

/// A defect of what stands around the core: of the statements, or of the kernel's witnesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A claim takes rows whatever their value, and locked ones.
    ClaimIgnoresTheRow,
    /// A finish closes whatever run of its tenant is open.
    FinishIgnoresTheRun,
    /// Nobody is asked but the process that the row names.
    DeadWithoutTheLock,
    /// A run is taken over one lease after its start, however often it was confirmed.
    TakeoverIgnoresLife,
    /// A repair opens a run anew although its end is recorded, or an earlier repair did.
    RepairForgets,
    /// Nobody looks at what dead supervisors wrote down.
    EndsAreIgnored,
    /// A tenant's lock is let go when its run ends, before that is recorded.
    LockLetGoEarly,
}

/// Each flaw, in how many nights it is found, and the invariant by which it is.
pub const FOUND: [(Flaw, u64, &str); 7] = [
    (Flaw::ClaimIgnoresTheRow, 100, "claims"),
    (Flaw::FinishIgnoresTheRun, 100, "closed and alive"),
    (Flaw::DeadWithoutTheLock, 100, "closed and alive"),
    (Flaw::TakeoverIgnoresLife, 100, "fence"),
    (Flaw::RepairForgets, 1_000, "recorded once"),
    (Flaw::EndsAreIgnored, 100, "kept ends"),
    (Flaw::LockLetGoEarly, 1_000, "outcome"),
];
