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
}
