//! What every backend of a trait must do, written once: functions over the trait, called for each backend.

mod broker;
mod presence;
