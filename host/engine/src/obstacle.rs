//! Why a container is not brought to rest.

use std::fmt;

/// Why a container is not brought to rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It was started with `--rm`.
    AutoRemove,
    /// It was started by `docker compose run`.
    OneOff,
    /// Another service waits for it to end well.
    OneShot,
    /// It belongs to this service of a swarm.
    Swarm(String),
    /// This volume of its is in memory.
    Memory(String),
    /// This container shares its namespaces, and is paused.
    PausedSharer(String),
    /// Another run of this program works in it.
    Helper,
    /// This program runs in it.
    Ourselves,
    /// The engine is reached through it.
    OurWay,
}

impl Obstacle {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Obstacle::AutoRemove => "pause it instead, or run it without --rm",
            Obstacle::OneOff | Obstacle::OneShot => "wait until it has ended, or pause it instead",
            Obstacle::Swarm(_) => "scale the service to 0 and back, or pause it instead",
            Obstacle::Memory(_) => "pause it instead",
            Obstacle::PausedSharer(_) => "unpause that one, or stop it",
            Obstacle::Helper => {
                "wait until that run has ended; `docker snapshot recover` removes it if it is dead"
            }
            Obstacle::Ourselves => "run this program elsewhere",
            Obstacle::OurWay => "reach the engine another way",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::AutoRemove => to.write_str(
                "it was started with --rm, so that it is removed when it stops, with its anonymous volumes",
            ),
            Obstacle::OneOff => {
                to.write_str("`docker compose run` started it, and it would begin its work again")
            }
            Obstacle::OneShot => {
                to.write_str("another service waits for it to end, and it would begin its work again")
            }
            Obstacle::Swarm(service) => write!(to, "the swarm would start another for its service {service}"),
            Obstacle::Memory(volume) => write!(to, "its volume {volume} is in memory, and would be empty"),
            Obstacle::PausedSharer(other) => {
                write!(
                    to,
                    "{other} shares its network or processes, and is paused: it would not find them again"
                )
            }
            Obstacle::Helper => to.write_str("another `docker snapshot` works in it"),
            Obstacle::Ourselves => to.write_str("this program runs in it"),
            Obstacle::OurWay => to.write_str("the engine is reached through it"),
        }
    }
}
