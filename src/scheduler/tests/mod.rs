//! Tables: each rule of the contract by itself. Pairs: two things at once, in every state of a run.

mod answers;
mod bench;
mod carried;
mod databases;
mod ending;
mod found;
mod late;
mod lease;
mod limits;
mod looks;
mod modes;
mod order;
mod pairs;
mod recovery;
mod repairs;
mod resets;
mod rival;
mod rounds;
mod stale;
mod stopping;
mod together;
