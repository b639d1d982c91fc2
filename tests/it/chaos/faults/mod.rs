//! The faults, a file for each family.

mod clusters;
mod file;
mod processes;
mod proxied;
mod services;
mod steps;

use super::Fault;
use super::stage::World;

/// All of them.
pub(super) fn all(world: &World) -> Vec<Box<dyn Fault + '_>> {
    let mut all = processes::all();
    all.extend(steps::all());
    all.extend(services::all(world));
    all.extend(proxied::all(world));
    all.extend(clusters::all(world));
    all.extend(file::all());
    all
}
