//! A model of the claim, finish, takeover and recovery protocol, checked exhaustively by stateright for two nodes and
//! two tenants: every order of steps and faults within the bounds that `cases` names. It stands beside the code and
//! does not run it; what it follows are `src/db/sql/`, `src/scheduler/{starting,ending,replies,recovery,lease}.rs`,
//! `src/process/adopt.rs`, and the contract's words on leases. `mutations` breaks it on purpose, to see that it sees.
//!
//! What it has: supervisors that run, are killed, stopped, frozen with their host, cut off from the database; hosts
//! with children, tenant locks, lock files and files of unrecorded ends; status rows and rows of runs; exchanges that
//! lock and read first, write and commit later, that are answered, lost, or still commit when nobody waits for them.
//!
//! What it assumes, where it is simpler than the world:
//!
//! - **Rows.** One lock stands for a tenant's status row and its run's. A statement reads when it locks (READ COMMITTED
//!   looks again at what it locked). What committed stays: no failover, no restored backup, no hand in the tables; no
//!   foreign program. Of a process only the lock file tells, not the row.
//! - **Exchanges.** A supervisor waits for one at a time; at most one more of its own is adrift. What nobody hinders
//!   begins when it is sent and is heard when it commits; that it gets lost, or is late, is a fault (an exchange adrift,
//!   a supervisor cut off for a while), and then others come in between. What gets lost on its way may claim whatever
//!   was needed once. A look is a step of its own; what it found may be closed by the time it is acted upon.
//! - **Time** passes in ticks, and only with a lease: without one, every wait may be over at once (also the 75 s of
//!   silence after a reboot). The database's clock and the monotonic clocks run alike, those of what is stopped or
//!   frozen too. A running supervisor is at most the margin late. Whom nothing hinders is answered, confirms lives and
//!   records ends within the tick. The lease is three ticks, the margin one, and ages beyond their sum are alike.
//! - **Ends.** SIGTERM and SIGKILL are one and work at once. That an end was seen stands in the supervisor's file before
//!   it lets go of the lock. A host's death takes its state folder along.
//! - **Children** keep the lock that they inherit; none leaves its group, no pid comes again. A child ends by itself
//!   with one outcome (`Ok` is `ok`, `failed` and `killed`).
//! - **Bounds.** Faults and requests are counted (`cases`); what is dead may always start again, what is cut off be
//!   joined, and so on. Slots, limits, order, stops, `stale.action` and operators are not in it.
//!
//! What must hold is named in `checker`. Of leases it is judged as the contract says: two children of one tenant are
//! excused only where the one whose run was taken over is left by a supervisor that, alone, is dead or stopped: until
//! it has looked at its clock again, or, started anew, has had an answer that confirms what it adopted too late.

#![expect(clippy::print_stdout, reason = "a counterexample is told, and how many states were seen")]

mod cases;
mod checker;
mod database;
mod exchange;
mod healing;
mod holds;
mod kernel;
mod moves;
mod mutations;
mod properties;
mod protocol;
mod rules;
mod supervisor;
mod telling;
mod tidy;
mod world;
