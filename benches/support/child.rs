//! Children in C, compiled from `benches/peers` without shared libraries: what stands between the spawn and
//! their first instruction is the kernel's work alone, for the product and for its peers alike.

use super::kit::world::world;
use super::peer::source;
use std::path::PathBuf;
use std::process::Command;

/// Compiles `benches/peers/NAME.c` into this world's folder; `flags` are further ones for the compiler.
pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    let program = world().folder("child").join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-static"]).args(flags);
    let output = cc.arg("-o").arg(&program).arg(source(&format!("{name}.c"))).output();
    let output = output.unwrap_or_else(|error| panic!("cc: {error}: run `make deps`"));
    assert!(output.status.success(), "{cc:?}: {}", String::from_utf8_lossy(&output.stderr));
    program
}
