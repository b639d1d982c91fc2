//! The tracker in a real browser: pages of one site, an ingest on another address, and what may go wrong between them.
//! Each event has to be counted exactly once, by what the query side answers and by the records of the log.

mod away;
mod calls;
mod clocks;
mod door;
mod privacy;
mod served;
mod stage;
mod views;

use door::Mood;
use stage::Stage;
