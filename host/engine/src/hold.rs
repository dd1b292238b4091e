//! Brings containers to rest while their volumes are read, and lets them go on again: exactly those that ran,
//! in the order of what they depend on, whatever happens in between.

mod event;
mod order;
mod plan;
mod recover;
mod resume;
mod stop;
mod way;

pub use event::{Event, Observer};
pub use plan::Plan;
pub use recover::{Recovered, recover};
pub use resume::{Outcome, Resumed};
pub use stop::{Held, hold};
pub use way::Way;
